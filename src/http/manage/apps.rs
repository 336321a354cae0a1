//! `/apps`: register, list, read and change apps, rotate their secrets, suspend, resume and delete them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Query};
use grantbook_events::{AppEvent, AppSource, ClientId, ClientKeys, Event, NewSecret, SecretId, StreamKind};
use grantbook_projections::App;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::app_json::{AppJson, PolicyJson, SecretJson, SourceKindJson, object, present, present_object};
use super::paging::{Cursor, Limit, Page, Paging};
use super::{DoneBefore, Note, Why, done_before};
use crate::decisions::client_keys::check_keys;
use crate::decisions::redirect_uri::leads_to;
use crate::decisions::{
    AppRefusal, Changes, DeleteApp, RegisterApp, Registration, ResumeApp, RetireSecret, RotateSecret,
    SuspendApp, UpdateApp,
};
use crate::http::{Answer, Body, Operator, Problem, Reply, Service, ShownOnce};
use crate::secrets;

/// The longest an old secret may go on after a rotation, in seconds: 30 days.
const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 60 * 60;

/// A new app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApp {
    /// Shown on the consent page: characters that can be seen.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Who answers for the app; shown on the consent page.
    #[schema(min_length = 1, max_length = 100)]
    owner: String,
    /// Where people can read about the app: an https address.
    #[schema(max_length = 500)]
    homepage: Option<String>,
    /// Redirect URIs: absolute https, http for loopback addresses, or a private scheme with a dot.
    #[schema(min_items = 1, max_items = 20, example = json!(["https://app.example/callback"]))]
    redirect_uris: Vec<String>,
    /// The scopes it may ask for, of those that the server's configuration has.
    #[schema(min_items = 1, example = json!(["widgets"]))]
    scopes: Vec<String>,
    /// Whether it can keep a secret: true unless it runs on people's own devices. It gets a secret, unless it has keys.
    #[serde(default = "yes")]
    #[schema(default = true)]
    confidential: bool,
    /// How long its tokens live: for ever unless this says otherwise. With `refresh`, what it does not say is that of the
    /// server's configuration.
    #[serde(default, deserialize_with = "object")]
    token_policy: PolicyJson,
    /// The scopes it gets if it asks for none, of those it may ask for; none for those of the server's configuration.
    #[serde(default)]
    #[schema(example = json!(["widgets"]))]
    default_scopes: Vec<String>,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    #[serde(default)]
    requires_pushed_requests: bool,
    /// The public keys it authenticates by instead of a secret (`private_key_jwt`): a JWK set (RFC 7517).
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// Where such a set is: an https URL.
    #[schema(max_length = 500)]
    jwks_uri: Option<String>,
}

const fn yes() -> bool {
    true
}

/// An app that was just registered.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewAppJson {
    #[serde(flatten)]
    app: AppJson,
    /// The client secret. It is shown here and never again; absent for a public client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<ShownOnce>,
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppChanges {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    owner: Option<String>,
    /// Null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 500)]
    homepage: Option<Option<String>>,
    /// All redirect URIs from now on.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_items = 1, max_items = 20, example = json!(["https://app.example/callback"]))]
    redirect_uris: Option<Vec<String>>,
    /// All scopes it may ask for from now on; tokens already issued keep theirs.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_items = 1, example = json!(["widgets"]))]
    scopes: Option<Vec<String>>,
    /// For tokens issued from now on. Without `refresh` no new refresh tokens are issued with codes; those that are there go
    /// on.
    #[serde(default, deserialize_with = "present_object")]
    #[schema(nullable = false)]
    token_policy: Option<PolicyJson>,
    /// The scopes it gets if it asks for none; an empty list for those of the server's configuration.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, example = json!(["widgets"]))]
    default_scopes: Option<Vec<String>>,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    requires_pushed_requests: Option<bool>,
    /// The public keys it authenticates by from now on (`private_key_jwt`): a JWK set (RFC 7517). Secrets that it has stay.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object, nullable = false)]
    jwks: Option<Value>,
    /// Where such a set is: an https URL.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 500)]
    jwks_uri: Option<String>,
}

