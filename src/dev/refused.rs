//! Why a browser gets a page that says no. Knows: words and statuses. Must not know: what was asked for.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use super::grantbook::CallError;
use super::pages::SampleErrorPage;
use super::sample::NoToken;
use super::web::page;

/// What the page says.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    title: &'static str,
    sentence: &'static str,
    /// What grantbook said, word for word.
    said: Option<String>,
}

impl Refused {
    const fn new(status: StatusCode, title: &'static str, sentence: &'static str) -> Self {
        Self { status, title, sentence, said: None }
    }

    pub(super) const fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing here", "The sample app has no such page.")
    }

    /// The request named another host: a page elsewhere made its own name point here.
    pub(super) const fn elsewhere() -> Self {
        let sentence = "The sample app is for this machine only, and has another name.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "Not by this name", sentence)
    }

    pub(super) const fn stale_form() -> Self {
        let sentence = "The form was not made for this browser. Go back, reload the page and try again.";
        Self::new(StatusCode::BAD_REQUEST, "This form is no longer good", sentence)
    }

    pub(super) fn broken(why: impl fmt::Display) -> Self {
        let said = Some(why.to_string());
        let sentence = "The sample app is broken.";
        Self { said, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "This did not work", sentence) }
    }
}

impl From<NoToken> for Refused {
    fn from(why: NoToken) -> Self {
        let bad = |title, sentence| Self::new(StatusCode::BAD_REQUEST, title, sentence);
        match why {
            NoToken::NotAsked => bad(
                "Nobody asked for this",
                "This browser did not ask for this answer, or had it already, so the app does not take it. Start again.",
            ),
            NoToken::WrongIssuer => bad(
                "Somebody else answered",
                "The answer does not name the server that the app asked, so the app does not take it. Start again.",
            ),
            NoToken::Nothing => {
                bad("That was no answer", "The browser came back without a code and without an error.")
            }
            NoToken::Denied => Self {
                said: Some("error=access_denied".to_owned()),
                ..Self::new(
                    StatusCode::OK,
                    "Not installed",
                    "You said no, and the app was told so. Nothing was recorded. This is what it got:",
                )
            },
            NoToken::Refused { error, description } => {
                let description = description.map(|text| format!("\nerror_description={text}"));
                Self {
                    said: Some(format!("error={error}{}", description.unwrap_or_default())),
                    ..bad("Not installed", "The browser came back with an error instead of a code:")
                }
            }
            NoToken::Call(error) => error.into(),
        }
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        let sentence = "The app asked grantbook, and did not get what it asked for:";
        let said = Some(error.to_string());
        Self { said, ..Self::new(StatusCode::BAD_GATEWAY, "This did not work", sentence) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let shown = SampleErrorPage { title: self.title, sentence: self.sentence, said: self.said.clone() };
        page(self.status, &shown).unwrap_or_else(|_| HttpResponse::InternalServerError().finish())
    }
}
