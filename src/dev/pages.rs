//! The pages of the sample app. Knows: words, markup, and what the JSON of grantbook is called. Must not
//! know: where the values come from.

use askama::Template;
use serde_json::{Map, Value};

use super::NAME;
use super::kept::KeptToken;
use super::sample::Looked;
use crate::pages::filters;

/// What the app is, and what it is installed on.
#[derive(Debug, Template)]
#[template(path = "sample-home.html", config = ".askama.toml")]
pub(super) struct HomePage {
    app_name: &'static str,
    client_id: String,
    /// Why it cannot be installed, if it cannot: `suspended` or `deleted`.
    ended: Option<String>,
    grantbook: String,
    tokens: Vec<HomeLine>,
}

/// A token that the app was given.
#[derive(Debug)]
struct HomeLine {
    token_id: String,
    user: String,
    account: String,
}

/// One token, and all that is known about it.
#[derive(Debug, Template)]
#[template(path = "sample-installed.html", config = ".askama.toml")]
pub(super) struct InstalledPage {
    app_name: &'static str,
    token_id: String,
    user: String,
    account: String,
    /// Whether the app is installed on the account.
    installed: bool,
    /// Whether this token is valid.
    active: bool,
    /// The token reply, as JSON.
    reply: String,
    /// The introspection, as JSON.
    introspection: String,
    /// The installation as operators see it, as JSON.
    installation: String,
    installation_id: String,
    /// Oldest first.
    events: Vec<EventLine>,
    /// Proof that the forms are for this browser.
    csrf: String,
    grantbook: String,
}

/// An event of the installation.
#[derive(Debug)]
struct EventLine {
    recorded_at: String,
    type_name: String,
    actor: String,
    /// All of it, as JSON.
    json: String,
}

/// What went wrong.
#[derive(Debug, Template)]
#[template(path = "sample-error.html", config = ".askama.toml")]
pub(super) struct SampleErrorPage {
    pub title: &'static str,
    pub sentence: &'static str,
    /// What grantbook said, word for word.
    pub said: Option<String>,
}

impl HomePage {
    /// `state` is the app's, as operators see it.
    pub(super) fn new(client_id: &str, state: &str, grantbook: &str, tokens: Vec<KeptToken>) -> Self {
        let line = |token: KeptToken| HomeLine {
            token_id: token.token_id,
            user: token.user,
            account: token.account,
        };
        Self {
            app_name: NAME,
            client_id: client_id.to_owned(),
            ended: (state != "active").then(|| state.to_owned()),
            grantbook: grantbook.to_owned(),
            tokens: tokens.into_iter().map(line).collect(),
        }
    }
}

impl InstalledPage {
    pub(super) fn new(looked: Looked, csrf: String, grantbook: &str) -> Self {
        let Looked { token, introspection, installation, events } = looked;
        let mut reply = token.reply;
        reply.insert("access_token".to_owned(), token.access_token.expose().into());
        Self {
            app_name: NAME,
            token_id: token.token_id,
            user: token.user,
            account: token.account,
            installed: is_true(&installation, "installed"),
            active: is_true(&introspection, "active"),
            reply: pretty(reply),
            introspection: pretty(introspection),
            installation: pretty(installation),
            installation_id: token.installation_id,
            events: events.iter().map(EventLine::new).collect(),
            csrf,
            grantbook: grantbook.to_owned(),
        }
    }
}

impl EventLine {
    fn new(event: &Value) -> Self {
        let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
        Self {
            recorded_at: text("/recorded_at").to_owned(),
            type_name: text("/type").to_owned(),
            actor: format!("{} {}", text("/actor/kind"), text("/actor/id")),
            json: format!("{event:#}"),
        }
    }
}

fn is_true(facts: &Map<String, Value>, name: &str) -> bool {
    facts.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn pretty(facts: Map<String, Value>) -> String {
    format!("{:#}", Value::Object(facts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What somebody might sign in as.
    const HOSTILE: &str = "\"><script>alert(1)</script>";

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn token() -> KeptToken {
        serde_json::from_value(json!({
            "token_id": HOSTILE, "installation_id": HOSTILE, "account": HOSTILE, "user": HOSTILE,
            "access_token": "gbt_1", "reply": { "scope": HOSTILE },
        }))
        .unwrap()
    }

    fn installed(active: bool, installed: bool) -> String {
        let looked = Looked {
            token: token(),
            introspection: map(json!({ "active": active, "sub": HOSTILE })),
            installation: map(json!({ "installed": installed })),
            events: vec![json!({ "type": "code-exchanged", "actor": { "kind": "user", "id": HOSTILE } })],
        };
        InstalledPage::new(looked, "csrf".into(), "http://127.0.0.1:8700").render().unwrap()
    }

    #[test]
    fn what_strangers_wrote_stays_text() {
        let said = SampleErrorPage { title: "t", sentence: "s", said: Some(HOSTILE.into()) };
        let home = HomePage::new("c", HOSTILE, "http://127.0.0.1:8700", vec![token()]);
        for html in [installed(true, true), said.render().unwrap(), home.render().unwrap()] {
            assert!(!html.contains("<script"), "{html}");
            assert!(html.contains("&#60;script&#62;"), "it is shown at all: {html}");
        }
    }

    #[test]
    fn the_page_offers_what_can_be_done() {
        let offers = |html: &str| {
            [r#"/revoke""#, r#"/uninstall""#, r#"href="/install""#].map(|action| html.contains(action))
        };
        assert_eq!(offers(&installed(true, true)), [true, true, false]);
        assert_eq!(offers(&installed(false, true)), [false, true, false]);
        assert_eq!(offers(&installed(false, false)), [false, false, true]);
        let home = |state| HomePage::new("c", state, "http://127.0.0.1:8700", vec![]).render().unwrap();
        assert_eq!(offers(&home("active")), [false, false, true]);
        assert_eq!(offers(&home("deleted")), [false, false, false]);
    }

    #[test]
    fn the_token_is_on_the_page_and_every_event_has_its_line() {
        let html = installed(true, true);
        for shown in ["gbt_1", "code-exchanged", "by user"] {
            assert!(html.contains(shown), "{shown}");
        }
    }
}
