//! `/oauth/register`: an app registers itself (RFC 7591; D1) and manages its registration (RFC 7592; D3). Knows: wire forms, and which
//! command each request is. Must not know: what such an app may have.

use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderValue, PRAGMA};
use actix_web::web::{Data, Path};
use actix_web::{FromRequest, HttpRequest};
use grantbook_events::{ActorKind, AppSource, ClientId, ClientKeys};
use grantbook_projections::App;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::OAuthError;
use super::rate_limits::TooOften;
use super::{OAuthAnswer, answer};
use crate::config::RegistrationMode;
use crate::decisions::app_profile::ProfileError;
use crate::decisions::client_authentication::ClientError;
use crate::decisions::client_metadata::ClientMetadata;
use crate::decisions::self_registration::{AuthMethod, check_registration_token};
use crate::decisions::{AppRefusal, Command, DeleteApp, RegisterApp, Registration, UpdateApp};
use crate::http::manage::apps::mint_secret;
use crate::http::openapi::describe::{Input, Operation};
use crate::http::{Body, Caller, Context, Problem, Reply, Service, ShownOnce, operator};
use crate::ledger::Origin;
use crate::secrets;

const NO_INITIAL_TOKEN: &str = "send an initial access token that is accepted, an operator key of the role registrar: Authorization: Bearer gbk_…";
const NO_REGISTRATION_TOKEN: &str =
    "send the registration access token of this app: Authorization: Bearer gba_…";
const OFF: &str = "apps do not register themselves here: ask the operator of this server to register yours";
const SUSPENDED: &str = "an operator has suspended the app: only an operator can change it now";
/// Why an app is deleted that its own software deletes.
const DELETED: &str = "its own software deleted it";

/// JSON that was sent; what is wrong in it is an error of RFC 7591.
pub struct Sent<T>(T);

impl<T: DeserializeOwned + 'static> FromRequest for Sent<T> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            body.await.map(|Body(sent)| Self(sent)).map_err(|problem| match problem.code {
                "invalid_request" => OAuthError::new("invalid_client_metadata", problem.detail),
                _ => problem.into(),
            })
        })
    }
}

impl<T: DeserializeOwned + ToSchema> Input for Sent<T> {
    fn describe(operation: &mut Operation) {
        Body::<T>::describe(operation);
    }
}

/// What takes the place of a registration.
#[derive(Deserialize, ToSchema)]
pub struct NewMetadata {
    /// The app's client id, if it is said again.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The app's secret, if it is said again. It cannot be changed so.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
    #[serde(flatten)]
    metadata: ClientMetadata,
}

/// What is registered (RFC 7591 section 3.2.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientInformation {
    client_id: ClientId,
    /// In seconds since 1970.
    client_id_issued_at: i64,
    /// The client secret. It is shown when the app is registered, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<ShownOnce>,
    /// 0, which stands for never; absent without a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret_expires_at: Option<u8>,
    /// Where the registration is read, changed and deleted.
    registration_client_uri: String,
    /// The token for that. It is shown when the app is registered, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    registration_access_token: Option<ShownOnce>,
    #[serde(flatten)]
    metadata: ClientMetadata,
}

