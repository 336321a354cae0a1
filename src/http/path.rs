//! One path of the route table. Knows: methods, and what is said to those that a path does not take. Must
//! not know: which paths there are.

use std::fmt;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};

use super::browser::PageError;
use super::context::Context;
use super::cors;
use super::oauth;
use super::problem::Problem;

/// The path that a request matched, as the table spells it; in the request's app data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched(pub &'static str);

/// A path that takes nothing yet.
pub fn at(path: &'static str) -> Path {
    let resource = web::resource(path).app_data(Matched(path));
    Path { resource, path, allowed: Vec::new(), errors: Errors::ForWhoeverAsks }
}

/// A path of an OAuth endpoint that takes a form; its errors are those of RFC 6749.
pub fn form(path: &'static str) -> Path {
    Path { errors: Errors::OAuth, ..at(path) }
}

/// A path, the methods it takes, and what it says to all others (RFC 9110, section 15.5.6).
pub struct Path {
    resource: Resource,
    path: &'static str,
    allowed: Vec<Method>,
    errors: Errors,
}

#[derive(Debug, Clone, Copy)]
enum Errors {
    /// A page for a browser, a problem for everyone else.
    ForWhoeverAsks,
    OAuth,
}

impl Path {
    /// GET, and HEAD: the same without a body.
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let reads = guard::Any(guard::Get()).or(guard::Head());
        self.resource = self.resource.route(web::route().guard(reads).to(handler));
        self.allowed.extend([Method::GET, Method::HEAD]);
        self
    }

    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::POST, handler)
    }

    pub fn patch<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::PATCH, handler)
    }

    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::method(method.clone()).to(handler));
        self.allowed.push(method);
        self
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl HttpServiceFactory for Path {
    fn register(self, config: &mut AppService) {
        let Self { resource, path, mut allowed, errors } = self;
        if cors::is_open(path) {
            allowed.push(Method::OPTIONS);
        }
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let refuse = move |request: HttpRequest| {
            let refused = not_allowed(&request, &allowed, errors);
            async move { refused }
        };
        resource.default_service(web::to(refuse)).register(config);
    }
}

/// 405, and what is allowed.
fn not_allowed(request: &HttpRequest, allowed: &str, errors: Errors) -> HttpResponse {
    let mut response = match errors {
        Errors::OAuth => oauth::post_only(),
        Errors::ForWhoeverAsks => {
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
    use actix_web::ResponseError as _;
    if wants_a_page(request.headers()) {
        let context = Context::of(request);
        return PageError::not_here(&context, status).error_response();
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
        let app = App::new()
            .default_service(web::to(no_such_path))
            .service(at("/here").get(handler).delete(handler))
            .service(form("/form").post(handler));
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
