//! What the sample app answers to a browser. Knows: its URLs, cookie, forms and pages, and what it asks grantbook to
//! show them. Must not know: how requests are sent, or how anything is kept.
//!
//! A handler blocks while it waits for grantbook: the app has a thread of its own and serves one person.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::http::{KeepAlive, Method, StatusCode, header};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{Data, Form, Path, Query, Redirect, ServiceConfig, get, post, scope, to};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, dev, guard};
use askama::Template;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::client::{Callback, Client};
use super::grantbook::Server;
use super::kept::{Kept, KeptToken, text};
use super::refused::{Refused, page};
use crate::identity::{cookies, dev::names_loopback};
use crate::pages::{Forms, ICON, ICON_PATH, STYLESHEET, STYLESHEET_PATH, filters, security_headers};
use crate::secrets;

pub(super) const NAME: &str = "Sample App";
pub(super) const CALLBACK: &str = "/callback";
const COOKIE: &str = "sample-app";
/// The most connections at once: they take descriptors that grantbook needs in the same process.
const MAX_CONNECTIONS: usize = 64;
const SHUTDOWN_SECONDS: u64 = 5;

type Reply<T = Redirect> = Result<T, Refused>;

pub(super) struct Sample {
    pub client: Client,
    /// grantbook, with an operator key of role `admin`.
    pub operator: Server,
    pub kept: Mutex<Kept>,
}

#[derive(Template)]
#[template(path = "sample-home.html", config = ".askama.toml")]
struct HomePage<'a> {
    client: &'a Client,
    /// Oldest first.
    tokens: &'a [KeptToken],
    /// The app, as operators see it.
    app: Value,
}

/// One token, and all that grantbook says about it.
#[derive(Template)]
#[template(path = "sample-installed.html", config = ".askama.toml")]
struct InstalledPage<'a> {
    client: &'a Client,
    token: &'a KeptToken,
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

pub(super) fn serve(sample: Sample, listener: TcpListener) -> io::Result<dev::Server> {
    let sample = Data::new(sample);
    let app = move || {
        let headers = security_headers(Forms::Here).into_iter();
        let protection = headers.fold(DefaultHeaders::new(), DefaultHeaders::add);
        App::new().app_data(sample.clone()).configure(routes).wrap(protection)
    };
    let server = HttpServer::new(app)
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
        .default_service(to(async || Reply::<Redirect>::Err(Refused::NoSuchPage)));
    config.service(app).default_service(to(other_host));
}

async fn home(sample: Data<Sample>) -> Reply<HttpResponse> {
    let app = sample.operator.get("read the app", &format!("/apps/{}", sample.client.client_id))?;
    let shown = HomePage { client: &sample.client, tokens: &sample.kept.lock().tokens, app };
    Ok(page(StatusCode::OK, &shown))
}

/// Sends the person to grantbook.
async fn install(request: HttpRequest, sample: Data<Sample>) -> impl Responder {
    let browser = browser(&request);
    let grantbook = Redirect::to(sample.client.authorization_url(&browser)).see_other();
    grantbook.customize().insert_header(cookie(&browser))
}

/// The person is back: checks the answer, exchanges the code and keeps the token.
async fn callback(request: HttpRequest, sample: Data<Sample>, query: Option<Query<Callback>>) -> Reply {
    let callback = query.map(Query::into_inner).unwrap_or_default();
    let reply = sample.client.token(&browser(&request), callback)?;
    let facts = sample.operator.introspect(text(&reply, "access_token"))?;
    let next = format!("/installed/{}", text(&facts, "jti"));
    if let Err(error) = sample.kept.lock().add(KeptToken { reply, facts }) {
        tracing::warn!(%error, "the sample app cannot write its file and forgets this token when it stops");
    }
    Ok(Redirect::to(next).see_other())
}

