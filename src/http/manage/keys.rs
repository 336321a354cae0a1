//! `/keys`: create, list and retire operator keys.

use actix_web::{HttpResponse, web};
use grantbook_events::{Event, OperatorKeyEvent, OperatorKeyId, Role, StreamKind, Timestamp};
use grantbook_projections::IssuedKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::paging::{Page, Paging};
use super::reply::{self, ShownOnce};
use super::{DoneBefore, Why, done_before, settle};
use crate::decisions::{CreateOperatorKey, RetireOperatorKey};
use crate::http::context::Context;
use crate::http::operator::{Admin, Reader};
use crate::http::problem::Problem;
use crate::http::service::Service;
use crate::secrets;

/// A new operator key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for: no control characters, and one that can be seen.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    name: String,
    #[schema(inline)]
    role: RoleJson,
}

/// What an operator key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RoleJson {
    /// Everything.
    Admin,
    /// Reads everything, changes nothing.
    Auditor,
    /// Introspects tokens, nothing else.
    Resource,
}

/// An operator key, by its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyJson {
    #[schema(value_type = String, format = "uuid")]
    key_id: OperatorKeyId,
    name: String,
    #[schema(inline)]
    role: RoleJson,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// From when on it is refused; absent while it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    retired_at: Option<Timestamp>,
}

/// An operator key that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKeyJson {
    #[serde(flatten)]
    created: KeyJson,
    /// The key. It is shown here and never again.
    #[schema(value_type = String)]
    key: ShownOnce,
}

impl From<RoleJson> for Role {
    fn from(role: RoleJson) -> Self {
        match role {
            RoleJson::Admin => Self::Admin,
            RoleJson::Auditor => Self::Auditor,
            RoleJson::Resource => Self::Resource,
        }
    }
}

impl From<Role> for RoleJson {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Auditor => Self::Auditor,
            Role::Resource => Self::Resource,
        }
    }
}

impl From<&IssuedKey> for KeyJson {
    fn from(key: &IssuedKey) -> Self {
        Self {
            key_id: key.key_id,
            name: key.name.clone(),
            role: key.role.into(),
            created_at: key.created_at,
            retired_at: key.retired_at,
        }
    }
}

/// Create an operator key.
#[utoipa::path(post, path = "/keys", operation_id = "create_key", tag = "keys", security(("operator_key" = [])),
    request_body = NewKey,
    responses(
        (status = 201, description = "Created. The key is shown this once.", body = NewKeyJson),
    ))]
pub async fn create(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    Body(body): Body<NewKey>,
) -> Result<HttpResponse, Problem> {
    let plain = secrets::mint_operator_key();
    let key_id = secrets::new_operator_key_id(service.ledger.now());
    let command =
        CreateOperatorKey { key_id, name: body.name, role: body.role.into(), digest: plain.digest() };
    settle(&service, &operator, &context, &command).await?;
    let created = service.ledger.live().operator_key_by_id(&key_id);
    let created = KeyJson::from(&*created.ok_or_else(|| Problem::not_found("operator key"))?);
    Ok(reply::created(&NewKeyJson { created, key: ShownOnce(plain) }))
}

/// List operator keys, retired ones too, in order of creation.
#[utoipa::path(get, path = "/keys", operation_id = "list_keys", tag = "keys", security(("operator_key" = [])),
    params(Paging),
    responses(
        (status = 200, description = "One page of operator keys", body = Page<KeyJson>),
    ))]
pub async fn list(
    _reader: Reader,
    service: web::Data<Service>,
    paging: web::Query<Paging>,
) -> Result<HttpResponse, Problem> {
    let rows = |skip, limit| service.ledger.live().operator_keys(skip, limit);
    Ok(reply::ok(&paging.page(rows, |key| Some(KeyJson::from(&**key)))))
}

/// Retire an operator key: it is refused from now on.
#[utoipa::path(delete, path = "/keys/{key_id}", operation_id = "retire_key", tag = "keys", security(("operator_key" = [])),
    params(("key_id" = String, Path), Why),
    responses(
        (status = 204, description = "The key is refused from now on"),
        (status = 200, description = "It was retired before: when and by whom", body = DoneBefore),
    ))]
pub async fn retire(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    key_id: web::Path<OperatorKeyId>,
    why: web::Query<Why>,
) -> Result<HttpResponse, Problem> {
    let command = RetireOperatorKey { key_id: *key_id, reason: why.into_inner().required()? };
    if !settle(&service, &operator, &context, &command).await? {
        return Ok(reply::done());
    }
    let is_it = |event: &Event| matches!(event, Event::OperatorKey(OperatorKeyEvent::Retired(_)));
    done_before(&service, StreamKind::OperatorKey(*key_id), is_it).await
}
