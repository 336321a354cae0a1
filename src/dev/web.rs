//! What the sample app answers to a browser. Knows: its URLs, cookies and forms. Must not know: how
//! grantbook is asked, or how anything is kept.

use std::io;
use std::net::TcpListener;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::{KeepAlive, Method, StatusCode, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use askama::Template;
use serde::Deserialize;

use super::CALLBACK;
use super::kept::KeptToken;
use super::pages::{HomePage, InstalledPage};
use super::refused::Refused;
use super::sample::{Answer, Sample};
use super::visits::Visitor;
use crate::identity::cookies::only;
use crate::identity::dev::names_loopback;
use crate::pages::{Forms, STYLESHEET, STYLESHEET_PATH, security_headers};

/// Names the browser, so that an answer is only taken from the one that asked.
const COOKIE: &str = "sample-app";
/// The most connections at once: they take descriptors that grantbook needs in the same process.
const CONNECTIONS: usize = 64;
/// Seconds that stopping waits for requests under way.
const SHUTDOWN_SECONDS: u64 = 5;

/// Serves the app.
pub(super) fn serve(sample: Sample, listener: TcpListener) -> io::Result<Server> {
    let sample = web::Data::new(sample);
    let app = move || App::new().app_data(sample.clone()).wrap(from_fn(by_its_name)).configure(routes);
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS)
        // A browser's idle connection would hold up the end of the process.
        .keep_alive(KeepAlive::Disabled)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    Ok(server.listen(listener)?.run())
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/install", web::get().to(install))
        .route(CALLBACK, web::get().to(callback))
        .route("/installed/{token_id}", web::get().to(installed))
        .route("/installed/{token_id}/revoke", web::post().to(revoke))
        .route("/installed/{token_id}/uninstall", web::post().to(uninstall))
        .route(STYLESHEET_PATH, web::get().to(stylesheet))
        .default_service(web::to(|| async { Refused::no_such_page().error_response() }));
}

/// Answers only to the app's own name. Other names of this machine lead there: the cookie must be where
/// grantbook sends the browser back to. Every other name was made up by somebody elsewhere.
async fn by_its_name(
    sample: web::Data<Sample>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if sample.places.app.strip_prefix("http://") == Some(host) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let reply = if names_loopback(host) && request.method() == Method::GET {
        let onward = request.uri().path_and_query().map_or("/", |path| path.as_str());
        see_other(&format!("{}{onward}", sample.places.app))
    } else {
        Refused::elsewhere().error_response()
    };
    Ok(request.into_response(reply).map_into_right_body())
}

async fn home(sample: web::Data<Sample>) -> Result<HttpResponse, Refused> {
    let shown = blocking(move || {
        let state = sample.state()?;
        Ok(HomePage::new(&sample.credentials().client_id, &state, &sample.places.grantbook, sample.tokens()))
    });
    page(StatusCode::OK, &shown.await?)
}

async fn install(request: HttpRequest, sample: web::Data<Sample>) -> Result<HttpResponse, Refused> {
    let visitor = visitor(&request).unwrap_or_else(Visitor::new);
    remembered(see_other(&sample.depart(&visitor)), &visitor)
}

async fn callback(request: HttpRequest, sample: web::Data<Sample>) -> Result<HttpResponse, Refused> {
    let answer = Answer::of_query(request.query_string());
    // A browser that was never here was not sent away either.
    let visitor = visitor(&request).unwrap_or_else(Visitor::new);
    let token_id = blocking(move || Ok(sample.arrive(&visitor, answer)?)).await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

async fn installed(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
) -> Result<HttpResponse, Refused> {
    let token = sample.token(&token_id).ok_or_else(Refused::no_such_page)?;
    let visitor = visitor(&request).unwrap_or_else(Visitor::new);
    let csrf = visitor.form_token();
    let shown = blocking(move || Ok(InstalledPage::new(sample.look(token)?, csrf, &sample.places.grantbook)));
    remembered(page(StatusCode::OK, &shown.await?)?, &visitor)
}

async fn revoke(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<HttpResponse, Refused> {
    let token = posted_for(&request, &sample, &token_id, posted)?;
    blocking(move || Ok(sample.revoke(&token)?)).await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

async fn uninstall(
    request: HttpRequest,
    sample: web::Data<Sample>,
    token_id: web::Path<String>,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<HttpResponse, Refused> {
    let token = posted_for(&request, &sample, &token_id, posted)?;
    blocking(move || Ok(sample.uninstall(&token)?)).await?;
    Ok(see_other(&format!("/installed/{token_id}")))
}

async fn stylesheet() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(STYLESHEET)
}

/// A form of this app.
#[derive(Debug, Deserialize)]
struct Posted {
    csrf: String,
}

/// The token that a form is about, if the form was made for the browser that sent it. Only what the app was
/// given can be named: its operator key reaches further.
fn posted_for(
    request: &HttpRequest,
    sample: &Sample,
    token_id: &str,
    posted: Result<web::Form<Posted>, actix_web::Error>,
) -> Result<KeptToken, Refused> {
    let csrf = posted.map(|posted| posted.into_inner().csrf).unwrap_or_default();
    match visitor(request) {
        Some(visitor) if visitor.made(&csrf) => sample.token(token_id).ok_or_else(Refused::no_such_page),
        Some(_) | None => Err(Refused::stale_form()),
    }
}

fn visitor(request: &HttpRequest) -> Option<Visitor> {
    Visitor::of_cookie(only(request.headers(), COOKIE)?)
}

/// A reply that tells the browser who it is.
fn remembered(mut reply: HttpResponse, visitor: &Visitor) -> Result<HttpResponse, Refused> {
    let cookie = Cookie::build(COOKIE, visitor.cookie().to_owned());
    // Lax: the browser comes back from grantbook, which may be another site.
    let cookie = cookie.http_only(true).same_site(SameSite::Lax).path("/").finish();
    reply.add_cookie(&cookie).map_err(Refused::broken)?;
    Ok(reply)
}

/// Asks grantbook off the threads that serve browsers.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    web::block(ask).await.map_err(Refused::broken)?
}

/// A page with the headers that protect it.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Refused> {
    let html = page.render().map_err(Refused::broken)?;
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
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}
