//! The one list of endpoints. Knows: the method, the path, who may use it, and what its operation is called. Must not
//! know: what any of them does; its handler's types say what it takes and what it answers.

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};

use super::endpoint::{self, Endpoint};
use super::manage::{apps, installations, keys, tokens};
use super::openapi::{self, SERVER};
use super::operator::Access;
use super::service::Service;
use super::{account, audit, oauth, probes, projections, sign_in};
use crate::pages::{ICON, STYLESHEET};

/// Makes the function that lists every endpoint. The lines above an endpoint are its summary and its description. After
/// `=>` comes what each status means. Media types after `as` are those of bodies that no Rust type describes: JSON is
/// then an object, and anything else is text. An endpoint without statuses is for people only, and is not described.
macro_rules! endpoints {
    ($($tag:ident { $(
        $(#[doc = $docs:literal])*
        $access:ident $method:ident $path:literal $handler:path $(as $id:ident)? $(=> $($status:literal $answer:literal $(as $($media_type:literal)|+)?),+)?;
    )+ })+) => {
        fn endpoints() -> Vec<Endpoint> {
            vec![$($(Endpoint {
                tag: stringify!($tag),
                id: concat!($(stringify!($id))?),
                docs: &[$($docs),*],
                answers: &[$($(($status, $answer, &[$($($media_type),+)?])),+)?],
                ..Endpoint::new(Method::$method, $path, Access::$access, $handler)
            },)+)+]
        }
    };
}

// Those of one path follow each other.
endpoints! {
    pages {
        Anyone GET "/" account::home;
        Anyone GET "/assets/grantbook.css" stylesheet;
        Anyone GET "/assets/grantbook.svg" icon;
        // Browsers ask for this while they show something that is not a page of ours.
        Anyone GET "/favicon.ico" icon;
        Anyone GET "/sign-in" sign_in::begin;
        Anyone POST "/sign-in/dev" sign_in::dev;
        Anyone GET "/sign-in/handoff" sign_in::handoff;
        Anyone GET "/sign-out" sign_in::ask_to_sign_out;
        Anyone POST "/sign-out" sign_in::sign_out;
        Anyone GET "/account/apps" account::apps;
        Anyone POST "/account/apps/{installation_id}/uninstall" account::uninstall;
        Anyone POST "/account/tokens/{token_id}/revoke" account::revoke;
    }
    oauth {
        /// Ask a user to install an app (RFC 6749 section 4.1.1).
        /// Send the user's browser here. The user signs in, approves or denies, and comes back to the redirect URI with code and state, or error and state, and iss (RFC 9207).
        Anyone GET "/oauth/authorize" oauth::authorize::ask as authorize
            => 200 "The consent page", 303 "To sign-in, or back to the app", 400 "An error page: there is nowhere safe to send an answer to";
        Anyone POST "/oauth/authorize" oauth::authorize::decide;
        /// Push an authorization request (RFC 9126), and send the browser with what stands for it.
        /// The client authenticates as at the token endpoint. The request is checked at once, and good for one approval.
        Client POST "/oauth/par" oauth::par::push as pushAuthorizationRequest => 201 "What stands for the request, for a minute";
        /// Exchange a code for an access token (RFC 6749 section 4.1.3).
        /// The client authenticates by Basic or by client_id and client_secret in the form.
        Client POST "/oauth/token" oauth::token::token as token => 200 "The token, shown this once";
        /// Revoke an access token (RFC 7009).
        /// 200 also for a token that is unknown or another client's; then nothing happens.
        Client POST "/oauth/revoke" oauth::revoke::revoke as revoke => 200 "It is not valid any more, if it was the client's";
        /// Tell whether a token is valid (RFC 7662).
        /// With an operator key of any role but `registrar` (as a bearer, or as a client secret with the key's id as client id), or with client credentials for the client's own tokens.
        ResourceServer POST "/oauth/introspect" oauth::introspect::introspect as introspect => 200 "What is known of the token";
        /// Report a token that was found where it should not be: it ends.
        /// Anyone may. The answer is the same for what is no token, or none any more.
        Reporter POST "/oauth/leaked" oauth::leaked::leaked as reportLeak => 200 "It is not valid any more, if it was";
        /// Read whose an access token is.
        /// With the token itself as a bearer (RFC 6750). It is not the UserInfo of OpenID Connect: of a person it has the id and nothing else.
        Bearer GET "/oauth/userinfo" oauth::userinfo::userinfo as userinfo => 200 "Whose it is";
        /// Read whose an access token is, as GET does.
        Bearer POST "/oauth/userinfo" oauth::userinfo::userinfo as postUserinfo => 200 "Whose it is";
        /// Register an app by its own software (RFC 7591), if this server lets it.
        /// Open to anyone or with an initial access token, an operator key of the role `registrar`, as the server's configuration says. What the app may not have is left out of what is registered.
        Registration POST "/oauth/register" oauth::register::register as registerItself => 201 "Registered, as the answer says. The secrets are shown this once.";
        /// Read an app's registration (RFC 7592), with its registration access token.
        Registration GET "/oauth/register/{client_id}" oauth::register::read as readRegistration => 200 "What is registered";
        /// Change an app's registration: what is sent takes the place of all that was.
        Registration PUT "/oauth/register/{client_id}" oauth::register::update as updateRegistration => 200 "What is registered now";
        /// Delete an app by its own software, and with it every code and token.
        Registration DELETE "/oauth/register/{client_id}" oauth::register::delete as deleteRegistration => 204 "The app is gone";
        /// The server's metadata (RFC 8414).
        Anyone GET "/.well-known/oauth-authorization-server" oauth::metadata::metadata as metadata => 200 "The metadata" as "application/json";
    }
    apps {
        /// List the apps, deleted ones too, in order of registration.
        Auditor GET "/apps" apps::list as listApps => 200 "One page of apps";
        /// Register an app.
        Admin POST "/apps" apps::register as registerApp => 201 "Registered. The secret is shown this once.";
        /// Read an app.
        Auditor GET "/apps/{client_id}" apps::read as readApp => 200 "The app";
        /// Change an app. What the body does not name stays.
        Admin PATCH "/apps/{client_id}" apps::update as updateApp => 200 "The app as it is now";
        /// Delete an app for good, and with it every code and token.
        Admin DELETE "/apps/{client_id}" apps::delete as deleteApp => 204 "The app is gone; its history stays";
        /// Rotate the client secret: a new one is accepted at once, the old one goes on for the overlap.
        Admin POST "/apps/{client_id}/secrets" apps::rotate_secret as rotateSecret => 201 "Rotated. The secret is shown this once.";
        /// Retire a client secret at once. The last one cannot be retired.
        Admin DELETE "/apps/{client_id}/secrets/{secret_id}" apps::retire_secret as retireSecret
            => 204 "The secret is refused from now on", 200 "It was retired before: when and by whom";
        /// Suspend an app: its codes die, and its tokens do not count until it is resumed.
        Admin POST "/apps/{client_id}/suspend" apps::suspend as suspendApp => 200 "The app as it is now";
        /// Resume a suspended app: its tokens count again.
        Admin POST "/apps/{client_id}/resume" apps::resume as resumeApp => 200 "The app as it is now";
    }
    installations {
        /// List installations of an app or on an account, ended ones too, in order of first approval.
        Auditor GET "/installations" installations::list as listInstallations => 200 "One page of installations";
        /// Read one installation and its valid tokens.
        Auditor GET "/installations/{installation_id}" installations::read as readInstallation => 200 "The installation";
        /// Uninstall: one app from one account. Its codes and tokens there end.
        /// Once more is not wrong: the answer says when and by whom it was ended.
        Admin DELETE "/installations/{installation_id}" installations::uninstall as uninstallApp => 200 "Uninstalled";
        /// Read what happened to one installation, oldest first.
        Auditor GET "/installations/{installation_id}/events" installations::events as readInstallationEvents
            => 200 "One page of events with their envelopes";
    }
    tokens {
        /// Revoke a token that was found where it should not be, by the token itself.
        Admin POST "/tokens/leaked" tokens::leaked as revokeLeakedToken => 200 "It is not valid any more: what it was, and when and by whom it was ended";
        /// Revoke one token. Once more is not wrong: the answer says when and by whom it was ended.
        Admin DELETE "/tokens/{token_id}" tokens::revoke as revokeToken
            => 204 "The token is refused from now on", 200 "The token had ended before: when, by whom and why";
    }
    audit {
        /// Read events, filtered, in pages (JSON) or all of them (NDJSON, CSV).
        Audit GET "/audit/events" audit::events::list as listAuditEvents => 200 "One page, or everything, one event a line" as "application/x-ndjson" | "text/csv";
        /// Read which apps were installed on an account, with which scopes and tokens, since when.
        Audit GET "/audit/installations" audit::past::installations as listInstallationsAsOf
            => 200 "Every app that anybody had approved by then, and the position and time that this is as of";
        /// Read in plain sentences what happened to one installation, from the registration of its app on.
        Audit GET "/audit/installations/{installation_id}/timeline" audit::past::timeline_of_installation as explainInstallation => 200 "The timeline";
        /// Read whether a token was valid, and why or why not.
        Audit GET "/audit/token/{token_id}" audit::past::token as readTokenAsOf
            => 200 "Whether it was valid, why or why not, and the event that says so";
        /// Read in plain sentences what happened to one token: its approval, its issue, its end, and its app.
        Audit GET "/audit/token/{token_id}/timeline" audit::past::timeline_of_token as explainToken => 200 "The timeline";
        /// Read whether a token was valid, by the token itself. It is looked up by its digest, and logged nowhere.
        Audit POST "/audit/token" audit::past::token_by_value as readTokenByValue
            => 200 "Whether it was valid, why or why not, and the event that says so";
        /// Read in plain sentences what happened to one token, by the token itself.
        Audit POST "/audit/token/timeline" audit::past::timeline_of_value as explainTokenByValue => 200 "The timeline";
        /// Read what changed on an account from one time to another.
        Audit GET "/audit/diff" audit::past::diff as readChanges => 200 "What is different, and the positions and times compared";
    }
    projections {
        /// Read how far each projection is, and a digest of its state there. Reads all of the state.
        Auditor GET "/projections" projections::list as listProjections => 200 "Every projection";
        /// Write a snapshot of the live projection now.
        Admin POST "/projections/live/snapshots" projections::snapshot as takeSnapshot => 201 "It is written";
        /// Rebuild a projection beside the one that is served, and let it take its place. Progress is in the list.
        Admin POST "/projections/{name}/rebuild" projections::rebuild as rebuildProjection => 202 "It has begun";
        /// Read how far the last rebuild of a projection is, or how it ended.
        Auditor GET "/projections/{name}/rebuild" projections::progress as readRebuild => 200 "The last rebuild since the start";
        /// Cancel a rebuild. Until the new copy is served, nothing was changed.
        Admin DELETE "/projections/{name}/rebuild" projections::cancel as cancelRebuild => 204 "It will end";
    }
    keys {
        /// List operator keys, retired ones too, in order of creation.
        Auditor GET "/keys" keys::list as listKeys => 200 "One page of operator keys";
        /// Create an operator key.
        Admin POST "/keys" keys::create as createKey => 201 "Created. The key is shown this once.";
        /// Retire an operator key: it is refused from now on.
        Admin DELETE "/keys/{key_id}" keys::retire as retireKey
            => 204 "The key is refused from now on", 200 "It was retired before: when and by whom";
    }
    probes {
        /// Whether the process lives.
        Anyone GET "/healthz" probes::healthz as healthz => 200 "It lives" as "text/plain";
        /// Whether the server can answer: only once the ledger as of the start is folded, and folding goes on.
        Anyone GET "/readyz" probes::readyz as readyz => 200 "It can", 503 "It cannot, and why";
        /// What the server counts, for Prometheus.
        /// As OpenMetrics if Accept asks for that, else in the text format of Prometheus.
        Anyone GET "/metrics" probes::metrics as metrics => 200 "Metrics" as "text/plain" | "application/openmetrics-text";
        /// This document.
        Anyone GET "/openapi.json" document as openapi => 200 "This document" as "application/json";
    }
}

/// Serves every endpoint.
pub fn serve(config: &mut ServiceConfig) {
    endpoint::serve(endpoints(), config);
}

/// Whether a person may read the answer at this path. All others are for programs.
pub(super) fn has_a_page(path: &str) -> bool {
    path == "/"
        || ["/oauth/authorize", "/sign-in", "/sign-out", "/account"].iter().any(|page| path.starts_with(page))
}

/// Whether errors at this path are those of RFC 6749, once a request can be answered at all.
pub(super) fn answers_as_oauth(path: &str) -> bool {
    const PATHS: [&str; 6] = [
        "/oauth/par",
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/introspect",
        "/oauth/leaked",
        "/oauth/userinfo",
    ];
    PATHS.contains(&path) || path.starts_with("/oauth/register")
}

/// Whether an answer at this path may take as long as it takes: it is over much of history, or of all that is known.
pub(super) fn may_take_long(path: &str) -> bool {
    path.starts_with("/audit/")
        || path.starts_with("/projections")
        || (path.starts_with("/installations/") && path.ends_with("/events"))
}

/// The path of the table that a request is for, if it was given up before it could say so itself.
pub(super) fn path_of(request: &str) -> Option<&'static str> {
    static PATHS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| endpoints().iter().map(|endpoint| endpoint.path).collect());
    let is_it = |path: &&&'static str| {
        let parts = path.split('/').zip(request.split('/'));
        path.split('/').count() == request.split('/').count()
            && parts.into_iter().all(|(part, given)| part == given || part.starts_with('{'))
    };
    PATHS.iter().find(is_it).copied()
}

