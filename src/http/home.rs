//! `/`: what a person finds who only typed the address.

use actix_web::{HttpRequest, HttpResponse};

use super::browser::Visit;
use super::endpoint::{no_such_path, wants_a_page};
use crate::pages::{Forms, HomePage};

/// `GET /`; for programs there is nothing here.
pub async fn home(request: HttpRequest, visit: Visit) -> HttpResponse {
    if !wants_a_page(request.headers()) {
        return no_such_path(request).await;
    }
    let user = visit.person.as_ref().map(|person| person.user_in_words());
    visit.page(&HomePage { user }, Forms::Here)
}
