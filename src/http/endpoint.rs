//! One endpoint: a method of a path, who may use it, its handler, and what its operation is called. Knows: methods,
//! and what is answered where there is no endpoint. Must not know: which endpoints there are.

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Responder, ResponseError as _, Route, guard, web,
};

use super::browser::PageError;
use super::context::Context;
use super::cors;
use super::oauth::error::OAuthError;
use super::openapi::describe::{Inputs, Operation, Output};
use super::operator::{self, Access};
use super::problem::Problem;

/// The path that a request matched, as the table spells it; in the request's app data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched(pub &'static str);

/// One endpoint of the table.
pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// The group it is in.
    pub tag: &'static str,
    /// The name of its operation, as generated clients spell it.
    pub id: &'static str,
    /// A summary, and further lines that describe it.
    pub docs: &'static [&'static str],
    /// What it answers, by status, and the media types if it is text; nothing if it is for people only.
    pub answers: &'static [(u16, &'static str, &'static [&'static str])],
    pub operation: fn() -> Operation,
    pub(super) route: Route,
}

impl Endpoint {
    pub fn new<F, Args>(method: Method, path: &'static str, access: Access, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Inputs + 'static,
        F::Output: Responder + Output + 'static,
    {
        let route = match method {
            // HEAD is GET without a body.
            Method::GET => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            _ => web::method(method.clone()),
        };
        let route = route.to(handler);
        let route = match access {
            Access::Anyone
            | Access::Client
            | Access::Reporter
            | Access::Registration
            | Access::Bearer
            | Access::ResourceServer => route,
            // Before anything of the request is read, so that a caller without the right key does not learn what was wrong with it.
            Access::Auditor | Access::Audit | Access::Admin => {
                route.wrap(from_fn(move |request, next| operator::admit(access, request, next)))
            }
        };
        let operation = Operation::of::<Args, F::Output>;
        Self { method, path, access, tag: "", id: "", docs: &[], answers: &[], operation, route }
    }
}

/// Serves endpoints; those of one path follow each other. Other methods are refused (RFC 9110 section 15.5.6).
pub fn serve(mut endpoints: Vec<Endpoint>, config: &mut ServiceConfig) {
    // Paths are tried in order, and those with variables take longer: `/oauth/token` does not wait for them.
    endpoints.sort_by_key(|endpoint| endpoint.path.contains('{'));
    let mut endpoints = endpoints.into_iter().peekable();
    while let Some(first) = endpoints.next() {
        let (path, access) = (first.path, first.access);
        let mut resource = web::resource(path).app_data(Matched(path));
        let mut allowed = Vec::new();
        let mut next = Some(first);
        while let Some(endpoint) = next {
            allowed.push(if endpoint.method == Method::GET {
                "GET, HEAD"
            } else {
                method_name(&endpoint.method)
            });
            resource = resource.route(endpoint.route);
            next = endpoints.next_if(|next| next.path == path);
        }
        if cors::opened(path).is_some() {
            allowed.push("OPTIONS");
        }
        let allowed = allowed.join(", ");
        let refuse = move |request: HttpRequest| {
            let refused = not_allowed(&request, &allowed, access);
            async move { refused }
        };
        config.service(resource.default_service(web::to(refuse)));
    }
}

/// A method by a name of ours: callers may make up their own.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// 405, and what is allowed.
fn not_allowed(request: &HttpRequest, allowed: &str, access: Access) -> HttpResponse {
    let mut response = match access {
        Access::Client
        | Access::Reporter
        | Access::Registration
        | Access::Bearer
        | Access::ResourceServer => OAuthError::not_allowed(allowed).error_response(),
        Access::Anyone | Access::Auditor | Access::Audit | Access::Admin => {
            let detail = format!("this path takes {allowed}");
            refused(request, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        }
    };
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// 404: no path of the table is this one. For the app's default service.
pub async fn no_such_path(request: HttpRequest) -> HttpResponse {
    let detail = "no such path; /openapi.json lists those for programs";
    refused(&request, StatusCode::NOT_FOUND, "not_found", detail.to_owned())
}

/// Whether a browser asks for something to show: it names HTML then, and programs do not.
pub(super) fn wants_a_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// A page for a browser that wants one, a problem for everyone else.
fn refused(request: &HttpRequest, status: StatusCode, code: &'static str, detail: String) -> HttpResponse {
    if wants_a_page(request.headers()) {
        return PageError::new(
            status,
            "There is nothing here",
            "This address leads to no page of this server.",
        )
        .going_on_to_apps()
        .page(&Context::of(request));
    }
    Problem::new(status, code, detail).error_response()
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;

    /// Status, Allow and Content-Type of the answer to a request.
    async fn asked(method: Method, path: &str, accept: &str) -> (u16, String, String) {
        let handler = || async { HttpResponse::Ok().body("body") };
        let app = App::new().default_service(web::to(no_such_path)).configure(|config| {
            let endpoints = vec![
                Endpoint::new(Method::GET, "/here", Access::Anyone, handler),
                Endpoint::new(Method::DELETE, "/here", Access::Anyone, handler),
                Endpoint::new(Method::POST, "/form", Access::Client, handler),
            ];
            serve(endpoints, config);
        });
        let request = TestRequest::with_uri(path).method(method).insert_header((header::ACCEPT, accept));
        let response = call_service(&init_service(app).await, request.to_request()).await;
        let text = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        (response.status().as_u16(), text(header::ALLOW), text(header::CONTENT_TYPE))
    }

    #[tokio::test]
    async fn a_path_takes_its_methods_and_names_them_to_all_others() {
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(asked(method, "/here", "*/*").await.0, 200);
        }
        let (status, allow, kind) = asked(Method::POST, "/here", "*/*").await;
        assert_eq!((status, allow.as_str()), (405, "GET, HEAD, DELETE"));
        assert_eq!(kind, "application/problem+json");
        let (status, allow, kind) = asked(Method::GET, "/form", "*/*").await;
        assert_eq!((status, allow.as_str(), kind.as_str()), (405, "POST", "application/json"));
    }

    #[tokio::test]
    async fn a_person_gets_a_page_and_a_program_a_problem() {
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (path, status) in [("/elsewhere", 404), ("/here", 405)] {
            let page = asked(Method::POST, path, browser).await;
            assert_eq!((page.0, page.2.as_str()), (status, "text/html; charset=utf-8"));
            let problem = asked(Method::POST, path, "application/json").await;
            assert_eq!((problem.0, problem.2.as_str()), (status, "application/problem+json"));
        }
    }
}
