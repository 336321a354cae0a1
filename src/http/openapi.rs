//! `/openapi.json`: the interface, from the table of endpoints. Knows: what holds for many operations alike, such as
//! the errors they answer. Must not know: any one operation, whose types and line in the table say the rest.

pub mod describe;

use std::collections::BTreeMap;

use actix_web::http::Method;
use grantbook_events::{ClientId, InstallationId, OperatorKeyId, SecretId, TokenId};
use serde_json::{Map, Value, json};

use self::describe::{Operation, SCHEMAS};
use super::endpoint::Endpoint;
use super::oauth::bearer::BearerErrorBody;
use super::oauth::error::OAuthErrorBody;
use super::operator::Access;
use super::problem::Problem;
use crate::replay::Projection;

/// Stands for the issuer in the text that is the same for every server.
pub(super) const SERVER: &str = "https://issuer.invalid";

/// What stands in the document as it is.
const BASE: &str = include_str!("openapi/base.json");

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
const TOO_OFTEN: Error = (429, "Too often. Try again later.");
const REGISTRATION_REFUSED: [Error; 3] = [
    (401, "The token is missing, or it is not accepted."),
    (403, "Apps do not register themselves here, or an operator has suspended this one."),
    TOO_OFTEN,
];
const BEARER_REFUSED: Error = (401, "The access token is not valid, or there is none.");
const CLIENT_REFUSED: Error = (401, "Client authentication failed, or the operator key is not accepted.");

/// The whole interface.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut errors = Operation::default();
    errors.schema::<Problem>();
    errors.schema::<OAuthErrorBody<'static>>();
    errors.schema::<BearerErrorBody<'static>>();
    let (mut schemas, mut paths) = (errors.schemas, BTreeMap::<_, Map<_, _>>::new());
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.answers.is_empty()) {
        let (described, found) = operation(endpoint);
        schemas.extend(found);
        paths.entry(endpoint.path).or_default().insert(endpoint.method.as_str().to_lowercase(), described);
    }
    let (named, unnamed): (BTreeMap<_, _>, BTreeMap<_, _>) = schemas.into_iter().partition(has_a_name);
    let mut document: Value = serde_json::from_str(BASE).unwrap_or_default();
    let license = env!("CARGO_PKG_LICENSE");
    document["info"]["license"] = json!({ "name": license, "identifier": license });
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document["paths"] = json!(paths);
    document["components"]["schemas"] = json!(named);
    inline(&mut document, &unnamed);
    document
}

/// An operation, and the schemas that it refers to.
fn operation(endpoint: &Endpoint) -> (Value, BTreeMap<String, Value>) {
    let mut types = (endpoint.operation)();
    let in_braces = endpoint.path.split(['{', '}']).skip(1).step_by(2);
    let in_path: Vec<_> = in_braces.map(|name| path_parameter(name, &mut types)).collect();
    types.parameters.splice(..0, in_path);
    // Nothing in a URI can be null.
    types.parameters.iter_mut().for_each(|parameter| never_null(&mut parameter["schema"]));
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for (status, description, media_types) in endpoint.answers {
        for media_type in *media_types {
            let kind = if *media_type == "application/json" { "object" } else { "string" };
            types.answers_with(media_type, json!({ "type": kind }));
        }
        let mut answer = json!({ "description": description });
        if *status != 204 && !types.contents.is_empty() {
            answer["content"] = json!(types.contents);
        }
        if *status == 201 && endpoint.id == "registerApp" {
            answer["headers"] = text_header("Location", "Where to read the app");
        }
        responses.insert(status.to_string(), answer);
    }
    for (status, answer) in errors(endpoint, &types) {
        responses.entry(status).or_insert(answer);
    }
    let (summary, description) = endpoint.docs.split_first().unwrap_or((&"", &[]));
    let mut described = json!({
        "tags": [endpoint.tag],
        "summary": summary.trim(),
        "operationId": endpoint.id,
        "responses": responses,
    });
    if !description.is_empty() {
        described["description"] = description.concat().trim().into();
    }
    if !types.parameters.is_empty() {
        described["parameters"] = types.parameters.into();
    }
    if let Some(body) = types.request_body {
        described["requestBody"] = body;
    }
    match endpoint.access {
        Access::Admin | Access::Auditor | Access::Audit => {
            described["security"] = json!([{ "operator_key": [] }]);
        }
        Access::ResourceServer => described["security"] = json!([{ "operator_key": [] }, { "client": [] }]),
        Access::Bearer => described["security"] = json!([{ "access_token": [] }]),
        Access::Registration => described["security"] = json!([{ "registration": [] }, {}]),
        Access::Client | Access::Reporter | Access::Anyone => {}
    }
    (described, types.schemas)
}

