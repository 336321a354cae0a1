//! What the last form did, said on the page that the browser is led to. Knows: tickets, the account page. Must not
//! know: what was done.
//!
//! The sentence travels in the address, signed for the session: nobody else can put words on the page, no cookie is
//! written, and two tabs do not take each other's. Loaded again, the page says it again for a minute.

use std::time::Duration;

use actix_web::HttpResponse;

use super::browser::{PageError, Visit, see_other};
use crate::identity::Onward;
use crate::identity::session::SignedIn;

/// Names the sentence for its ticket.
const NOTICE: &str = "account/notice";
/// How long the sentence is shown when the page is loaded again.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// Leads back to the account page, which says this.
pub(super) fn back_with(visit: &Visit, person: &SignedIn, sentence: &str) -> Result<HttpResponse, PageError> {
    let until = visit.now.plus(SHOWN_FOR);
    let sealed = visit.browser.tickets.seal(NOTICE, &person.session_id, &sentence, until)?;
    Ok(see_other(&format!("{}?notice={sealed}", Onward::AccountApps.location())))
}

/// What the page that is asked for says; nothing if the sentence is not one of ours, or old.
pub(super) fn read(visit: &Visit, person: &SignedIn) -> Option<String> {
    let query = visit.query().ok()?;
    visit.browser.tickets.open(NOTICE, &person.session_id, query.get("notice")?, visit.now).ok()
}
