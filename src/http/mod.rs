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
mod unread;

use actix_web::web::{self, ServiceConfig, delete, get, patch, post};
use actix_web::{HttpResponse, Route};

use crate::pages::{STYLESHEET, STYLESHEET_PATH};
use manage::{apps, installations, keys, tokens};

/// The URLs for apps, for whoever watches the server, and for operators with their keys.
pub fn routes(config: &mut ServiceConfig) {
    let only_post = |path: &str, route: Route| {
        web::resource(path).route(route).default_service(web::route().to(oauth::post_only))
    };
    config
        .service(only_post("/oauth/token", post().to(oauth::token::token)))
        .service(only_post("/oauth/revoke", post().to(oauth::revoke::revoke)))
        .service(only_post("/oauth/introspect", post().to(oauth::introspect::introspect)))
        .route("/.well-known/oauth-authorization-server", get().to(oauth::metadata::metadata))
        .route(STYLESHEET_PATH, get().to(stylesheet))
        .route("/healthz", get().to(probes::healthz))
        .route("/readyz", get().to(probes::readyz))
        .route("/metrics", get().to(probes::metrics))
        .route("/openapi.json", get().to(openapi::document))
        .configure(operator_routes);
}

fn operator_routes(config: &mut ServiceConfig) {
    config
        .route("/apps", get().to(apps::list))
        .route("/apps", post().to(apps::register))
        .route("/apps/{client_id}", get().to(apps::read))
        .route("/apps/{client_id}", patch().to(apps::update))
        .route("/apps/{client_id}", delete().to(apps::delete))
        .route("/apps/{client_id}/secrets", post().to(apps::rotate_secret))
        .route("/apps/{client_id}/secrets/{secret_id}", delete().to(apps::retire_secret))
        .route("/apps/{client_id}/suspend", post().to(apps::suspend))
        .route("/apps/{client_id}/resume", post().to(apps::resume))
        .route("/installations", get().to(installations::list))
        .route("/installations/{installation_id}", get().to(installations::read))
        .route("/installations/{installation_id}", delete().to(installations::uninstall))
        .route("/installations/{installation_id}/events", get().to(installations::events))
        .route("/tokens/{token_id}", delete().to(tokens::revoke))
        .route("/keys", get().to(keys::list))
        .route("/keys", post().to(keys::create))
        .route("/keys/{key_id}", delete().to(keys::retire));
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
