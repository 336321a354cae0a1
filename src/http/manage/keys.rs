//! `/keys`: create, list and retire operator keys.

use actix_web::web::{Data, Path, Query};
use grantbook_events::{Event, OperatorKeyEvent, OperatorKeyId, Role, StreamKind, Timestamp};
use grantbook_projections::OperatorKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::paging::{Page, Paging};
use super::{DoneBefore, Why, done_before};
use crate::decisions::{CreateOperatorKey, RetireOperatorKey};
use crate::http::{Answer, Body, Operator, Problem, Reply, Service, ShownOnce};
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
    role: Role,
}

/// An operator key, by its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyJson {
    key_id: OperatorKeyId,
    name: String,
    role: Role,
    created_at: Timestamp,
    /// From when on it is refused; absent while it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retired_at: Option<Timestamp>,
}

/// An operator key that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewKeyJson {
    #[serde(flatten)]
    created: KeyJson,
    /// The key. It is shown here and never again.
    key: ShownOnce,
}

impl From<&OperatorKey> for KeyJson {
    fn from(key: &OperatorKey) -> Self {
        Self {
            key_id: key.key_id,
            name: key.name.clone(),
            role: key.role,
            created_at: key.created_at,
            retired_at: key.retired_at,
        }
    }
}

pub async fn create(operator: Operator, Body(NewKey { name, role }): Body<NewKey>) -> Answer<NewKeyJson> {
    let service = &operator.service;
    let plain = secrets::mint_operator_key();
    let key_id = secrets::new_operator_key_id(service.ledger.now());
    operator.settle(&CreateOperatorKey { key_id, name, role, digest: plain.digest() }).await?;
    let created = service.ledger.live().operator_key_by_id(&key_id);
    let created = KeyJson::from(&*created.ok_or_else(|| Problem::not_found("operator key"))?);
    Ok(Reply::created(NewKeyJson { created, key: ShownOnce(plain) }))
}

pub async fn list(service: Data<Service>, paging: Query<Paging>) -> Answer<Page<KeyJson>> {
    let rows = |skip, limit| service.ledger.live().operator_keys(skip, limit);
    Ok(Reply::ok(paging.page(rows, |key| Some(KeyJson::from(&**key)))))
}

pub async fn retire(operator: Operator, key_id: Path<OperatorKeyId>, why: Query<Why>) -> Answer<DoneBefore> {
    let reason = why.into_inner().required()?;
    if !operator.settle(&RetireOperatorKey { key_id: *key_id, reason }).await? {
        return Ok(Reply::no_content());
    }
    let is_it = |event: &Event| matches!(event, Event::OperatorKey(OperatorKeyEvent::Retired(_)));
    done_before(&operator.service, StreamKind::OperatorKey(*key_id), is_it).await
}
