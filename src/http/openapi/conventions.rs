//! What the description of the interface says of many operations and fields alike, once for all of them: how
//! operations are named, which errors they answer, and what an id looks like. Knows: the names of fields and
//! parameters. Must not know: any one operation.

use grantbook_events::codec::STORED_TYPES;
use serde_json::{Map, Value, json};

/// What generic lists are called before they get a name that generated code can use.
const PAGE: &str = "Page_";
const SCHEMAS: &str = "#/components/schemas/";

/// An error that an operation may answer.
type Error = (u16, &'static str);

/// Any request of these may be answered so.
const ALWAYS: [Error; 4] = [
    (408, "The request was not complete in time."),
    (431, "URI and headers are too long."),
    (500, "Something in grantbook is broken. The log has the request id of this answer."),
    (503, "Nothing was changed, or it is not known whether it was: `code` says which. Try again."),
];
const WITH_KEY: [Error; 2] = [
    (401, "There is no operator key, or it is not accepted."),
    (403, "The role of the operator key does not allow this."),
];
const WITH_INPUT: Error = (400, "The request is wrong; `detail` says what would be right.");
const WITH_NAME: Error = (404, "There is no such thing.");
const WITH_CHANGE: Error = (409, "It cannot be done as things are now; `detail` says why.");
const WITH_BODY: [Error; 2] =
    [(413, "The body is too large."), (415, "The body is not of the media type that is asked for.")];
const CLIENT_REFUSED: Error = (401, "Client authentication failed, or the operator key is not accepted.");

/// Completes the description.
pub(super) fn complete(document: &mut Value) {
    name_pages(document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for item in paths.into_iter().flat_map(Map::values_mut) {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            name(operation);
            may_be_absent(operation);
            answers_errors(method, operation);
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                parameter.get_mut("schema").into_iter().for_each(|schema| looks_like(&name, schema));
            }
        }
    }
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas.into_iter().flat_map(Map::values_mut).for_each(fields);
}

/// Operations are named in camel case: generators cut names at other places.
fn name(operation: &mut Value) {
    let Some(snake) = operation["operationId"].as_str() else { return };
    let mut camel = String::with_capacity(snake.len());
    for (at, word) in snake.split('_').enumerate() {
        let (first, rest) = word.split_at(usize::from(at > 0 && !word.is_empty()));
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    operation["operationId"] = camel.into();
}

/// A body that may be absent is not one that may be `null`.
fn may_be_absent(operation: &mut Value) {
    let schema = operation.pointer_mut("/requestBody/content/application~1json/schema");
    let Some(schema) = schema else { return };
    let named =
        schema["oneOf"].as_array().and_then(|choice| choice.iter().find(|one| one["$ref"].is_string()));
    let Some(named) = named.cloned() else { return };
    *schema = named;
    operation["requestBody"]["required"] = false.into();
}

/// A page names the schema of its items, and is named after it.
fn name_pages(document: &mut Value) {
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    let Some(schemas) = schemas else { return };
    let pages: Vec<String> = schemas.keys().filter(|name| name.starts_with(PAGE)).cloned().collect();
    for old in &pages {
        let Some(mut page) = schemas.remove(old) else { continue };
        let item = &old[PAGE.len()..];
        let items = page.pointer_mut("/properties/items/items");
        items.into_iter().for_each(|items| *items = json!({ "$ref": format!("{SCHEMAS}{item}") }));
        schemas.insert(page_of(item), page);
    }
    refer(document);
}

fn page_of(item: &str) -> String {
    format!("{}Page", item.trim_end_matches("Json"))
}

fn refer(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(item) = reference.strip_prefix(SCHEMAS).and_then(|name| name.strip_prefix(PAGE))
            {
                *reference = format!("{SCHEMAS}{}", page_of(item));
            }
            fields.values_mut().for_each(refer);
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Lists the errors of an operation by their status.
fn answers_errors(method: &str, operation: &mut Value) {
    let has_key = operation["security"][0]["operator_key"].is_array();
    let is_form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"].is_object();
    if !has_key && !is_form {
        return;
    }
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let has_body = operation["requestBody"].is_object();
    let names_something = parameters.iter().any(|parameter| {
        parameter["in"] == "path" || matches!(parameter["name"].as_str(), Some("account" | "app"))
    });
    let mut errors: Vec<Error> = ALWAYS.to_vec();
    if !parameters.is_empty() || has_body {
        errors.push(WITH_INPUT);
    }
    if has_body {
        errors.extend(WITH_BODY);
    }
    if is_form {
        errors.push(CLIENT_REFUSED);
    } else {
        errors.extend(WITH_KEY);
        errors.extend(names_something.then_some(WITH_NAME));
        errors.extend((method != "get").then_some(WITH_CHANGE));
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in errors {
        // What goes wrong before a form is looked at is a problem as everywhere.
        let body = if is_form && !matches!(status, 408 | 431) { Body::OAuth } else { Body::Problem };
        responses.entry(status.to_string()).or_insert_with(|| answer(status, description, body));
    }
}

#[derive(Clone, Copy)]
enum Body {
    Problem,
    OAuth,
}

fn answer(status: u16, description: &str, body: Body) -> Value {
    let (media_type, schema) = match body {
        Body::Problem => ("application/problem+json", "Problem"),
        Body::OAuth => ("application/json", "OAuthErrorBody"),
    };
    let content = json!({ media_type: { "schema": { "$ref": format!("{SCHEMAS}{schema}") } } });
    let mut answer = json!({ "description": description, "content": content });
    let header = match status {
        401 => json!({ "WWW-Authenticate": text_header("How to authenticate (RFC 9110 section 11.6.1).") }),
        503 => json!({ "Retry-After": text_header("Seconds to wait (RFC 9110 section 10.2.3).") }),
        _ => return answer,
    };
    answer["headers"] = header;
    answer
}

fn text_header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

/// Goes through the fields of a schema, and of what is in it.
fn fields(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in properties.into_iter().flatten() {
        looks_like(name, field);
        fields(field);
    }
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(fields);
}

/// Says what a text of this name looks like: a single one, or the items of a list.
fn looks_like(name: &str, schema: &mut Value) {
    let of = if schema["items"].is_object() { &mut schema["items"] } else { schema };
    let is_text = of["type"] == "string"
        || of["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "string"));
    if !is_text || of["pattern"].is_string() {
        return;
    }
    let Some(known) = form_of(name) else { return };
    if let Some(described) = of.as_object_mut() {
        described.extend(known);
    }
}

fn form_of(name: &str) -> Option<Map<String, Value>> {
    let form = match name {
        // `format: uuid` would have it written with hyphens.
        "client_id" | "app" => json!({ "pattern": "^[0-9a-f]{32}$" }),
        "installation_id" | "token_id" | "secret_id" | "key_id" | "event_id" | "jti" | "installation"
        | "token_ids" | "tokens_added" | "tokens_ended" => json!({ "format": "uuid" }),
        "account_id" | "user_id" | "account" | "user" | "token_users" | "sub" => {
            json!({ "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" })
        }
        _ => return None,
    };
    form.as_object().cloned()
}

/// The types that events have.
pub(in crate::http) fn event_type() -> utoipa::openapi::Object {
    let names: Vec<&str> = STORED_TYPES.iter().map(|(name, _)| *name).collect();
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(names))
        .build()
}
