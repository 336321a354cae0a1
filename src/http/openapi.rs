//! `/openapi.json`: the interface, from the code. A handler is in it by being named in the list below; what
//! holds for many of them is added by `conventions`.

mod conventions;

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::audit;
use super::manage::{apps, installations, keys, tokens};
use super::oauth;
use super::oauth::error::OAuthErrorBody;
use super::probes;
use super::problem::Problem;
use super::projections;
use super::service::Service;

pub(super) use conventions::event_type;

/// Stands for the issuer in the text that is the same for every server.
const SERVER: &str = "https://issuer.invalid";

#[derive(OpenApi)]
#[openapi(
    info(title = "grantbook", description = "A self-hosted OAuth 2.0 authorization server."),
    paths(
        oauth::authorize::ask,
        oauth::token::token,
        oauth::revoke::revoke,
        oauth::introspect::introspect,
        oauth::metadata::metadata,
        apps::register,
        apps::list,
        apps::read,
        apps::update,
        apps::delete,
        apps::rotate_secret,
        apps::retire_secret,
        apps::suspend,
        apps::resume,
        installations::list,
        installations::read,
        installations::events,
        installations::uninstall,
        tokens::revoke,
        audit::events::list,
        audit::past::installations,
        audit::timeline::of_installation,
        audit::past::token,
        audit::timeline::of_token,
        audit::past::diff,
        projections::list,
        projections::rebuild,
        projections::progress,
        projections::cancel,
        projections::snapshot,
        keys::create,
        keys::list,
        keys::retire,
        probes::healthz,
        probes::readyz,
        probes::metrics,
        document,
    ),
    components(schemas(Problem, OAuthErrorBody)),
    modifiers(&Security),
    tags(
        (name = "oauth", description = "What apps and resource servers ask."),
        (name = "apps", description = "Register, read and change apps."),
        (name = "installations", description = "Which apps are on which accounts, and what happened there."),
        (name = "tokens", description = "Revoke one token."),
        (name = "audit", description = "What happened, when, and who did it."),
        (name = "projections", description = "How far each projection is, and building one again."),
        (name = "keys", description = "Operator keys."),
        (name = "probes", description = "Whether the server lives and can answer."),
    ),
)]
struct Api;

/// How callers say who they are.
struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("gbk_…")
            .description(Some("An operator key with a role that allows the operation."))
            .build();
        let mut client = Http::new(HttpAuthScheme::Basic);
        client.description =
            Some("An app's client id and client secret (RFC 6749 section 2.3.1).".to_owned());
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("operator_key", SecurityScheme::Http(key));
        components.add_security_scheme("client", SecurityScheme::Http(client));
    }
}

/// The whole interface.
fn api() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    conventions::complete(&mut document);
    if let Some(document) = document.as_object_mut() {
        document.insert("servers".to_owned(), json!([{ "url": SERVER }]));
    }
    document
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "probes",
    responses((status = 200, description = "This document", body = Object)))]
