//! What the sample app answers to a browser. Knows: its URLs, and what is behind each. Must not know: how
//! grantbook is asked, or how anything is kept.

use std::fmt;
use std::net::TcpListener;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use askama::Template;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::grantbook::{CallError, Grantbook};
use super::kept::{Keeper, KeptToken};
use super::pages::{EventLine, HomeLine, HomePage, InstalledPage, SampleErrorPage};
use super::visits::{Departures, Visitor};
use crate::identity::dev::names_loopback;
use crate::pages::{Forms, STYLESHEET, STYLESHEET_PATH, security_headers};

/// Names the browser, so that an answer is only taken from the one that asked.
const COOKIE: &str = "sample-app";
/// Seconds that stopping waits for requests under way.
const SHUTDOWN_SECONDS: u64 = 2;

/// The app.
#[derive(Debug)]
pub(super) struct Sample {
    grantbook: Grantbook,
    keeper: Keeper,
    departures: Departures,
    issuer: String,
    callback: String,
    scopes: Vec<String>,
}

impl Sample {
    pub(super) fn new(
        grantbook: Grantbook,
        keeper: Keeper,
        issuer: String,
        url: &str,
        scopes: Vec<String>,
    ) -> Self {
        let callback = format!("{url}/callback");
        Self { grantbook, keeper, departures: Departures::default(), issuer, callback, scopes }
    }

    /// Where a browser is sent to ask for authorization (RFC 6749 section 4.1.1).
    fn authorization_url(&self, visitor: &Visitor) -> Result<Url, Refused> {
        let departure = self.departures.begin(visitor);
        let mut url = Url::parse(&format!("{}/oauth/authorize", self.issuer))
            .map_err(|error| Refused::broken(error.to_string()))?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.keeper.credentials().client_id),
            ("redirect_uri", &self.callback),
            ("scope", &self.scopes.join(" ")),
            ("state", &departure.state),
            ("code_challenge", &departure.code_challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(url)
    }

    fn token(&self, token_id: &str) -> Result<KeptToken, Refused> {
        let mut tokens = self.keeper.tokens().into_iter();
        tokens.find(|token| token.token_id == token_id).ok_or_else(Refused::no_such_page)
    }
}

/// Serves the app.
pub(super) fn serve(sample: Sample, listener: TcpListener) -> std::io::Result<Server> {
    let sample = web::Data::new(sample);
    let app = move || {
        App::new()
            .app_data(sample.clone())
            .wrap(from_fn(loopback_only))
            .route("/", web::get().to(home))
            .route("/install", web::get().to(install))
            .route("/callback", web::get().to(callback))
            .route("/installed/{token_id}", web::get().to(installed))
            .route("/installed/{token_id}/revoke", web::post().to(revoke))
            .route("/installed/{token_id}/uninstall", web::post().to(uninstall))
            .route(STYLESHEET_PATH, web::get().to(stylesheet))
            .default_service(web::to(|| async { Refused::no_such_page().error_response() }))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(SHUTDOWN_SECONDS);
    Ok(server.listen(listener)?.run())
}

async fn loopback_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(names_loopback) {
        return next.call(request).await;
    }
    Err(Refused::elsewhere().into())
}

async fn home(sample: web::Data<Sample>) -> Result<HttpResponse, Refused> {
    let line =
        |token: KeptToken| HomeLine { token_id: token.token_id, user: token.user, account: token.account };
    page(
        StatusCode::OK,
        &HomePage {
            app_name: super::NAME,
            client_id: sample.keeper.credentials().client_id,
            grantbook: sample.issuer.clone(),
            tokens: sample.keeper.tokens().into_iter().map(line).collect(),
        },
    )
}

