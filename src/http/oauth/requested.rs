//! An authorization request as it was sent. Knows: the parameters, and how they are read. Must not know: people, or what
//! is granted.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev};
use grantbook_events::ClientId;
use serde_json::json;

use super::redirect::refused;
use crate::decisions::authorization_request::{
    AuthorizationRequest, Parameters, RequestError, check_request, redirect_target,
};
use crate::http::{
    Caller, Context, Form, PageError, Service,
    openapi::describe::{Input, Operation},
};

/// The parameters of an authorization request, whether they are required, and what they may be. Each may be there once
/// (A1).
const PARAMETERS: [(&str, bool, &str); 8] = [
    ("client_id", true, ""),
    ("scope", true, ""),
    ("redirect_uri", false, ""),
    ("state", false, ""),
    ("response_type", false, "code; may be absent"),
    ("response_mode", false, "query; may be absent"),
    ("code_challenge", false, ""),
    ("code_challenge_method", false, "S256"),
];

/// The query of an authorization request, as it came.
pub struct RawQuery(pub String);

impl FromRequest for RawQuery {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self(request.query_string().to_owned())))
    }
}

impl Input for RawQuery {
    fn describe(operation: &mut Operation) {
        for (name, required, description) in PARAMETERS {
            let schema = match name {
                "client_id" => operation.schema::<ClientId>(),
                _ => json!({ "type": "string" }),
            };
            let mut parameter =
                json!({ "name": name, "in": "query", "required": required, "schema": schema });
            if !description.is_empty() {
                parameter["description"] = description.into();
            }
            operation.parameters.push(parameter);
        }
    }
}

/// Checks a raw query. What is refused goes back to the app, or to the person if there is nowhere to send an answer to
/// (A2).
pub(super) async fn check(
    service: &Service,
    context: &Context,
    query: &str,
) -> Result<Result<AuthorizationRequest, HttpResponse>, PageError> {
    let form = Form::parse(query)?;
    let value = |name| form.get(name).map(str::to_owned);
    let parameters = Parameters {
        client_id: value("client_id"),
        response_type: value("response_type"),
        response_mode: value("response_mode"),
        redirect_uri: value("redirect_uri"),
        scope: value("scope"),
        state: value("state"),
        code_challenge: value("code_challenge"),
        code_challenge_method: value("code_challenge_method"),
        repeated: form.repeated(&PARAMETERS.map(|(name, ..)| name)).map(str::to_owned),
    };
    let client_id: Option<ClientId> = form.get("client_id").and_then(|id| id.parse().ok());
    if let Some(id) = client_id {
        context.is_from(Caller::App(id));
    }
    let app = match client_id {
        Some(id) => service.ledger.app(&id).await?,
        None => None,
    };
    let target = redirect_target(app.as_deref(), &parameters)
        .map_err(|error| PageError::bad_request(format!("{error}.")))?;
    // A target was found, so there is an app.
    let app = app.ok_or_else(|| PageError::bad_request("the app that sent you here is not registered."))?;
    Ok(check_request(app, target.clone(), &parameters, &service.config.scopes).map_err(|error| {
        let code = match error {
            RequestError::InvalidRequest(_) => "invalid_request",
            RequestError::UnsupportedResponseType => "unsupported_response_type",
            RequestError::InvalidScope(_) => "invalid_scope",
        };
        refused(service, &target, code, &error.to_string())
    }))
}
