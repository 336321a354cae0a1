//! An authorization request as it was sent: in the query, or pushed before. Knows: the parameters, and how they are read
//! and checked. Must not know: people, or what is granted.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev};
use grantbook_events::{ClientId, Timestamp};
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::named::{self, Named, NamedError};
use super::pushed::{PREFIX, Pushed};
use super::redirect::refused;
use crate::decisions::authorization_request::{
    AuthorizationRequest, NoTarget, Parameters, RequestError, check_request, redirect_target,
};
use crate::http::{
    Caller, Context, Form, PageError, Service,
    openapi::describe::{Input, Operation},
};
use crate::identity::Sealer;

/// The parameters of an authorization request that may be there once (A1), whether they are required, and what they may
/// be.
const PARAMETERS: [(&str, bool, &str); 8] = [
    ("client_id", true, ""),
    ("scope", false, "names separated by spaces; if it is absent, the default scopes"),
    ("redirect_uri", false, ""),
    ("state", false, ""),
    ("response_type", false, "code; may be absent"),
    ("response_mode", false, "query; may be absent"),
    ("code_challenge", false, ""),
    ("code_challenge_method", false, "S256"),
];
/// The only one that may be there more than once (RFC 8707).
const RESOURCE: (&str, &str) = ("resource", "an API that tokens are to be for, as a URI; none for any");
/// What a query may have in their place.
const REQUEST_URI: (&str, &str) =
    ("request_uri", "what /oauth/par answered; only client_id may be sent with it");
/// Not supported (RFC 9101).
const REQUEST: &str = "request";

/// What an app hears that has to push its requests, and sent one through the browser.
const NOT_PUSHED: &str = "this app has to push its requests: post them to /oauth/par first (RFC 9126)";

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
        let pushed = (REQUEST_URI.0, false, REQUEST_URI.1);
        for (name, required, description) in PARAMETERS.into_iter().chain([pushed]) {
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
        let schema = json!({ "type": "array", "items": { "type": "string" } });
        let resource = json!({ "name": RESOURCE.0, "in": "query", "required": false, "schema": schema,
            "description": RESOURCE.1 });
        operation.parameters.push(resource);
    }
}

/// The form of a request that is pushed: the parameters, and how the client authenticates.
pub struct PushForm;

impl PartialSchema for PushForm {
    fn schema() -> RefOr<Schema> {
        let authentication = [
            ("client_secret", false, "unless it authenticates by Basic or by client_assertion, or has none"),
            ("client_assertion_type", false, "of client_assertion (RFC 7523)"),
            ("client_assertion", false, "a JWT that the app signed with its key"),
        ];
        let form = PARAMETERS.into_iter().chain(authentication).fold(
            ObjectBuilder::new()
                .description(Some("An authorization request, pushed (RFC 9126 section 2.1).")),
            |form, (name, _, description)| {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let description = Some(description).filter(|text| !text.is_empty());
                form.property(name, text.description(description))
            },
        );
        let resources = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
        form.property(RESOURCE.0, resources.description(Some(RESOURCE.1))).build().into()
    }
}

impl ToSchema for PushForm {}

/// The parameters of a form or a query.
fn parameters(form: &Form) -> Parameters {
    let value = |name| form.get(name).map(str::to_owned);
    Parameters {
        client_id: value("client_id"),
        response_type: value("response_type"),
        response_mode: value("response_mode"),
        redirect_uri: value("redirect_uri"),
        scope: value("scope"),
        state: value("state"),
        code_challenge: value("code_challenge"),
        code_challenge_method: value("code_challenge_method"),
        resources: form.all(RESOURCE.0).map(str::to_owned).collect(),
        repeated: form.repeated(&PARAMETERS.map(|(name, ..)| name)).map(str::to_owned),
    }
}

/// What an app pushes. It may not be a `request_uri` again (RFC 9126 section 2.1).
pub(super) fn pushed_parameters(form: &Form) -> Result<Parameters, RequestError> {
    if form.get(REQUEST).is_some() {
        return Err(RequestError::RequestNotSupported);
    }
    if form.get(REQUEST_URI.0).is_some() {
        return Err(RequestError::InvalidRequest("request_uri cannot be pushed".to_owned()));
    }
    Ok(parameters(form))
}

