//! What callers say and hear. Knows: wire forms, commands, rendering, and the one list of URLs. Must not
//! know: stores, or the rules that commands are decided by.

pub mod account;
pub mod browser;
pub mod context;
pub mod fault;
pub mod form;
pub mod limits;
pub mod manage;
pub mod oauth;
pub mod openapi;
pub mod operator;
pub mod probes;
pub mod problem;
pub mod service;
pub mod sign_in;

use actix_web::web::{self, ServiceConfig, get, post};
use actix_web::{HttpResponse, Route};

use crate::pages::{STYLESHEET, STYLESHEET_PATH};

/// Every URL there is, but for those that need operators' keys.
pub fn routes(config: &mut ServiceConfig) {
    let only_post = |path: &str, route: Route| {
        web::resource(path).route(route).default_service(web::route().to(oauth::post_only))
    };
    config
        .service(only_post("/oauth/token", post().to(oauth::token::token)))
        .service(only_post("/oauth/revoke", post().to(oauth::revoke::revoke)))
        .service(only_post("/oauth/introspect", post().to(oauth::introspect::introspect)))
        .route("/.well-known/oauth-authorization-server", get().to(oauth::metadata::metadata))
        .route(STYLESHEET_PATH, get().to(stylesheet));
}

/// The URLs for people in a browser; they ride on the session cookie.
pub fn browser_routes(config: &mut ServiceConfig) {
    config
        .route("/oauth/authorize", get().to(oauth::authorize::ask))
        .route("/oauth/authorize", post().to(oauth::authorize::decide))
        .route("/sign-in", get().to(sign_in::begin))
        .route("/sign-in/dev", post().to(sign_in::dev))
        .route("/sign-in/handoff", get().to(sign_in::handoff))
        .route("/sign-out", post().to(sign_in::sign_out))
        .route("/account/apps", get().to(account::apps))
        .route("/account/apps/{installation_id}/uninstall", post().to(account::uninstall))
        .route("/account/tokens/{token_id}/revoke", post().to(account::revoke));
}

async fn stylesheet() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header(("cache-control", "public, max-age=3600"))
        .body(STYLESHEET)
}