/// How to rotate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Seconds that the old secret goes on, at most 30 days; 0 ends it at once. The server's
    /// configuration says how long if this is absent.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, maximum = 2_592_000)]
    overlap_seconds: Option<u64>,
}

/// A new client secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewSecretJson {
    /// Names the secret.
    secret_id: SecretId,
    /// The client secret. It is shown here and never again.
    client_secret: ShownOnce,
    /// The app's client secrets now, oldest first.
    secrets: Vec<SecretJson>,
}

/// Why, in the operator's words.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// No control characters, and one that can be seen.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reason: String,
}

pub async fn register(operator: Operator, Body(body): Body<NewApp>) -> Answer<NewAppJson> {
    let service = &operator.service;
    let keys = keys(body.jwks.as_ref(), body.jwks_uri.as_deref())?;
    let has_secret = body.confidential && keys.is_none();
    let registration = Registration {
        name: body.name,
        owner: body.owner,
        homepage: body.homepage,
        redirect_uris: body.redirect_uris,
        scopes: body.scopes,
        default_scopes: body.default_scopes,
        token_policy: service.config.refresh.filled(body.token_policy.into()),
        requires_pushed_requests: body.requires_pushed_requests,
        keys,
        ..Registration::default()
    };
    let client_id = secrets::new_client_id();
    let (secret, client_secret) = has_secret.then(|| mint_secret(service)).unzip();
    let command = RegisterApp::new(client_id, secret, &registration, &service.config.scopes);
    operator.settle(&command.map_err(AppRefusal::from)?).await?;
    let reply = Reply::created(NewAppJson { app: app_json(service, client_id)?, client_secret });
    Ok(reply.with((LOCATION, service.url(&format!("/apps/{client_id}")))))
}

/// Which apps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AppsQuery {
    /// Only those that came to be so.
    source: Option<SourceKindJson>,
    /// Only those with a redirect URI or a metadata document on this host, or on a name below it.
    #[param(min_length = 1)]
    host: Option<String>,
    /// `next_cursor` of the page before; the first page without.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// The most items of the page: 1 to 200, 50 by default.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<Limit>,
}

pub async fn list(service: Data<Service>, query: Query<AppsQuery>) -> Answer<Page<AppJson>> {
    let AppsQuery { source, host, cursor, limit } = query.into_inner();
    if host.as_deref() == Some("") {
        return Err(Problem::bad_request("host must be the name of a host, such as app.example"));
    }
    let now = service.ledger.recorded_now();
    let rows = |skip, limit| service.ledger.live().apps(skip, limit);
    let is_there = |app: &App, host: &str| {
        let document = if let AppSource::Document(url) = &app.source { Some(url) } else { None };
        app.redirect_uris.iter().chain(document).any(|uri| leads_to(uri, host))
    };
    let is_asked_for = |app: &App| {
        source.is_none_or(|source| source == (&app.source).into())
            && host.as_ref().is_none_or(|host| is_there(app, host))
    };
    let item = |app: &Arc<App>| is_asked_for(app).then(|| AppJson::new(app, now));
    Ok(Reply::ok(Paging { cursor, limit }.page(rows, item)))
}

pub async fn read(service: Data<Service>, client_id: Path<ClientId>) -> Answer<AppJson> {
    app_json(&service, *client_id).map(Reply::ok)
}

pub async fn update(
    operator: Operator,
    client_id: Path<ClientId>,
    Body(body): Body<AppChanges>,
) -> Answer<AppJson> {
    let refresh = &operator.service.config.refresh;
    let changes = Changes {
        name: body.name,
        owner: body.owner,
        homepage: body.homepage.map(Option::unwrap_or_default),
        redirect_uris: body.redirect_uris,
        scopes: body.scopes,
        default_scopes: body.default_scopes,
        keys: Some(keys(body.jwks.as_ref(), body.jwks_uri.as_deref())?).filter(|keys| !keys.is_none()),
        token_policy: body.token_policy.map(|policy| refresh.filled(policy.into())),
        requires_pushed_requests: body.requires_pushed_requests,
    };
    let command = UpdateApp::new(*client_id, &changes, &operator.service.config.scopes);
    operator.settle(&command.map_err(AppRefusal::from)?).await?;
    app_json(&operator.service, *client_id).map(Reply::ok)
}

