//! The JSON of values that are not of this crate, for the description of what is answered. Knows: their fields.
//! Must not know: in which answer they are.

use utoipa::openapi::Object;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

/// Who did it.
pub fn actor() -> Object {
    of(SchemaType::new(Type::Object))
}

/// Who did it, or null if that cannot be told.
pub(super) fn actor_or_none() -> Object {
    of(SchemaType::from_iter([Type::Object, Type::Null]))
}

fn of(kind: SchemaType) -> Object {
    let party = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["user", "app", "operator", "system"]))
        .description(Some("What sort of party."));
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The user id, client id or operator key id; at the command line, the name of the operating system's user; of the system, the part that acted."));
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some("Who did it."))
        .property("kind", party)
        .required("kind")
        .property("id", id)
        .required("id")
        .build()
}