async fn installed(request: HttpRequest, sample: Data<Sample>, id: Path<String>) -> Reply<impl Responder> {
    let token = sample.kept.lock().token(&id).ok_or(Refused::NoSuchPage)?;
    let browser = browser(&request);
    let installation = format!("/installations/{}", text(&token.facts, "installation_id"));
    let shown = InstalledPage {
        client: &sample.client,
        introspection: sample.operator.introspect(text(&token.reply, "access_token"))?,
        installation: sample.operator.get("read the installation", &installation)?,
        events: sample.operator.list("read the events", &format!("{installation}/events"))?,
        csrf: form_token(&browser),
        token: &token,
    };
    Ok(page(StatusCode::OK, &shown).customize().insert_header(cookie(&browser)))
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
    let expected = form_token(&browser(&request));
    if !form.is_some_and(|form| form.csrf.as_bytes().ct_eq(expected.as_bytes()).into()) {
        return Err(Refused::StaleForm);
    }
    let token = sample.kept.lock().token(&token_id).ok_or(Refused::NoSuchPage)?;
    let installation = format!("/installations/{}", text(&token.facts, "installation_id"));
    match action.as_str() {
        "revoke" => sample.client.revoke(text(&token.reply, "access_token"))?,
        _ => sample.operator.delete("uninstall the app", &installation)?,
    };
    Ok(Redirect::to(format!("/installed/{token_id}")).see_other())
}

/// Another loopback name is redirected to the app's own name, because grantbook sends the browser back to that
/// name and the cookie must be there. Any other name may be a site that points its own name at this machine
/// (DNS rebinding).
async fn other_host(request: HttpRequest) -> Reply {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if request.method() != Method::GET || !names_loopback(host) {
        return Err(Refused::WrongHost);
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    Ok(Redirect::to(format!("http://{}{target}", request.app_config().local_addr())).see_other())
}

/// The random name of a browser, which its cookie holds; a new one if it brings no cookie. It is a secret of that browser.
fn browser(request: &HttpRequest) -> String {
    cookies::only(request.headers(), COOKIE).map_or_else(secrets::random_text, str::to_owned)
}

/// Lax, because the browser comes back from grantbook, which may be another site.
fn cookie(browser: &str) -> (header::HeaderName, String) {
    (header::SET_COOKIE, format!("{COOKIE}={browser}; HttpOnly; SameSite=Lax; Path=/"))
}

/// What the forms for a browser carry. The cookie cannot be computed from it.
fn form_token(browser: &str) -> String {
    secrets::digest(&format!("a form for {browser}")).to_string()
}

fn asset(media_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(media_type).body(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::tests::client;
    use super::*;

    const HOSTILE: &str = "\"><script>alert(1)</script>";

    fn token() -> KeptToken {
        let reply = json!({ "access_token": "gbt_1", "scope": HOSTILE });
        let facts =
            json!({ "jti": HOSTILE, "installation_id": HOSTILE, "account_id": HOSTILE, "sub": HOSTILE });
        KeptToken { reply, facts }
    }

    fn home(state: &str) -> String {
        let app = json!({ "status": { "state": state } });
        HomePage { client: &client(), tokens: &[token()], app }.render().unwrap()
    }

    fn installed(active: bool, installed: bool) -> String {
        let page = InstalledPage {
            client: &client(),
            token: &token(),
            introspection: json!({ "active": active, "sub": HOSTILE }),
            installation: json!({ "installed": installed }),
            events: vec![json!({ "type": "code-exchanged", "actor": { "kind": "user", "id": HOSTILE } })],
            csrf: "csrf".into(),
        };
        page.render().unwrap()
    }

    #[test]
    fn what_strangers_wrote_stays_text() {
        let refused = Refused::Error(HOSTILE.into(), HOSTILE.into()).render().unwrap();
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
    fn the_newest_token_comes_first() {
        let tokens = ["older", "newer"]
            .map(|id| KeptToken { reply: Value::Null, facts: json!({ "jti": id, "account_id": "acme" }) });
        let app = json!({ "status": { "state": "active" } });
        let html = HomePage { client: &client(), tokens: &tokens, app }.render().unwrap();
        let at = |id| html.find(&format!("href=\"/installed/{id}\"")).unwrap();
        assert!(at("newer") < at("older"), "{html}");
    }

    #[test]
    fn the_token_is_on_the_page_and_every_event_has_its_line() {
        let html = installed(true, true);
        for shown in ["gbt_1", "code-exchanged", "by user"] {
            assert!(html.contains(shown), "{shown}");
        }
    }

    #[test]
    fn a_form_is_for_one_browser() {
        let (ana, ben) = (secrets::random_text(), secrets::random_text());
        assert_eq!(form_token(&ana), form_token(&ana));
        assert_ne!(form_token(&ana), form_token(&ben));
        assert!(!form_token(&ana).contains(&ana));
    }
}
