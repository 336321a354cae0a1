//! What the sample app does, step by step. Knows: its own file, and what it may ask grantbook. Must not
//! know: requests, replies or pages.
//!
//! Everything here waits for grantbook, so it is called where waiting is allowed.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::CALLBACK;
use super::grantbook::{CallError, Grantbook, TokenReply};
use super::kept::{Credentials, Keeper, KeptToken};
use super::visits::{Departure, Departures, Visitor};
use crate::secrets::PlainSecret;

/// Where everything is, without trailing slashes.
#[derive(Debug)]
pub(super) struct Places {
    /// Where this machine reaches grantbook; here and in the browser.
    pub grantbook: String,
    /// What grantbook calls itself.
    pub issuer: String,
    /// The app itself.
    pub app: String,
}

/// The app.
#[derive(Debug)]
pub(super) struct Sample {
    pub places: Places,
    grantbook: Grantbook,
    keeper: Keeper,
    departures: Departures,
    /// What it asks for, as a parameter.
    scope: String,
}

/// What a person came back with (RFC 6749 section 4.1.2, RFC 9207).
#[derive(Default)]
pub(super) struct Answer {
    pub state: Option<String>,
    pub iss: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// Why a person who came back is not one on whose account the app is installed.
#[derive(Debug)]
pub(super) enum NoToken {
    /// This browser was not sent away with this `state`.
    NotAsked,
    /// Somebody else answered than was asked.
    WrongIssuer,
    /// The person said no.
    Denied,
    /// grantbook says that the request was wrong.
    Refused { error: String, description: Option<String> },
    /// Neither a code nor an error.
    Nothing,
    /// The code brought no token.
    Call(CallError),
}

impl From<CallError> for NoToken {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// A token and all that grantbook says of it, just now.
#[derive(Debug)]
pub(super) struct Looked {
    pub token: KeptToken,
    pub introspection: Map<String, Value>,
    pub installation: Map<String, Value>,
    /// Oldest first.
    pub events: Vec<Value>,
}

impl Answer {
    /// Reads a query; what it does not know is nothing to it.
    pub(super) fn of_query(query: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "state" => &mut answer.state,
                "iss" => &mut answer.iss,
                "code" => &mut answer.code,
                "error" => &mut answer.error,
                "error_description" => &mut answer.error_description,
                _ => continue,
            };
            field.get_or_insert_with(|| value.into_owned());
        }
        answer
    }
}

impl Sample {
    /// The app at work; `scope` is what it asks for.
    pub(super) fn new(grantbook: Grantbook, keeper: Keeper, places: Places, scope: String) -> Self {
        Self { places, grantbook, keeper, departures: Departures::default(), scope }
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.keeper.credentials()
    }

    /// The tokens it was given, newest first.
    pub(super) fn tokens(&self) -> Vec<KeptToken> {
        self.keeper.tokens()
    }

    /// One of them.
    pub(super) fn token(&self, token_id: &str) -> Option<KeptToken> {
        self.keeper.tokens().into_iter().find(|token| token.token_id == token_id)
    }

    /// `active`, `suspended` or `deleted`.
    pub(super) fn state(&self) -> Result<String, CallError> {
        let app = self.grantbook.app(&self.credentials().client_id)?;
        Ok(app.state().to_owned())
    }

    /// Where to send a browser so that it comes back with a code (RFC 6749 section 4.1.1).
    pub(super) fn depart(&self, visitor: &Visitor) -> String {
        let Departure { state, code_challenge } = self.departures.begin(visitor);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.credentials().client_id)
            .append_pair("redirect_uri", &self.redirect_uri())
            .append_pair("scope", &self.scope)
            .append_pair("state", &state)
            .append_pair("code_challenge", &code_challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{}/oauth/authorize?{query}", self.places.grantbook)
    }

    /// Takes a person back: exchanges the code and keeps the token. Gives the token's id.
    pub(super) fn arrive(&self, visitor: &Visitor, answer: Answer) -> Result<String, NoToken> {
        let state = answer.state.unwrap_or_default();
        let verifier = self.departures.finish(visitor, &state).ok_or(NoToken::NotAsked)?;
        if answer.iss.as_deref() != Some(self.places.issuer.as_str()) {
            return Err(NoToken::WrongIssuer);
        }
        match (answer.error, answer.code) {
            (Some(error), _) if error == "access_denied" => Err(NoToken::Denied),
            (Some(error), _) => Err(NoToken::Refused { error, description: answer.error_description }),
            (None, Some(code)) => Ok(self.exchange(&code, &verifier)?),
            (None, None) => Err(NoToken::Nothing),
        }
    }

