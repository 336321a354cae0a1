//! `POST /oauth/par`: an app sends its authorization request ahead of the person's browser (RFC 9126). Knows: the form,
//! and the answer. Must not know: how a request is kept, or what a person says to it.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, PRAGMA};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::client::Credentials;
use super::error::OAuthError;
use super::posted::{FORM, read_form};
use super::pushed::{LIFETIME, Pushed};
use super::requested::{PushForm, pushed_parameters};
use super::{OAuthAnswer, client, named};
use crate::decisions::authorization_request::{
    NoTarget, Parameters, RequestError, check_request, redirect_target,
};
use crate::http::browser::Browser;
use crate::http::openapi::describe::{Input, Operation};
use crate::http::{Form, Problem, Reply, Service};
use crate::secrets;

/// The longest `request_uri`, in bytes. A browser has to carry it in a URI, through the sign-in too.
const URI_MAX_BYTES: usize = 32 * 1024;

/// An authorization request, as it was posted.
pub struct Posted(Form);

impl FromRequest for Posted {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = read_form(request, payload, false);
        Box::pin(async move { form.await.map(Self) })
    }
}

impl Input for Posted {
    fn describe(operation: &mut Operation) {
        operation.takes_body::<PushForm>(FORM, true);
    }
}

/// What stands for a request that was pushed (RFC 9126 section 2.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct PushReply {
    /// Send the browser to the authorization endpoint with this and `client_id`.
    request_uri: String,
    /// For how many seconds.
    expires_in: u64,
}

/// Checks a request of the authenticated client, and answers what stands for it.
pub async fn push(
    request: HttpRequest,
    service: Data<Service>,
    browser: Data<Browser>,
    Posted(form): Posted,
) -> OAuthAnswer<PushReply> {
    let value = |name| form.get(name).map(str::to_owned);
    let credentials = Credentials {
        client_id: value("client_id"),
        client_secret: value("client_secret"),
        assertion_type: value("client_assertion_type"),
        assertion: value("client_assertion"),
    };
    let client = client::authenticate_as_of_document(&request, &service, credentials).await?;
    let client_id = client.app.client_id;
    // One that authenticates by Basic need not name itself again.
    let named = named::name_of(&client.app);
    let parameters = Parameters { client_id: Some(named), ..pushed_parameters(&form)? };
    let target = redirect_target(Some(&client.app), &parameters)?;
    let config = &service.config;
    check_request(client.app, target, &parameters, &config.scopes, &config.resources)?;
    let pushed_at = service.ledger.now();
    let grant_id = secrets::new_grant_id(pushed_at);
    let pushed = Pushed { client_id, grant_id, parameters, pushed_at, arrived: false };
    let request_uri = pushed.to_uri(&browser.pushed).map_err(|error| Problem::broken(error.to_string()))?;
    if request_uri.len() > URI_MAX_BYTES {
        let detail = "the request is too long: send a shorter state";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", detail).into());
    }
    let reply = PushReply { request_uri, expires_in: LIFETIME.as_secs() };
    Ok(Reply::created(reply).with((PRAGMA, HeaderValue::from_static("no-cache"))))
}

impl From<RequestError> for OAuthError {
    fn from(error: RequestError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<NoTarget> for OAuthError {
    fn from(error: NoTarget) -> Self {
        Self::invalid_request(error.to_string())
    }
}
