//! `/sign-in`: finding out who the person in the browser is, and `/sign-out`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::browser::{PageError, Visit, page, see_other, with_cookies};
use super::form::Form;
use super::reason::Reason;
use crate::identity::dev::DevSignIn;
use crate::identity::handoff::{Arrived, HandoffError, SELECT_ACCOUNT};
use crate::identity::pending::PendingSignIns;
use crate::identity::session::SignedIn;
use crate::identity::{Onward, SignIn};
use crate::pages::{DevPersonLine, DevSignInPage, Forms, SignInUnavailablePage, SignOutPage, SignedOutPage};

/// The path that signs a person in and then goes on.
pub(super) fn path(onward: &Onward) -> String {
    format!("/sign-in?continue={}", onward.to_param())
}

/// The path that lets a person sign in as another and then goes on.
pub(super) fn as_another(onward: &Onward) -> String {
    format!("{}&prompt={SELECT_ACCOUNT}", path(onward))
}

fn onward(form: &Form) -> Result<Onward, PageError> {
    Onward::from_param(form.get("continue").unwrap_or_default())
        .map_err(|error| unreadable(PageError::bad_request(error.to_string())))
}

fn query(visit: &Visit) -> Result<(Form, Onward), PageError> {
    let query = visit.query().map_err(unreadable)?;
    let onward = onward(&query)?;
    Ok((query, onward))
}

fn unreadable(error: impl Into<PageError>) -> PageError {
    error.into().going_on_to_apps()
}

fn not_signed_in(sentence: &str, onward: &Onward) -> PageError {
    PageError::new(StatusCode::BAD_REQUEST, "You could not be signed in", sentence)
        .going_on("Sign in again", path(onward))
}

/// `GET /sign-in?continue=…&prompt=…`
pub async fn begin(visit: Visit) -> Result<HttpResponse, PageError> {
    let (query, onward) = query(&visit)?;
    let browser = &visit.browser;
    let begun = browser.sign_ins.begin(visit.headers(), visit.service.ledger.process_time());
    let answer = match &visit.service.config.sign_in {
        SignIn::NotConfigured => {
            let shown = SignInUnavailablePage { request_id: visit.context.request_id.to_string() };
            let mut response = page(&visit.context, StatusCode::SERVICE_UNAVAILABLE, &shown, Forms::Here);
            Reason::new("no sign-in is configured: set sign_in.mode").put_on(&mut response);
            return Ok(response);
        }
        SignIn::Handoff(handoff) => {
            let another = query.get("prompt") == Some(SELECT_ACCOUNT);
            see_other(handoff.login_location(visit.service.issuer(), &begun.nonce, &onward, another).as_str())
        }
        SignIn::Dev(dev) => dev_page(&visit, dev, &begun.nonce, &onward, None),
    };
    Ok(with_cookies(answer, begun.cookies))
}

fn dev_page(
    visit: &Visit,
    dev: &DevSignIn,
    nonce: &str,
    onward: &Onward,
    error: Option<&'static str>,
) -> HttpResponse {
    let people = dev.people().iter().map(|person| DevPersonLine {
        name: person.name.to_owned(),
        user: person.user.to_owned(),
        account: person.account.to_owned(),
    });
    let shown = DevSignInPage {
        people: people.collect(),
        error: error.map(str::to_owned),
        continue_query: onward.to_param(),
        csrf: nonce.to_owned(),
    };
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    // The sign-in leads on to an app's redirect URI when its request is one that is refused.
    let mut response = page(&visit.context, status, &shown, Forms::LeaveForAnywhere);
    if let Some(error) = error {
        Reason::new(error).put_on(&mut response);
    }
    response
}

/// `POST /sign-in/dev`
pub async fn dev(visit: Visit, form: Form) -> Result<HttpResponse, PageError> {
    let SignIn::Dev(dev) = &visit.service.config.sign_in else {
        return Err(PageError::bad_request("The dev sign-in is off."));
    };
    let onward = onward(&form)?;
    let nonce = form.get("csrf").unwrap_or_default();
    let pending = visit.browser.sign_ins.of(visit.headers(), visit.service.ledger.process_time());
    if !pending.has(nonce) {
        let sentence = "This sign-in took too long, or was started in another browser.";
        return Err(not_signed_in(sentence, &onward));
    }
    let field = |name| form.get(name).unwrap_or_default();
    match dev.read(field("person"), field("user"), field("account")) {
        Ok(person) => arrive(&visit, Arrived { person, nonce: nonce.to_owned() }, &pending, &onward),
        Err(error) => Ok(dev_page(&visit, dev, nonce, &onward, Some(error))),
    }
}

/// `GET /sign-in/handoff?token=…&continue=…`: back from the host platform.
pub async fn handoff(visit: Visit) -> Result<HttpResponse, PageError> {
    let SignIn::Handoff(handoff) = &visit.service.config.sign_in else {
        return Err(PageError::bad_request("The handoff is off."));
    };
    let (query, onward) = query(&visit)?;
    let pending = visit.browser.sign_ins.of(visit.headers(), visit.service.ledger.process_time());
    match handoff.finish(visit.service.issuer(), &pending, query.get("token").unwrap_or_default(), visit.now)
    {
        Ok(arrived) => arrive(&visit, arrived, &pending, &onward),
        // Asked for twice by the browser that set out: the other answer signs the person in.
        Err(HandoffError::Reused) => Ok(see_other(&onward.location())),
        Err(error) if error.may_be_done() && visit.person.is_some() => Ok(see_other(&onward.location())),
        Err(error) => Err(not_signed_in(error.sentence(), &onward).because(error)),
    }
}

/// Signs a person in who comes back from where they said who they are, and goes on. The sign-in is not pending any
/// more, and all others are left alone.
fn arrive(
    visit: &Visit,
    Arrived { person, nonce }: Arrived,
    pending: &PendingSignIns,
    onward: &Onward,
) -> Result<HttpResponse, PageError> {
    let browser = &visit.browser;
    // Who was here already and comes back through another tab goes on in the same session: what is open in
    // the first tab is still theirs.
    let same = visit.person.as_ref().filter(|before| before.is(&person.user, &person.account));
    let session_id = match same {
        Some(before) => before.session_id.clone(),
        None => browser.sign_ins.session_id(pending, &person.user, &person.account),
    };
    let signed_in = SignedIn { person, session_id, since: visit.now };
    let cookies =
        [browser.sessions.cookie(&signed_in).map_err(PageError::broken)?, browser.sign_ins.done(&nonce)];
    Ok(with_cookies(see_other(&onward.location()), cookies))
}

/// `GET /sign-out`: asks, so that no link of another site signs a person out.
pub async fn ask_to_sign_out(visit: Visit) -> HttpResponse {
    match &visit.person {
        None => signed_out_page(&visit),
        Some(person) => {
            let (user, csrf) = (person.user_in_words(), visit.csrf_token(person));
            visit.page(&SignOutPage { user, csrf }, Forms::Here)
        }
    }
}

/// `POST /sign-out`
pub async fn sign_out(visit: Visit, form: Form) -> Result<HttpResponse, PageError> {
    if let Some(person) = &visit.person {
        let sentence = "This form was made for another sign-in, so you are still signed in.";
        visit.check_csrf_token(person, &form, sentence)?;
    }
    Ok(with_cookies(signed_out_page(&visit), [visit.browser.sessions.removal()]))
}

fn signed_out_page(visit: &Visit) -> HttpResponse {
    let shown = SignedOutPage {
        sign_in_href: path(&Onward::AccountApps),
        another_href: as_another(&Onward::AccountApps),
    };
    visit.page(&shown, Forms::Here)
}
