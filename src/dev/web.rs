//! What the sample app answers to a browser. Knows: its URLs, forms and pages. Must not know: how grantbook is
//! asked, or how anything is kept.
//!
//! A handler blocks while it waits for grantbook: the app has a thread of its own and serves one person.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::dev::Server;
use actix_web::http::{KeepAlive, Method, StatusCode, header};
use actix_web::web::{Data, Form, Path, Query, ServiceConfig, get, post, scope, to};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, guard};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Attempt, Callback, Client};
use super::grantbook::Operator;
use super::kept::{Kept, KeptToken};
use super::refused::{Refused, page};
use super::session::{Browser, Pending};
use crate::identity::dev::names_loopback;
use crate::pages::{ICON, ICON_PATH, STYLESHEET, STYLESHEET_PATH, filters};

pub(super) const CALLBACK: &str = "/callback";
/// The most connections at once: they take descriptors that grantbook needs in the same process.
const MAX_CONNECTIONS: usize = 64;
const SHUTDOWN_SECONDS: u64 = 5;

type Reply = Result<HttpResponse, Refused>;

pub(super) struct Sample {
    /// Where the app is, without a trailing slash.
    pub url: String,
    pub client: Client,
    pub operator: Operator,
    pub kept: Kept,
    pub pending: Pending,
}

#[derive(Template)]
#[template(path = "sample-home.html", config = ".askama.toml")]
struct HomePage<'a> {
    sample: &'a Sample,
    /// The app, as operators see it.
    app: Value,
}

/// One token, and all that grantbook says about it.
#[derive(Template)]
#[template(path = "sample-installed.html", config = ".askama.toml")]
struct InstalledPage<'a> {
    sample: &'a Sample,
    token: KeptToken,
    /// Whether any token of the app on this account is valid.
    installed: bool,
    /// Whether this token is.
    active: bool,
    introspection: Value,
    installation: Value,
    /// Oldest first.
    events: Vec<Value>,
    /// Proves that the forms were made for this browser.
    csrf: String,
}

#[derive(Deserialize)]
struct Posted {
    csrf: String,
}

pub(super) fn serve(sample: Sample, listener: TcpListener) -> io::Result<Server> {
    let sample = Data::new(sample);
    let server = HttpServer::new(move || App::new().app_data(sample.clone()).configure(routes))
        // One thread, so that requests come one after another and no token is lost between two writes of the file.
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        // A browser's idle connection would delay the end of the process.
        .keep_alive(KeepAlive::Disabled)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    Ok(server.listen(listener)?.run())
}

fn routes(config: &mut ServiceConfig) {
    let app = scope("")
        .guard(guard::Host(Ipv4Addr::LOCALHOST.to_string()))
        .route("/", get().to(home))
        .route("/install", get().to(install))
        .route(CALLBACK, get().to(callback))
        .route("/installed/{token_id}", get().to(installed))
        .route("/installed/{token_id}/{action:revoke|uninstall}", post().to(end))
        .route(STYLESHEET_PATH, get().to(async || asset("text/css; charset=utf-8", STYLESHEET)))
        .route(ICON_PATH, get().to(async || asset("image/svg+xml", ICON)))
        .default_service(to(async || Reply::Err(Refused::NoSuchPage)));
    config.service(app).default_service(to(other_host));
}

async fn home(sample: Data<Sample>) -> Reply {
    let app = sample.operator.app(&sample.client.client_id)?;
    Ok(page(StatusCode::OK, &HomePage { sample: &sample, app }))
}

/// Sends the person to grantbook.
async fn install(request: HttpRequest, sample: Data<Sample>) -> Reply {
    let (browser, attempt) = (Browser::of(&request), Attempt::new());
    let mut reply = see_other(&sample.client.authorization_url(&attempt));
    browser.set_cookie(&mut reply);
    sample.pending.add(browser, attempt);
    Ok(reply)
}

/// The person is back: checks the answer, exchanges the code and keeps the token.
async fn callback(request: HttpRequest, sample: Data<Sample>, query: Option<Query<Callback>>) -> Reply {
    let callback = query.map(Query::into_inner).unwrap_or_default();
    let attempt = sample.pending.take(&Browser::of(&request), &callback.state).ok_or(Refused::NotAsked)?;
    let code = sample.client.code(callback)?;
    let reply: Value = sample.client.exchange(&code, &attempt.code_verifier)?;
    let facts = sample.operator.introspect(text(&reply, "/access_token"))?;
    let token = KeptToken { reply, facts };
    let next = see_token(token.fact("jti"));
    if let Err(error) = sample.kept.add(token) {
        tracing::warn!(%error, "the sample app cannot write its file and forgets this token when it stops");
    }
    Ok(next)
}

