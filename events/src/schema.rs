//! JSON schemas of identifiers, times and places, for the description of the HTTP interface. Knows: their forms.
//! Must not know: which answers they are in.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AccountId, ClientId, EventId, GrantId, InstallationId, OperatorKeyId, Position, RequestId, Revision,
    SecretId, StreamName, Timestamp, TokenId, UserId,
};

macro_rules! schemas {
    ($($name:ident => $form:expr,)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $form.build().into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

schemas! {
    // `format: uuid` would have it written with hyphens.
    ClientId => text().pattern(Some("^[0-9a-f]{32}$")),
    InstallationId => uuid(),
    TokenId => uuid(),
    GrantId => uuid(),
    SecretId => uuid(),
    OperatorKeyId => uuid(),
    EventId => uuid(),
    AccountId => opaque(),
    UserId => opaque(),
    RequestId => text(),
    StreamName => text(),
    Timestamp => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
    Position => number(),
    Revision => number(),
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn uuid() -> ObjectBuilder {
    text().format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

fn opaque() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(128)).pattern(Some("^[!-~]+$"))
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0_u64))
}