pub async fn rotate_secret(
    operator: Operator,
    client_id: Path<ClientId>,
    Body(body): Body<Rotation>,
) -> Answer<NewSecretJson> {
    let service = &operator.service;
    let overlap = match body.overlap_seconds {
        Some(seconds) if seconds > MAX_OVERLAP_SECONDS => {
            return Err(Problem::bad_request(format!(
                "overlap_seconds: must be at most {MAX_OVERLAP_SECONDS} (30 days)"
            )));
        }
        Some(seconds) => Duration::from_secs(seconds),
        None => service.config.rotation_overlap,
    };
    let (secret, client_secret) = mint_secret(service);
    let secret_id = secret.secret_id;
    operator.settle(&RotateSecret { client_id: *client_id, secret, overlap }).await?;
    let (app, now) = (known_app(service, *client_id)?, service.ledger.recorded_now());
    let secrets = app.live_secrets(now).map(SecretJson::from).collect();
    Ok(Reply::created(NewSecretJson { secret_id, client_secret, secrets }))
}

pub async fn retire_secret(
    operator: Operator,
    ids: Path<(ClientId, SecretId)>,
    Query(Note { note }): Query<Note>,
) -> Answer<DoneBefore> {
    let (client_id, secret_id) = ids.into_inner();
    if !operator.settle(&RetireSecret { client_id, secret_id, note }).await? {
        return Ok(Reply::no_content());
    }
    let is_it = |event: &Event| match event {
        Event::App(AppEvent::SecretRetired(retired)) => retired.secret_id == secret_id,
        Event::App(_) | Event::Installation(_) | Event::OperatorKey(_) | Event::Ledger(_) => false,
    };
    done_before(&operator.service, StreamKind::App(client_id), is_it).await
}

pub async fn suspend(
    operator: Operator,
    client_id: Path<ClientId>,
    Body(Reason { reason }): Body<Reason>,
) -> Answer<AppJson> {
    operator.settle(&SuspendApp { client_id: *client_id, reason }).await?;
    app_json(&operator.service, *client_id).map(Reply::ok)
}

pub async fn resume(
    operator: Operator,
    client_id: Path<ClientId>,
    Body(Reason { reason }): Body<Reason>,
) -> Answer<AppJson> {
    operator.settle(&ResumeApp { client_id: *client_id, reason }).await?;
    app_json(&operator.service, *client_id).map(Reply::ok)
}

pub async fn delete(operator: Operator, client_id: Path<ClientId>, why: Query<Why>) -> Answer<()> {
    let reason = why.into_inner().required()?;
    operator.settle(&DeleteApp { client_id: *client_id, reason }).await?;
    Ok(Reply::no_content())
}

fn keys(jwks: Option<&Value>, jwks_uri: Option<&str>) -> Result<ClientKeys, AppRefusal> {
    Ok(check_keys(jwks.map(Value::to_string).as_deref(), jwks_uri)?)
}

pub(in crate::http) fn mint_secret(service: &Service) -> (NewSecret, ShownOnce) {
    let plain = secrets::mint_client_secret();
    let secret_id = secrets::new_secret_id(service.ledger.recorded_now());
    (NewSecret { secret_id, digest: plain.digest() }, ShownOnce(plain))
}

fn known_app(service: &Service, client_id: ClientId) -> Result<Arc<App>, Problem> {
    service.ledger.live().app(&client_id).ok_or_else(|| Problem::not_found("app"))
}

fn app_json(service: &Service, client_id: ClientId) -> Result<AppJson, Problem> {
    Ok(AppJson::new(&*known_app(service, client_id)?, service.ledger.recorded_now()))
}