async fn stylesheet() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLESHEET)
}

async fn icon() -> HttpResponse {
    asset("image/svg+xml", ICON)
}

fn asset(content_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .body(content)
}

/// `/openapi.json`
async fn document(service: web::Data<Service>) -> HttpResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi::document(&endpoints()).to_string());
    HttpResponse::Ok().content_type("application/json").body(TEXT.replace(SERVER, service.issuer()))
}
#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::cors;
    use crate::http::testing::ROUTES;

    fn api() -> Value {
        openapi::document(&endpoints())
    }

    /// What apps and resource servers ask; the pages beside `/oauth/authorize` are for people only.
    const OAUTH: [&str; 13] = [
        "DELETE /oauth/register/{client_id}",
        "GET /.well-known/oauth-authorization-server",
        "GET /oauth/authorize",
        "GET /oauth/register/{client_id}",
        "GET /oauth/userinfo",
        "POST /oauth/introspect",
        "POST /oauth/leaked",
        "POST /oauth/par",
        "POST /oauth/register",
        "POST /oauth/revoke",
        "POST /oauth/token",
        "POST /oauth/userinfo",
        "PUT /oauth/register/{client_id}",
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
    fn b1_what_is_open_to_pages_of_other_origins_is_there_with_its_methods() {
        for (path, methods) in cors::OPEN {
            let of_path = endpoints().into_iter().filter(|endpoint| endpoint.path == *path);
            let mut takes: Vec<&str> =
                of_path.map(|endpoint| endpoint::method_name(&endpoint.method)).collect();
            takes.extend(takes.contains(&"GET").then_some("HEAD"));
            takes.push("OPTIONS");
            let mut open: Vec<&str> = methods.split(", ").collect();
            takes.sort_unstable();
            open.sort_unstable();
            assert_eq!(open, takes, "{path}");
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