pub async fn register(
    request: HttpRequest,
    service: Data<Service>,
    Sent(metadata): Sent<ClientMetadata>,
) -> OAuthAnswer<ClientInformation> {
    let (settings, scopes) = (&service.config.registration, &service.config.scopes);
    let source = admitted(&request, &service)?;
    let token_policy = service.config.refresh.of_self_registered(metadata.refreshes());
    let (registration, method) =
        settings.policy.registration(&metadata, scopes, token_policy, source.clone())?;
    if source == AppSource::Open {
        let from = request.peer_addr().map(|address| address.ip());
        let counted = service.registrations.count(from, settings.per_minute, service.ledger.steady_now());
        counted.map_err(|TooOften(seconds)| {
            Problem::too_often(seconds, "too many apps are registering themselves: wait, then try again")
        })?;
    }
    let client_id = secrets::new_client_id();
    let token = secrets::mint_registration_token();
    let (secret, client_secret) = method.has_secret().then(|| mint_secret(&service)).unzip();
    let registration = Registration { registration_digest: Some(token.digest()), ..registration };
    let command = RegisterApp::new(client_id, secret, &registration, scopes)?;
    let context = Context::of(&request);
    let origin = match source {
        AppSource::InitialAccessToken(key_id) => context.origin(ActorKind::Operator, key_id.to_string()),
        _ => context.origin(ActorKind::App, client_id.to_string()),
    };
    settle(&context, &service, &origin, &command).await?;
    let app = service.ledger.app(&client_id).await?.ok_or(AppRefusal::Unknown)?;
    let reply = ClientInformation {
        client_secret_expires_at: client_secret.is_some().then_some(0),
        client_secret,
        registration_access_token: Some(ShownOnce(token)),
        ..information(&service, &app, &metadata)
    };
    Ok(Reply::created(reply).with((PRAGMA, HeaderValue::from_static("no-cache"))))
}

pub async fn read(
    request: HttpRequest,
    service: Data<Service>,
    client_id: Path<String>,
) -> OAuthAnswer<ClientInformation> {
    let app = managed(&request, &service, &client_id).await?;
    Ok(answer(information(&service, &app, &ClientMetadata::default())))
}

pub async fn update(
    request: HttpRequest,
    service: Data<Service>,
    client_id: Path<String>,
    Sent(new): Sent<NewMetadata>,
) -> OAuthAnswer<ClientInformation> {
    let app = managed(&request, &service, &client_id).await?;
    let now = service.ledger.recorded_now();
    let is_known = |secret: &String| {
        let digest = secrets::digest(secret);
        app.live_secrets(now).any(|known| secrets::digests_match(&known.digest, &digest))
    };
    if new.client_id.is_some_and(|id| id.parse() != Ok(app.client_id)) {
        return Err(OAuthError::invalid_request("client_id must be the one in the path"));
    }
    if !new.client_secret.as_ref().is_none_or(is_known) {
        return Err(OAuthError::invalid_request("client_secret must be the app's own, or be left out"));
    }
    let (config, metadata) = (&service.config, new.metadata);
    let token_policy = config.refresh.of_self_registered(metadata.refreshes());
    let changes = config.registration.policy.changes(&app, &metadata, &config.scopes, token_policy)?;
    let command = UpdateApp::new(app.client_id, &changes, &config.scopes)?;
    settle_as(&request, &service, &app, &command).await?;
    let app = service.ledger.app(&app.client_id).await?.ok_or(AppRefusal::Unknown)?;
    Ok(answer(information(&service, &app, &metadata)))
}

pub async fn delete(
    request: HttpRequest,
    service: Data<Service>,
    client_id: Path<String>,
) -> OAuthAnswer<()> {
    let app = managed(&request, &service, &client_id).await?;
    let command = DeleteApp { client_id: app.client_id, reason: DELETED.to_owned() };
    settle_as(&request, &service, &app, &command).await?;
    Ok(Reply::no_content())
}

/// Who registers: anyone, or who has an initial access token.
fn admitted(request: &HttpRequest, service: &Service) -> Result<AppSource, OAuthError> {
    let key = operator::bearer(request);
    let by_key = || {
        let key_id = key.and_then(|key| operator::registrar(request, service, key));
        key_id.map(AppSource::InitialAccessToken)
    };
    match service.config.registration.mode {
        RegistrationMode::Off => Err(OAuthError::denied(OFF)),
        RegistrationMode::Open if key.is_none() => Ok(AppSource::Open),
        // A token that is not accepted is a mistake, also where none is needed.
        RegistrationMode::Open | RegistrationMode::Token => {
            by_key().ok_or_else(|| OAuthError::not_registrar(NO_INITIAL_TOKEN))
        }
    }
}