    fn exchange(&self, code: &str, verifier: &PlainSecret) -> Result<String, CallError> {
        let reply = self.grantbook.exchange(&self.credentials(), code, &self.redirect_uri(), verifier)?;
        let TokenReply { access_token, rest } = reply;
        let told = self.grantbook.introspect(&access_token)?;
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let token = KeptToken {
            token_id: text("jti"),
            installation_id: text("installation_id"),
            account: text("account_id"),
            user: text("sub"),
            access_token,
            reply: rest,
        };
        let token_id = token.token_id.clone();
        if let Err(error) = self.keeper.add(token) {
            tracing::warn!(%error, "the sample app could not write its token down and forgets it when it stops");
        }
        Ok(token_id)
    }

    /// Asks grantbook all about a token.
    pub(super) fn look(&self, token: KeptToken) -> Result<Looked, CallError> {
        Ok(Looked {
            introspection: self.grantbook.introspect(&token.access_token)?,
            installation: self.grantbook.installation(&token.installation_id)?,
            events: self.grantbook.events(&token.installation_id)?,
            token,
        })
    }

    /// Gives a token back, as its owner.
    pub(super) fn revoke(&self, token: &KeptToken) -> Result<(), CallError> {
        self.grantbook.revoke(&self.credentials(), &token.access_token)
    }

    /// Ends the installation that a token belongs to, as an operator.
    pub(super) fn uninstall(&self, token: &KeptToken) -> Result<(), CallError> {
        self.grantbook.uninstall(&token.installation_id)
    }

    fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.places.app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::kept::Keeper;

    /// An app whose grantbook answers nothing.
    fn sample(folder: &tempfile::TempDir) -> Sample {
        let credentials = serde_json::from_str(r#"{"client_id":"c","client_secret":"s"}"#).unwrap();
        let keeper = Keeper::create(&folder.path().join("sample-app.json"), credentials).unwrap();
        let nowhere = "http://127.0.0.1:1".to_owned();
        let grantbook = Grantbook::new(nowhere.clone(), PlainSecret::presented("k"));
        let places = Places {
            grantbook: nowhere,
            issuer: "https://auth.example".into(),
            app: "http://127.0.0.1:2".into(),
        };
        Sample::new(grantbook, keeper, places, "faqs widgets".into())
    }

    /// The parameters that a browser is sent away with.
    fn sent(location: &str) -> Vec<(String, String)> {
        let query = location.strip_prefix("http://127.0.0.1:1/oauth/authorize?").unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    fn state(location: &str) -> String {
        sent(location).into_iter().find(|(name, _)| name == "state").unwrap().1
    }

    #[test]
    fn a_browser_is_sent_away_with_everything_that_protects_it() {
        let folder = tempfile::tempdir().unwrap();
        let sent = sent(&sample(&folder).depart(&Visitor::new()));
        let value = |name: &str| sent.iter().find(|(known, _)| known == name).unwrap().1.as_str();
        assert_eq!(value("client_id"), "c");
        assert_eq!(value("redirect_uri"), "http://127.0.0.1:2/callback");
        assert_eq!(value("scope"), "faqs widgets");
        assert_eq!(value("code_challenge_method"), "S256");
        assert_eq!((value("state").len(), value("code_challenge").len()), (43, 43));
    }

    #[test]
    fn an_answer_nobody_asked_for_or_from_another_issuer_is_dropped_before_its_code_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let (sample, ana, ben) = (sample(&folder), Visitor::new(), Visitor::new());
        let location = sample.depart(&ana);
        let answer = |iss: &str| {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("state", &state(&location))
                .append_pair("iss", iss)
                .append_pair("code", "gbc_x")
                .finish();
            Answer::of_query(&query)
        };
        let right = "https://auth.example";
        assert!(matches!(sample.arrive(&ben, answer(right)), Err(NoToken::NotAsked)));
        assert!(matches!(sample.arrive(&ana, Answer::of_query("code=gbc_x")), Err(NoToken::NotAsked)));
        assert!(matches!(sample.arrive(&ana, answer("https://evil.example")), Err(NoToken::WrongIssuer)));
        assert!(
            matches!(sample.arrive(&ana, answer(right)), Err(NoToken::NotAsked)),
            "only one answer counts"
        );
    }

    #[test]
    fn every_way_to_come_back_without_a_token_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (sample, ana) = (sample(&folder), Visitor::new());
        let arrive = |rest: &str| {
            let state = state(&sample.depart(&ana));
            let query = format!("iss=https%3A%2F%2Fauth.example&state={state}{rest}");
            sample.arrive(&ana, Answer::of_query(&query)).unwrap_err()
        };
        assert!(matches!(arrive("&error=access_denied"), NoToken::Denied));
        assert!(matches!(arrive(""), NoToken::Nothing));
        assert!(matches!(arrive("&code=gbc_x"), NoToken::Call(CallError::Unreachable { .. })));
        let refused = arrive("&error=invalid_scope&error_description=no+such+scope&code=gbc_x");
        let NoToken::Refused { error, description } = refused else { panic!("{refused:?}") };
        assert_eq!((error.as_str(), description.as_deref()), ("invalid_scope", Some("no such scope")));
    }
}