/// An authorization request that was read and not checked.
pub(super) struct Requested {
    parameters: Parameters,
    /// As it was pushed, if it was.
    pub pushed: Option<Pushed>,
    /// Why it is refused, whatever else it says.
    fault: Option<RequestError>,
}

impl Requested {
    /// Reads a query. If it names a pushed request, every other parameter is ignored (RFC 9126 section 4).
    pub(super) fn read(query: &str, sealer: &Sealer) -> Result<Self, PageError> {
        let form = Form::parse(query)?;
        let sent = parameters(&form);
        let refused = |fault| Self { parameters: sent.clone(), pushed: None, fault: Some(fault) };
        if form.get(REQUEST).is_some() {
            return Ok(refused(RequestError::RequestNotSupported));
        }
        let Some(uri) = form.get(REQUEST_URI.0) else {
            return Ok(Self { parameters: sent, pushed: None, fault: None });
        };
        if !uri.starts_with(PREFIX) {
            return Ok(refused(RequestError::RequestUriNotSupported));
        }
        if let Some(name) = form.repeated(&["client_id", REQUEST_URI.0]) {
            let repeated = Some(name.to_owned());
            return Ok(Self { parameters: Parameters { repeated, ..sent }, pushed: None, fault: None });
        }
        let found = Pushed::from_uri(uri, sealer);
        let client_id = sent.client_id.as_deref().and_then(named::client_id);
        let is_theirs = |pushed: &Pushed| client_id == Some(pushed.client_id);
        Ok(match found.filter(is_theirs) {
            Some(pushed) => Self { parameters: pushed.parameters.clone(), pushed: Some(pushed), fault: None },
            None => refused(RequestError::InvalidRequestUri("the request_uri is not one of this app's")),
        })
    }

    /// Whether a document has to be fetched to check it.
    pub(super) fn is_by_document(&self) -> bool {
        self.parameters.client_id.as_deref().and_then(named::client_id).is_some_and(|id| id.is_of_document())
    }

    /// The same, or refused if it was pushed too long ago.
    pub(super) fn in_time(self, now: Timestamp) -> Self {
        if self.pushed.as_ref().is_some_and(|pushed| pushed.is_over(now)) {
            let fault = Some(RequestError::InvalidRequestUri("the request_uri has expired"));
            return Self { fault, pushed: None, ..self };
        }
        self
    }

    /// Checks it. What is refused goes back to the app, or to the person if there is nowhere to send an answer to
    /// (A2).
    pub(super) async fn check(
        &self,
        service: &Service,
        context: &Context,
    ) -> Result<Result<AuthorizationRequest, HttpResponse>, PageError> {
        let page = |sentence: String| PageError::bad_request(format!("{sentence}."));
        let client_id = self.parameters.client_id.as_deref().unwrap_or_default();
        if let Some(id) = named::client_id(client_id) {
            context.is_from(Caller::App(id));
        }
        let Named { app, record } = named::app(service, client_id).await.map_err(|error| match error {
            NamedError::Document(sentence) => page(sentence),
            NamedError::Ledger(error) => error.into(),
        })?;
        let target =
            redirect_target(app.as_deref(), &self.parameters).map_err(|error| match &self.fault {
                // The target is in the request that cannot be read.
                Some(fault) if matches!(error, NoTarget::RedirectUriMissing) => page(fault.to_string()),
                Some(_) | None => page(error.to_string()),
            })?;
        // A target was found, so there is an app.
        let app = app.ok_or_else(|| page(NoTarget::UnknownClient.to_string()))?;
        let checked = match &self.fault {
            Some(fault) => Err(fault.clone()),
            None if app.requires_pushed_requests && self.pushed.is_none() => {
                Err(RequestError::InvalidRequest(NOT_PUSHED.to_owned()))
            }
            None => {
                let config = &service.config;
                check_request(app, target.clone(), &self.parameters, &config.scopes, &config.resources)
            }
        };
        let checked = checked.map(|wanted| AuthorizationRequest { record, ..wanted });
        Ok(checked.map_err(|error| refused(service, &target, error.code(), &error.to_string())))
    }
}