pub async fn document(service: web::Data<Service>) -> HttpResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| api().to_string());
    let text = TEXT.replace(SERVER, &service.issuer);
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/json")).body(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::manage::given::ROUTES;

    /// What apps and resource servers ask; the pages beside `/oauth/authorize` are for people only.
    const OAUTH: [&str; 5] = [
        "GET /.well-known/oauth-authorization-server",
        "GET /oauth/authorize",
        "POST /oauth/introspect",
        "POST /oauth/revoke",
        "POST /oauth/token",
    ];

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let document = api();
        let mut documented: Vec<String> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut routes: Vec<String> =
            ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        routes.extend(OAUTH.map(str::to_owned));
        documented.sort();
        routes.sort();
        assert_eq!(documented, routes);
    }

    #[test]
    fn every_management_route_asks_for_an_operator_key_and_answers_with_problems() {
        let document = api();
        assert_eq!(document["components"]["securitySchemes"]["operator_key"]["scheme"], "bearer");
        assert_eq!(document["components"]["securitySchemes"]["client"]["scheme"], "basic");
        assert!(document["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            assert_eq!(
                operation["security"][0]["operator_key"].is_array(),
                route.needs.is_some(),
                "{route:?}"
            );
            let statuses = if route.needs.is_some() { &[401, 403, 408, 500, 503][..] } else { &[] };
            for status in statuses {
                let problem = &operation["responses"][status.to_string()]["content"];
                assert!(problem["application/problem+json"].is_object(), "{route:?} {status}");
            }
        }
    }

    #[test]
    fn no_two_operations_have_one_name() {
        let document = api();
        let paths = document["paths"].as_object().unwrap().values();
        let mut names: Vec<_> = paths
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }

    /// Goes through every value of the document.
    fn each<'a>(value: &'a Value, path: &str, see: &mut impl FnMut(&str, &'a Value)) {
        see(path, value);
        let fields = value.as_object().into_iter().flatten();
        fields.for_each(|(name, value)| each(value, &format!("{path}/{name}"), see));
        let items = value.as_array().into_iter().flatten();
        items.for_each(|value| each(value, path, see));
    }

    #[test]
    fn generators_of_clients_can_use_it() {
        let document = api();
        let mut wrong = Vec::new();
        each(&document, "", &mut |path, value| {
            // A choice without a discriminator, and a name with an underscore that code is cut at.
            if value["oneOf"].is_array() || value["anyOf"].is_array() {
                wrong.push(format!("{path} is a choice"));
            }
            if value["operationId"].as_str().is_some_and(|id| id.contains('_')) {
                wrong.push(format!("{path} is called {}", value["operationId"]));
            }
            let form = &value["application/x-www-form-urlencoded"]["schema"];
            if form["type"] == "string" {
                wrong.push(format!("{path} is a form without fields"));
            }
            if value["items"]["properties"].is_object() {
                wrong.push(format!("{path} has items without a name"));
            }
            if value["in"] == "path"
                && !["format", "pattern", "enum"].iter().any(|of| value["schema"][of] != Value::Null)
                && value["schema"]["$ref"].is_null()
            {
                wrong.push(format!("{path} does not say what {} looks like", value["name"]));
            }
        });
        assert_eq!(wrong, [""; 0]);
        assert_eq!(document["servers"][0]["url"], SERVER);
        assert_eq!(document["paths"]["/apps/{client_id}/secrets"]["post"]["requestBody"]["required"], false);
        let secrets = &document["components"]["schemas"]["AppPage"]["properties"]["items"]["items"];
        assert_eq!(secrets["$ref"], "#/components/schemas/AppJson");
    }

    /// Every schema that says nothing of what there may be, in a schema or in what it leads to.
    fn empty<'a>(
        document: &'a Value,
        schema: &'a Value,
        path: String,
        seen: &mut Vec<&'a str>,
    ) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            if seen.contains(&reference) {
                return vec![];
            }
            seen.push(reference);
            let named = document.pointer(reference.trim_start_matches('#')).unwrap();
            return empty(document, named, reference.to_owned(), seen);
        }
        let inner = ["oneOf", "anyOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten();
        let mut inner: Vec<(String, &Value)> = inner.map(|schema| (path.clone(), schema)).collect();
        if schema["type"].is_null() && inner.is_empty() {
            return vec![path];
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        inner.extend(properties.map(|(name, schema)| (format!("{path}.{name}"), schema)));
        inner.extend(schema.get("items").map(|schema| (format!("{path}[]"), schema)));
        inner.into_iter().flat_map(|(path, schema)| empty(document, schema, path, seen)).collect()
    }

    #[test]
    fn every_answer_says_what_it_looks_like() {
        let document = api();
        let mut looked_at = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert_ne!(response["description"], Value::Null, "{method} {path} {status}");
                    for (media_type, content) in response["content"].as_object().into_iter().flatten() {
                        let name = format!("{method} {path} {status} {media_type}");
                        let empty = empty(&document, &content["schema"], name, &mut Vec::new());
                        assert_eq!(empty, [""; 0]);
                        looked_at += 1;
                    }
                }
            }
        }
        assert!(looked_at > 40, "{looked_at}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = api();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