/// What a path has in braces.
fn path_parameter(name: &str, types: &mut Operation) -> Value {
    let schema = match name {
        "client_id" => types.schema::<ClientId>(),
        "secret_id" => types.schema::<SecretId>(),
        "installation_id" => types.schema::<InstallationId>(),
        "token_id" => types.schema::<TokenId>(),
        "key_id" => types.schema::<OperatorKeyId>(),
        "name" => {
            let names = Projection::ALL.map(Projection::name);
            json!({ "type": "string", "enum": names, "description": "The name of a projection." })
        }
        // A test says that it is missing here.
        _ => Value::Null,
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

/// The errors of an operation by their status.
fn errors(endpoint: &Endpoint, types: &Operation) -> BTreeMap<String, Value> {
    let is_oauth = match endpoint.access {
        Access::Anyone => return BTreeMap::new(),
        Access::Client
        | Access::Reporter
        | Access::Registration
        | Access::Bearer
        | Access::ResourceServer => true,
        Access::Admin | Access::Auditor | Access::Audit => false,
    };
    let names_something = types.parameters.iter().any(|parameter| {
        parameter["in"] == "path" || matches!(parameter["name"].as_str(), Some("account" | "app"))
    });
    // A token by itself.
    let names_something = names_something || endpoint.path.contains("/token");
    let mut errors: Vec<Error> = ALWAYS.to_vec();
    if !types.parameters.is_empty() || types.request_body.is_some() {
        errors.push(WITH_INPUT);
    }
    if types.request_body.is_some() {
        errors.extend(WITH_BODY);
    }
    match endpoint.access {
        Access::Anyone => {}
        Access::Bearer => errors.extend([BEARER_REFUSED, WITH_INPUT]),
        Access::Reporter => errors.push(TOO_OFTEN),
        Access::Registration => errors.extend(REGISTRATION_REFUSED),
        Access::Client | Access::ResourceServer => errors.push(CLIENT_REFUSED),
        Access::Admin | Access::Auditor | Access::Audit => {
            errors.extend(WITH_KEY);
            errors.extend(names_something.then_some(WITH_NAME));
            let changes = endpoint.method != Method::GET && endpoint.access != Access::Audit;
            errors.extend(changes.then_some(WITH_CHANGE));
        }
    }
    let body = |status| match status {
        // What goes wrong before a form is looked at is a problem as everywhere.
        _ if !is_oauth || matches!(status, 408 | 431) => ("application/problem+json", "Problem"),
        401 if endpoint.access == Access::Bearer => ("application/json", "BearerErrorBody"),
        _ => ("application/json", "OAuthErrorBody"),
    };
    let described = errors
        .into_iter()
        .map(|(status, description)| (status.to_string(), error(status, description, body(status))));
    described.collect()
}

fn error(status: u16, description: &str, (media_type, schema): (&str, &str)) -> Value {
    let content = json!({ media_type: { "schema": { "$ref": format!("{SCHEMAS}{schema}") } } });
    let mut answer = json!({ "description": description, "content": content });
    let header = match status {
        401 => text_header("WWW-Authenticate", "How to authenticate (RFC 9110 section 11.6.1)."),
        429 | 503 => text_header("Retry-After", "Seconds to wait (RFC 9110 section 10.2.3)."),
        _ => return answer,
    };
    answer["headers"] = header;
    answer
}

/// A header of an answer.
fn text_header(name: &str, description: &str) -> Value {
    json!({ name: { "description": description, "schema": { "type": "string" } } })
}

/// Objects have names, by which generators of clients make classes. What is a text or a number is described where
/// it is used, and so is who did something, which may be null.
fn has_a_name((name, schema): &(String, Value)) -> bool {
    name != "Actor" && (schema["properties"].is_object() || schema["allOf"].is_array())
}

/// Puts schemas that have no name in the place of references to them.
fn inline(value: &mut Value, unnamed: &BTreeMap<String, Value>) {
    if let Some(schema) =
        value["$ref"].as_str().and_then(|reference| unnamed.get(reference.strip_prefix(SCHEMAS)?))
    {
        merge(value, schema.clone());
    }
    // What may be null is a choice of two, which generators cannot read.
    if let Some(mut other) = other_than_null(value) {
        inline(&mut other, unnamed);
        if other["type"].is_string() {
            other["type"] = json!([other["type"], "null"]);
            merge(value, other);
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| inline(value, unnamed)),
        Value::Array(items) => items.iter_mut().for_each(|value| inline(value, unnamed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is said at the place itself comes first.
fn merge(place: &mut Value, schema: Value) {
    let (Some(place), Value::Object(schema)) = (place.as_object_mut(), schema) else { return };
    place.remove("$ref");
    place.remove("oneOf");
    for (name, value) in schema {
        place.entry(name).or_insert(value);
    }
}

fn never_null(schema: &mut Value) {
    if let Some(other) = other_than_null(schema) {
        merge(schema, other);
    }
    if let Some(kind) = schema["type"].as_array().and_then(|kinds| kinds.iter().find(|kind| **kind != "null"))
    {
        schema["type"] = kind.clone();
    }
}

/// What a value is that may be null.
fn other_than_null(schema: &Value) -> Option<Value> {
    let choice =
        schema["oneOf"].as_array().filter(|choice| choice.iter().any(|one| one["type"] == "null"))?;
    choice.iter().find(|one| one["type"] != "null").cloned()
}
