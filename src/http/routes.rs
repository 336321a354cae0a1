//! The one list of URLs. Knows: which path and method is whose. Must not know: what any of them does.

use actix_web::HttpResponse;
use actix_web::web::ServiceConfig;

use super::manage::{apps, installations, keys, tokens};
use super::path::{at, form};
use super::{account, audit, home, oauth, openapi, probes, projections, sign_in};
use crate::pages::{ICON, ICON_PATH, STYLESHEET, STYLESHEET_PATH};

/// The URLs for apps, for whoever watches the server, and for operators with their keys.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(form("/oauth/token").post(oauth::token::token))
        .service(form("/oauth/revoke").post(oauth::revoke::revoke))
        .service(form("/oauth/introspect").post(oauth::introspect::introspect))
        .service(at("/.well-known/oauth-authorization-server").get(oauth::metadata::metadata))
        .service(at(STYLESHEET_PATH).get(stylesheet))
        .service(at(ICON_PATH).get(icon))
        // Where a browser looks that shows something else than a page of ours.
        .service(at("/favicon.ico").get(icon))
        .service(at("/healthz").get(probes::healthz))
        .service(at("/readyz").get(probes::readyz))
        .service(at("/metrics").get(probes::metrics))
        .service(at("/openapi.json").get(openapi::document))
        .service(at("/apps").get(apps::list).post(apps::register))
        .service(at("/apps/{client_id}").get(apps::read).patch(apps::update).delete(apps::delete))
        .service(at("/apps/{client_id}/secrets").post(apps::rotate_secret))
        .service(at("/apps/{client_id}/secrets/{secret_id}").delete(apps::retire_secret))
        .service(at("/apps/{client_id}/suspend").post(apps::suspend))
        .service(at("/apps/{client_id}/resume").post(apps::resume))
        .service(at("/installations").get(installations::list))
        .service(
            at("/installations/{installation_id}").get(installations::read).delete(installations::uninstall),
        )
        .service(at("/installations/{installation_id}/events").get(installations::events))
        .service(at("/audit/events").get(audit::events::list))
        .service(at("/audit/installations").get(audit::past::installations))
        .service(at("/audit/installations/{installation_id}/timeline").get(audit::timeline::of_installation))
        .service(at("/audit/token/{token_id}").get(audit::past::token))
        .service(at("/audit/token/{token_id}/timeline").get(audit::timeline::of_token))
        .service(at("/audit/diff").get(audit::past::diff))
        .service(at("/tokens/{token_id}").delete(tokens::revoke))
        .service(at("/projections").get(projections::list))
        .service(at("/projections/live/snapshots").post(projections::snapshot))
        .service(
            at("/projections/{name}/rebuild")
                .post(projections::rebuild)
                .get(projections::progress)
                .delete(projections::cancel),
        )
        .service(at("/keys").get(keys::list).post(keys::create))
        .service(at("/keys/{key_id}").delete(keys::retire));
}

/// The URLs for people in a browser; they ride on the session cookie.
pub fn browser_routes(config: &mut ServiceConfig) {
    config
        .service(at("/").get(home::home))
        .service(at("/oauth/authorize").get(oauth::authorize::ask).post(oauth::authorize::decide))
        .service(at("/sign-in").get(sign_in::begin))
        .service(at("/sign-in/dev").post(sign_in::dev))
        .service(at("/sign-in/handoff").get(sign_in::handoff))
        .service(at("/sign-out").get(sign_in::ask_to_sign_out).post(sign_in::sign_out))
        .service(at("/account/apps").get(account::apps))
        .service(at("/account/apps/{installation_id}/uninstall").post(account::uninstall))
        .service(at("/account/tokens/{token_id}/revoke").post(account::revoke));
}

/// Whether a person may read the answer at this path: those of [`browser_routes`]. All others are for programs.
pub(super) fn has_a_page(path: &str) -> bool {
    path == "/"
        || ["/oauth/authorize", "/sign-in", "/sign-out", "/account"].iter().any(|page| path.starts_with(page))
}

async fn stylesheet() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLESHEET)
}

async fn icon() -> HttpResponse {
    asset("image/svg+xml", ICON)
}

fn asset(content_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header(("cache-control", "public, max-age=3600"))
        .body(content)
}
