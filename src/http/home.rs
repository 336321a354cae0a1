//! `/`: what a person finds who only typed the address.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::browser::page;
use super::context::Context;
use super::endpoint::{no_such_path, wants_a_page};
use super::service::Service;
use crate::identity::session::{self, Session};
use crate::pages::{Forms, HomePage};

/// `GET /`; for programs there is nothing here.
pub async fn home(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    session: Session,
) -> HttpResponse {
    if !wants_a_page(request.headers()) {
        return no_such_path(request).await;
    }
    let person = session::signed_in(&session, service.ledger.now(), service.session_lifetime);
    let shown = HomePage { user: person.map(|person| person.user_in_words()) };
    page(&context, StatusCode::OK, &shown, Forms::Here)
}