async fn installed(request: HttpRequest, sample: Data<Sample>, token_id: Path<String>) -> Reply {
    let token = sample.kept.token(&token_id).ok_or(Refused::NoSuchPage)?;
    let browser = Browser::of(&request);
    let introspection = sample.operator.introspect(token.access_token())?;
    let installation = sample.operator.installation(token.fact("installation_id"))?;
    let shown = InstalledPage {
        sample: &sample,
        installed: installation["installed"] == true,
        active: introspection["active"] == true,
        introspection,
        installation,
        events: sample.operator.events(token.fact("installation_id"))?,
        csrf: browser.form_token(),
        token,
    };
    let mut reply = page(StatusCode::OK, &shown);
    browser.set_cookie(&mut reply);
    Ok(reply)
}

/// Ends a token, as the app, or its installation, as an operator. A form can name only tokens that the app was
/// issued, although the operator key could end any.
async fn end(
    request: HttpRequest,
    sample: Data<Sample>,
    path: Path<(String, String)>,
    form: Option<Form<Posted>>,
) -> Reply {
    let (token_id, action) = path.into_inner();
    if !form.is_some_and(|form| Browser::of(&request).has_form_token(&form.csrf)) {
        return Err(Refused::StaleForm);
    }
    let token = sample.kept.token(&token_id).ok_or(Refused::NoSuchPage)?;
    match action.as_str() {
        "revoke" => sample.client.revoke(token.access_token())?,
        _ => sample.operator.uninstall(token.fact("installation_id"))?,
    }
    Ok(see_token(&token_id))
}

fn asset(media_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(media_type).body(content)
}

/// Another loopback name is redirected to the app's own name, because grantbook sends the browser back to that
/// name and the cookie must be there. Any other name may be a site that points its own name at this machine
/// (DNS rebinding).
async fn other_host(request: HttpRequest, sample: Data<Sample>) -> Reply {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if request.method() != Method::GET || !names_loopback(host) {
        return Err(Refused::WrongHost);
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    Ok(see_other(&format!("{}{target}", sample.url)))
}

/// A text in some JSON; empty if it is not there.
fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn see_token(token_id: &str) -> HttpResponse {
    see_other(&format!("/installed/{token_id}"))
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dev::grantbook::Server as Grantbook;

    const HOSTILE: &str = "\"><script>alert(1)</script>";

    fn sample(tokens: &[KeptToken]) -> Sample {
        let server = || Grantbook::new("http://127.0.0.1:1", String::new());
        let kept = json!({ "credentials": { "client_id": "c", "client_secret": "s" }, "tokens": tokens });
        Sample {
            url: "http://127.0.0.1:2".into(),
            client: Client {
                server: server(),
                client_id: "c".into(),
                redirect_uri: "http://127.0.0.1:2/callback".into(),
                scope: "faqs".into(),
                issuer: "https://auth.example".into(),
            },
            operator: Operator(server()),
            kept: serde_json::from_value(kept).unwrap(),
            pending: Pending::default(),
        }
    }

    fn token() -> KeptToken {
        let reply = json!({ "access_token": "gbt_1", "scope": HOSTILE });
        let facts =
            json!({ "jti": HOSTILE, "installation_id": HOSTILE, "account_id": HOSTILE, "sub": HOSTILE });
        KeptToken { reply, facts }
    }

    fn home(state: &str) -> String {
        let app = json!({ "status": { "state": state } });
        HomePage { sample: &sample(&[token()]), app }.render().unwrap()
    }

    fn installed(active: bool, installed: bool) -> String {
        let page = InstalledPage {
            sample: &sample(&[]),
            token: token(),
            installed,
            active,
            introspection: json!({ "active": active, "sub": HOSTILE }),
            installation: json!({ "installed": installed }),
            events: vec![json!({ "type": "code-exchanged", "actor": { "kind": "user", "id": HOSTILE } })],
            csrf: "csrf".into(),
        };
        page.render().unwrap()
    }

    #[test]
    fn what_strangers_wrote_stays_text() {
        let refused = Refused::Error { error: HOSTILE.into(), description: HOSTILE.into() }.render().unwrap();
        for html in [installed(true, true), refused, home(HOSTILE)] {
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
