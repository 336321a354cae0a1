//! `/apps`: register, list, read and change apps, rotate their secrets, suspend, resume and delete them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use grantbook_events::{AppEvent, ClientId, Event, NewSecret, SecretId, StreamKind, TokenPolicy};
use grantbook_projections::RegisteredApp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::app_json::{SecretJson, TokenPolicyJson};
use super::body::Body;
use super::paging::{Page, Paging};
use super::reply::{self, ShownOnce};
use super::{AppJson, DoneBefore, Note, Why, done_before, settle};
use crate::decisions::{
    Changes, DeleteApp, Refusal, RegisterApp, Registration, ResumeApp, RetireSecret, RotateSecret,
    SuspendApp, UpdateApp,
};
use crate::http::context::Context;
use crate::http::operator::{Admin, Reader};
use crate::http::problem::Problem;
use crate::http::service::Service;
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
    /// Whether it can keep a secret: true unless it runs on people's own devices.
    #[serde(default = "yes")]
    #[schema(default = true)]
    confidential: bool,
    /// How long its tokens live: for ever unless this says otherwise.
    #[serde(default)]
    token_policy: TokenPolicyJson,
}

const fn yes() -> bool {
    true
}

/// An app that was just registered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewAppJson {
    #[serde(flatten)]
    app: AppJson,
    /// The client secret. It is shown here and never again; absent for a public client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
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
    /// For tokens issued from now on.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    token_policy: Option<TokenPolicyJson>,
}

/// Reads a field that is there, so that null is a value of the field and not its absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
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
pub(crate) struct NewSecretJson {
    /// Names the secret.
    #[schema(value_type = String, format = "uuid")]
    secret_id: SecretId,
    /// The client secret. It is shown here and never again.
    #[schema(value_type = String)]
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

/// Register an app.
#[utoipa::path(post, path = "/apps", operation_id = "register_app", tag = "apps", security(("operator_key" = [])),
    request_body = NewApp,
    responses(
        (status = 201, description = "Registered. The secret is shown this once.", body = NewAppJson,
            headers(("Location" = String, description = "Where to read the app"))),
    ))]
pub async fn register(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    Body(body): Body<NewApp>,
) -> Result<HttpResponse, Problem> {
    let client_id = secrets::new_client_id();
    let secret = body.confidential.then(|| mint_secret(&service));
    let new_secret = secret.as_ref().map(|(named, _)| named.clone());
    let registration = Registration {
        name: body.name,
        owner: body.owner,
        homepage: body.homepage,
        redirect_uris: body.redirect_uris,
        scopes: body.scopes,
        token_policy: body.token_policy.into(),
    };
    let command = RegisterApp::new(client_id, new_secret, &registration, &service.scopes);
    settle(&service, &operator, &context, &command.map_err(Refusal::from)?).await?;
    let app = shown(&service, client_id)?;
    let answer = NewAppJson { app, client_secret: secret.map(|(_, plain)| plain) };
    Ok(reply::created_at(service.url(&format!("/apps/{client_id}")), &answer))
}

/// List the apps, deleted ones too, in order of registration.
#[utoipa::path(get, path = "/apps", operation_id = "list_apps", tag = "apps", security(("operator_key" = [])),
    params(Paging),
    responses(
        (status = 200, description = "One page of apps", body = Page<AppJson>),
    ))]
pub async fn list(
    _reader: Reader,
    service: web::Data<Service>,
    paging: web::Query<Paging>,
) -> Result<HttpResponse, Problem> {
    let now = service.ledger.recorded_now();
    let rows = |skip, limit| service.ledger.live().apps(skip, limit);
    Ok(reply::ok(&paging.page(rows, |app| Some(AppJson::new(app, now)))))
}

/// Read an app.
#[utoipa::path(get, path = "/apps/{client_id}", operation_id = "read_app", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path)),
    responses(
        (status = 200, description = "The app", body = AppJson),
    ))]
pub async fn read(
    _reader: Reader,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
) -> Result<HttpResponse, Problem> {
    Ok(reply::ok(&shown(&service, *client_id)?))
}

/// Change an app. What the body does not name stays.
#[utoipa::path(patch, path = "/apps/{client_id}", operation_id = "update_app", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path)),
    request_body = Option<AppChanges>,
    responses(
        (status = 200, description = "The app as it is now", body = AppJson),
    ))]
pub async fn update(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
    Body(body): Body<AppChanges>,
) -> Result<HttpResponse, Problem> {
    let changes = Changes {
        name: body.name,
        owner: body.owner,
        homepage: body.homepage.map(Option::unwrap_or_default),
        redirect_uris: body.redirect_uris,
        scopes: body.scopes,
        token_policy: body.token_policy.map(TokenPolicy::from),
    };
    let command = UpdateApp::new(*client_id, &changes, &service.scopes).map_err(Refusal::from)?;
    settle(&service, &operator, &context, &command).await?;
    Ok(reply::ok(&shown(&service, *client_id)?))
}

