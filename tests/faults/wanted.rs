//! What the tests want of a server before a fault comes: apps, people, codes, tokens. Knows: the flow that
//! works. Must not know: faults.

use grantbook_events::InstallationId;
use serde_json::{Value, json};

use crate::client::{Browser, Pairs, Reply, encode};
use crate::html::HtmlForm;
use crate::process::{Address, Serving};

/// Where the apps live.
pub const CALLBACK: &str = "https://app.example/callback";

/// An app as its developer knows it.
#[derive(Debug, Clone)]
pub struct App {
    pub client_id: String,
    pub secret: String,
}

/// What an operator registers.
pub fn registration(name: &str) -> Value {
    json!({ "name": name, "owner": "Widgets Inc.", "redirect_uris": [CALLBACK], "scopes": ["widgets", "faqs"] })
}

/// The same, of an app that refreshes its tokens.
#[cfg(feature = "eventstore")]
pub fn registration_with_refresh(name: &str) -> Value {
    let mut wanted = registration(name);
    wanted["token_policy"] = json!({ "lifetime_seconds": 3600, "refresh": { "idle_seconds": 86_400 } });
    wanted
}

/// An access token and the refresh token that came with it.
#[cfg(feature = "eventstore")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

#[cfg(feature = "eventstore")]
impl Pair {
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        Self { access: reply.text("access_token"), refresh: reply.text("refresh_token") }
    }
}

impl App {
    /// The app of a reply to its registration.
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        Self { client_id: reply.text("client_id"), secret: reply.text("client_secret") }
    }

    /// An authorization request.
    pub fn query(&self) -> String {
        encode(&[("client_id", &self.client_id), ("scope", "widgets")])
    }

    /// Its credentials, and more, as a form has them.
    pub fn form(&self, added: Pairs<'_>) -> String {
        let credentials = [("client_id", self.client_id.as_str()), ("client_secret", self.secret.as_str())];
        encode(&[&credentials, added].concat())
    }
}

impl Serving {
    #[track_caller]
    pub fn app(&self) -> App {
        App::of(&self.ask("POST", "/apps", Some(&registration("Sample App"))).expect(201))
    }

    /// A browser with a person.
    #[track_caller]
    pub fn person(&self, user: &str, account: &str) -> Browser {
        let browser = Browser::new(&self.http);
        browser.sign_in(user, account);
        browser
    }

    /// A code for the app, approved by ana of acme.
    #[track_caller]
    pub fn code(&self, app: &App) -> String {
        let reply = self.person("ana", "acme").approve(&app.query()).expect(303);
        reply.param("code").unwrap_or_else(|| panic!("no code: {reply:?}"))
    }

    pub fn exchange(&self, app: &App, code: &str) -> Reply {
        self.http.post_raw("/oauth/token", &[], &app.form(&[("code", code)]))
    }

    /// A token for the app, approved by ana of acme.
    #[track_caller]
    pub fn token(&self, app: &App) -> String {
        self.exchange(app, &self.code(app)).expect(200).text("access_token")
    }

    /// What the app learns of its own token.
    #[cfg(feature = "eventstore")]
    #[track_caller]
    pub fn userinfo(&self, token: &str) -> Reply {
        self.http.send("GET", "/oauth/userinfo", &[("authorization", &format!("Bearer {token}"))], None)
    }
}

/// What a test asks that must outlive a server that goes away.
impl Address {
    pub fn try_exchange(&self, app: &App, code: &str) -> Result<Reply, ureq::Error> {
        self.try_post("/oauth/token", &app.form(&[("code", code)]))
    }

    #[cfg(feature = "eventstore")]
    pub fn try_refresh(&self, app: &App, token: &str) -> Result<Reply, ureq::Error> {
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.try_post("/oauth/token", &app.form(&grant))
    }

    pub fn try_revoke(&self, app: &App, token: &str) -> Result<Reply, ureq::Error> {
        self.try_post("/oauth/revoke", &app.form(&[("token", token)]))
    }

    pub fn try_uninstall(&self, app: &App, account: &str) -> Result<Reply, ureq::Error> {
        let id = InstallationId::of(&app.client_id.parse().unwrap(), &account.parse().unwrap());
        self.try_ask("DELETE", &format!("/installations/{id}"), None)
    }
}

impl Browser {
    pub fn try_sign_in(&self, user: &str, account: &str) -> Result<(), ureq::Error> {
        let form = self.try_send("GET", "/sign-in", None)?.expect(200).form("/sign-in/dev");
        let fields = [("csrf", form.field("csrf")), ("user", user), ("account", account)];
        self.try_send("POST", "/sign-in/dev", Some(&encode(&fields)))?.expect(303);
        Ok(())
    }

    /// Asks for the page with an app's consent form.
    pub fn try_consent(&self, app: &App) -> Result<Reply, ureq::Error> {
        self.try_send("GET", &format!("/oauth/authorize?{}", app.query()), None)
    }

    /// Sends a consent form with the answer yes.
    pub fn try_approve(&self, form: &HtmlForm) -> Result<Reply, ureq::Error> {
        let fields = [("ticket", form.field("ticket")), ("decision", "approve")];
        self.try_send("POST", "/oauth/authorize", Some(&encode(&fields)))
    }
}