/// The app whose software asks, with the token for its registration.
async fn managed(request: &HttpRequest, service: &Service, client_id: &str) -> Result<Arc<App>, OAuthError> {
    if service.config.registration.mode == RegistrationMode::Off {
        return Err(OAuthError::denied(OFF));
    }
    let app = match client_id.parse::<ClientId>() {
        Ok(id) => service.ledger.app(&id).await?,
        Err(_) => None,
    };
    let presented = secrets::digest(operator::bearer(request).unwrap_or_default());
    match (check_registration_token(app.as_deref(), &presented), app) {
        (Ok(()), Some(app)) => {
            Context::of(request).is_from(Caller::App(app.client_id));
            Ok(app)
        }
        (Err(ClientError::Suspended), _) => Err(OAuthError::denied(SUSPENDED)),
        (Ok(()) | Err(ClientError::Failed), _) => Err(OAuthError::not_registrar(NO_REGISTRATION_TOKEN)),
    }
}

async fn settle_as<C: Command<Answer = (), Refusal = AppRefusal>>(
    request: &HttpRequest,
    service: &Service,
    app: &App,
    command: &C,
) -> Result<(), OAuthError> {
    let context = Context::of(request);
    let origin = context.origin(ActorKind::App, app.client_id.to_string());
    settle(&context, service, &origin, command).await
}

async fn settle<C: Command<Answer = (), Refusal = AppRefusal>>(
    context: &Context,
    service: &Service,
    origin: &Origin,
    command: &C,
) -> Result<(), OAuthError> {
    Ok(context.settle(service, origin, command).await??)
}

/// What is registered of an app, whatever it asked for.
fn information(service: &Service, app: &App, asked: &ClientMetadata) -> ClientInformation {
    let method = AuthMethod::of(app, asked.token_endpoint_auth_method.as_deref());
    let scopes = if app.default_scopes.is_empty() { &app.scopes } else { &app.default_scopes };
    let grants = ["authorization_code"].into_iter().chain(app.token_policy.refresh.map(|_| "refresh_token"));
    let (jwks, jwks_uri) = match &app.keys {
        ClientKeys::None => (None, None),
        ClientKeys::Jwks(set) => (serde_json::from_str(set).ok(), None),
        ClientKeys::JwksUri(url) => (None, Some(url.clone())),
    };
    ClientInformation {
        client_id: app.client_id,
        client_id_issued_at: app.registered_at.as_micros() / 1_000_000,
        client_secret: None,
        client_secret_expires_at: None,
        registration_client_uri: service.url(&format!("/oauth/register/{}", app.client_id)),
        registration_access_token: None,
        metadata: ClientMetadata {
            redirect_uris: Some(app.redirect_uris.clone()),
            client_name: Some(app.name.clone()),
            client_uri: app.homepage.clone(),
            token_endpoint_auth_method: Some(method.name().to_owned()),
            token_endpoint_auth_signing_alg: None,
            grant_types: Some(grants.map(str::to_owned).collect()),
            response_types: Some(vec!["code".to_owned()]),
            scope: Some(scopes.join(" ")),
            jwks,
            jwks_uri,
            require_pushed_authorization_requests: app.requires_pushed_requests.then_some(true),
        },
    }
}

impl From<ProfileError> for OAuthError {
    fn from(error: ProfileError) -> Self {
        let is_redirect_uri = error.field == "redirect_uris";
        let code = if is_redirect_uri { "invalid_redirect_uri" } else { "invalid_client_metadata" };
        Self::new(code, error.to_string())
    }
}

impl From<AppRefusal> for OAuthError {
    fn from(refusal: AppRefusal) -> Self {
        match refusal {
            AppRefusal::Profile(error) => error.into(),
            // It was deleted a moment ago.
            AppRefusal::Unknown => Self::not_registrar(NO_REGISTRATION_TOKEN),
            AppRefusal::Exists
            | AppRefusal::Suspended
            | AppRefusal::NotSuspended
            | AppRefusal::PublicClient
            | AppRefusal::TooManySecrets { .. }
            | AppRefusal::SecretUnknown(_)
            | AppRefusal::LastSecret
            | AppRefusal::Text(_) => Self::invalid_request(refusal.to_string()),
        }
    }
}