async fn install(request: HttpRequest, sample: web::Data<Sample>) -> Result<HttpResponse, Refused> {
    let visitor = visitor(&request).unwrap_or_else(Visitor::new);
    let url = sample.authorization_url(&visitor)?;
    let cookie = Cookie::build(COOKIE, visitor.cookie().to_owned());
    // Lax: the browser comes back from grantbook, which may be another site.
    let cookie = cookie.http_only(true).same_site(SameSite::Lax).path("/").finish();
    let mut response = see_other(url.as_str());
    response.add_cookie(&cookie).map_err(|error| Refused::broken(error.to_string()))?;
    Ok(response)
}

/// What grantbook sends a browser back with (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207).
#[derive(Debug, Deserialize)]
struct Answer {
    state: Option<String>,
    iss: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

async fn callback(
    request: HttpRequest,
    sample: web::Data<Sample>,
    answer: Result<web::Query<Answer>, actix_web::Error>,
) -> Result<HttpResponse, Refused> {
    let answer = answer.map_err(|_| Refused::unasked())?.into_inner();
    let visitor = visitor(&request).ok_or_else(Refused::unasked)?;
    if answer.iss.as_deref() != Some(&sample.issuer) {
        return Err(Refused::unasked());
    }
    let state = answer.state.unwrap_or_default();
    let verifier = sample.departures.finish(&visitor, &state).ok_or_else(Refused::unasked)?;
    if let Some(error) = answer.error {
        return Err(Refused::by_the_person(&error, answer.error_description.as_deref()));
    }
    let code = answer.code.ok_or_else(Refused::unasked)?;
    let token_id = blocking(move || {
        let credentials = sample.keeper.credentials();
        let reply = sample.grantbook.exchange(&credentials, &code, &sample.callback, &verifier)?;
        let facts = sample.grantbook.introspect(&reply.access_token)?;
        let fact = |name: &str| facts.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let token = KeptToken {
            token_id: fact("jti"),
            installation_id: fact("installation_id"),
            account: fact("account_id"),
            user: fact("sub"),
            access_token: reply.access_token,
            reply: reply.rest,
        };
        let token_id = token.token_id.clone();
        if let Err(error) = sample.keeper.add(token) {
            tracing::warn!(%error, "the sample app could not write its token down; it forgets it when it stops");
        }
        Ok(token_id)
    })
    .await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

async fn installed(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
) -> Result<HttpResponse, Refused> {
    let visitor = visitor(&request).unwrap_or_else(Visitor::new);
    let token = sample.token(&token_id)?;
    let cookie = Cookie::build(COOKIE, visitor.cookie().to_owned());
    let cookie = cookie.http_only(true).same_site(SameSite::Lax).path("/").finish();
    let shown = blocking(move || Ok(look(&sample, token, &visitor)?)).await?;
    let mut response = page(StatusCode::OK, &shown)?;
    response.add_cookie(&cookie).map_err(|error| Refused::broken(error.to_string()))?;
    Ok(response)
}

fn look(sample: &Sample, token: KeptToken, visitor: &Visitor) -> Result<InstalledPage, CallError> {
    let introspection = sample.grantbook.introspect(&token.access_token)?;
    let installation = sample.grantbook.installation(&token.installation_id)?;
    let events = sample.grantbook.events(&token.installation_id)?;
    let mut reply = token.reply;
    reply.insert("access_token".to_owned(), token.access_token.expose().into());
    Ok(InstalledPage {
        app_name: super::NAME,
        token_id: token.token_id,
        user: token.user,
        account: token.account,
        installed: is_true(&installation, "installed"),
        active: is_true(&introspection, "active"),
        reply: pretty(&reply),
        introspection: pretty(&introspection),
        installation: pretty(&installation),
        events: events.iter().map(event_line).collect(),
        csrf: visitor.form_token(),
        grantbook: sample.issuer.clone(),
    })
}

fn event_line(event: &Value) -> EventLine {
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
    EventLine {
        recorded_at: text("/recorded_at").to_owned(),
        type_name: text("/type").to_owned(),
        actor: format!("{} {}", text("/actor/kind"), text("/actor/id")),
        json: format!("{event:#}"),
    }
}

fn is_true(facts: &Map<String, Value>, name: &str) -> bool {
    facts.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn pretty(facts: &Map<String, Value>) -> String {
    format!("{:#}", Value::Object(facts.clone()))
}

/// A form of this app.
#[derive(Debug, Deserialize)]
struct Posted {
    csrf: String,
}

async fn revoke(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<HttpResponse, Refused> {
    let token = posted_for(&request, &sample, &token_id, posted)?;
    blocking(move || Ok(sample.grantbook.revoke(&sample.keeper.credentials(), &token.access_token)?)).await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

async fn uninstall(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<HttpResponse, Refused> {
    let token = posted_for(&request, &sample, &token_id, posted)?;
    blocking(move || Ok(sample.grantbook.uninstall(&token.installation_id)?)).await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

/// The token that a form is about, if the form was made for the browser that sent it.
fn posted_for(
    request: &HttpRequest,
    sample: &Sample,
    token_id: &str,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<KeptToken, Refused> {
    let csrf = posted.map(|posted| posted.into_inner().csrf).unwrap_or_default();
    match visitor(request) {
        Some(visitor) if visitor.made(&csrf) => sample.token(token_id),
        Some(_) | None => Err(Refused::stale_form()),
    }
}

fn visitor(request: &HttpRequest) -> Option<Visitor> {
    Visitor::of_cookie(request.cookie(COOKIE)?.value())
}

/// Asks grantbook off the threads that serve browsers.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    web::block(ask).await.map_err(|error| Refused::broken(error.to_string()))?
}

fn page(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Refused> {
    let html = page.render().map_err(|error| Refused::broken(error.to_string()))?;
    let mut response = HttpResponse::build(status);
    for header in security_headers(Forms::Here) {
        response.insert_header(header);
    }
    Ok(response.content_type("text/html; charset=utf-8").body(html))
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

async fn stylesheet() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(STYLESHEET)
}

/// Why a browser gets a page that says no.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    title: &'static str,
    sentence: String,
    /// What grantbook said, word for word.
    said: Option<String>,
}

impl Refused {
    fn new(status: StatusCode, title: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, title, sentence: sentence.into(), said: None }
    }

    fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing here", "The sample app has no such page.")
    }

    fn elsewhere() -> Self {
        let sentence = "The sample app is for this machine only: use 127.0.0.1, [::1] or localhost.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "Not by this name", sentence)
    }

    fn unasked() -> Self {
        let sentence =
            "This browser did not ask for this, or not any more, so the app does not take it. Start again.";
        Self::new(StatusCode::BAD_REQUEST, "Nobody asked for this", sentence)
    }

    fn stale_form() -> Self {
        let sentence = "The form was not made for this browser. Go back, reload the page and try again.";
        Self::new(StatusCode::BAD_REQUEST, "This form is no longer good", sentence)
    }

    fn by_the_person(error: &str, description: Option<&str>) -> Self {
        let (title, sentence) = if error == "access_denied" {
            ("Not installed", "The app was denied access, and was told so. Nothing was recorded.")
        } else {
            ("Not installed", "grantbook sent the browser back with an error instead of a code.")
        };
        let said = std::iter::once(format!("error={error}"))
            .chain(description.map(|description| format!("error_description={description}")));
        let said = Some(said.collect::<Vec<_>>().join("\n"));
        Self { said, ..Self::new(StatusCode::OK, title, sentence) }
    }

    fn broken(why: String) -> Self {
        Self {
            said: Some(why),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "This did not work", "The sample app is broken.")
        }
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        let sentence = "The app asked grantbook, and did not get what it asked for.";
        let said = Some(error.to_string());
        Self { said, ..Self::new(StatusCode::BAD_GATEWAY, "grantbook said no", sentence) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let shown =
            SampleErrorPage { title: self.title, sentence: self.sentence.clone(), said: self.said.clone() };
        page(self.status, &shown).unwrap_or_else(|_| HttpResponse::InternalServerError().finish())
    }
}