/// Rotate the client secret: a new one is accepted at once, the old one goes on for the overlap.
#[utoipa::path(post, path = "/apps/{client_id}/secrets", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path)),
    request_body = Option<Rotation>,
    responses(
        (status = 201, description = "Rotated. The secret is shown this once.", body = NewSecretJson),
    ))]
pub async fn rotate_secret(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
    Body(body): Body<Rotation>,
) -> Result<HttpResponse, Problem> {
    let overlap = match body.overlap_seconds {
        Some(seconds) if seconds > MAX_OVERLAP_SECONDS => {
            return Err(Problem::bad_request(format!(
                "overlap_seconds: must be at most {MAX_OVERLAP_SECONDS} (30 days)"
            )));
        }
        Some(seconds) => Duration::from_secs(seconds),
        None => service.rotation_overlap,
    };
    let (secret, client_secret) = mint_secret(&service);
    let secret_id = secret.secret_id;
    let command = RotateSecret { client_id: *client_id, secret, overlap };
    settle(&service, &operator, &context, &command).await?;
    let (app, now) = (known(&service, *client_id)?, service.ledger.recorded_now());
    let secrets = app.live_secrets(now).map(SecretJson::from).collect();
    Ok(reply::created(&NewSecretJson { secret_id, client_secret, secrets }))
}

/// Retire a client secret at once. The last one cannot be retired.
#[utoipa::path(delete, path = "/apps/{client_id}/secrets/{secret_id}", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path), ("secret_id" = String, Path), Note),
    responses(
        (status = 204, description = "The secret is refused from now on"),
        (status = 200, description = "It was retired before: when and by whom", body = DoneBefore),
    ))]
pub async fn retire_secret(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    ids: web::Path<(ClientId, SecretId)>,
    said: web::Query<Note>,
) -> Result<HttpResponse, Problem> {
    let (client_id, secret_id) = ids.into_inner();
    let command = RetireSecret { client_id, secret_id, note: said.into_inner().note };
    if !settle(&service, &operator, &context, &command).await? {
        return Ok(reply::done());
    }
    let is_it = |event: &Event| match event {
        Event::App(AppEvent::SecretRetired(retired)) => retired.secret_id == secret_id,
        Event::App(_) | Event::Installation(_) | Event::OperatorKey(_) => false,
    };
    done_before(&service, StreamKind::App(client_id), is_it).await
}

/// Suspend an app: its codes die, and its tokens do not count until it is resumed.
#[utoipa::path(post, path = "/apps/{client_id}/suspend", operation_id = "suspend_app", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path)),
    request_body = Reason,
    responses(
        (status = 200, description = "The app as it is now", body = AppJson),
    ))]
pub async fn suspend(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
    Body(body): Body<Reason>,
) -> Result<HttpResponse, Problem> {
    let command = SuspendApp { client_id: *client_id, reason: body.reason };
    settle(&service, &operator, &context, &command).await?;
    Ok(reply::ok(&shown(&service, *client_id)?))
}

/// Resume a suspended app: its tokens count again.
#[utoipa::path(post, path = "/apps/{client_id}/resume", operation_id = "resume_app", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path)),
    request_body = Reason,
    responses(
        (status = 200, description = "The app as it is now", body = AppJson),
    ))]
pub async fn resume(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
    Body(body): Body<Reason>,
) -> Result<HttpResponse, Problem> {
    let command = ResumeApp { client_id: *client_id, reason: body.reason };
    settle(&service, &operator, &context, &command).await?;
    Ok(reply::ok(&shown(&service, *client_id)?))
}

/// Delete an app for good, and with it every code and token.
#[utoipa::path(delete, path = "/apps/{client_id}", operation_id = "delete_app", tag = "apps", security(("operator_key" = [])),
    params(("client_id" = String, Path), Why),
    responses(
        (status = 204, description = "The app is gone; its history stays"),
    ))]
pub async fn delete(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    client_id: web::Path<ClientId>,
    why: web::Query<Why>,
) -> Result<HttpResponse, Problem> {
    let command = DeleteApp { client_id: *client_id, reason: why.into_inner().required()? };
    settle(&service, &operator, &context, &command).await?;
    Ok(reply::done())
}

fn mint_secret(service: &Service) -> (NewSecret, ShownOnce) {
    let plain = secrets::mint_client_secret();
    let secret_id = secrets::new_secret_id(service.ledger.recorded_now());
    (NewSecret { secret_id, digest: plain.digest() }, ShownOnce(plain))
}

fn known(service: &Service, client_id: ClientId) -> Result<Arc<RegisteredApp>, Problem> {
    service.ledger.live().app(&client_id).ok_or_else(|| Problem::not_found("app"))
}

fn shown(service: &Service, client_id: ClientId) -> Result<AppJson, Problem> {
    Ok(AppJson::new(&*known(service, client_id)?, service.ledger.recorded_now()))
}
