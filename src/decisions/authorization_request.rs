//! An authorization request (RFC 6749 section 4.1.1) and every check on it that needs no user.

use std::sync::Arc;

use grantbook_projections::{App, AppStatus, CodeChallenge};
use serde::{Deserialize, Serialize};

use super::RecordDocument;
use super::redirect_uri;
use super::resources::{ResourceError, ResourceList};
use super::scopes::{ScopeCatalogue, ScopeError};

/// The longest `state`, in bytes.
pub const STATE_MAX: usize = 16 * 1024;

/// The parameters as the app sent them; an empty value counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// `client_id`.
    pub client_id: Option<String>,
    /// `response_type`; absent means `code`.
    pub response_type: Option<String>,
    /// `response_mode`; absent means `query`.
    pub response_mode: Option<String>,
    /// `redirect_uri`.
    pub redirect_uri: Option<String>,
    /// `scope`.
    pub scope: Option<String>,
    /// `state`, returned byte for byte.
    pub state: Option<String>,
    /// `code_challenge` (RFC 7636).
    pub code_challenge: Option<String>,
    /// `code_challenge_method`; only `S256`.
    pub code_challenge_method: Option<String>,
    /// Every `resource`, in the order they were sent (RFC 8707).
    pub resources: Vec<String>,
    /// A protocol parameter that was there more than once (RFC 6749 section 3.1).
    #[serde(skip)]
    pub repeated: Option<String>,
}

/// An authorization request that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// The app that asks.
    pub app: Arc<App>,
    /// What its document says that is not recorded yet: the next thing to do before anything is granted.
    pub record: Option<RecordDocument>,
    /// Where the answer goes.
    pub target: RedirectTarget,
    /// Canonical names of the scopes it asks for.
    pub scopes: Vec<String>,
    /// The resources that its tokens are to be for, each once; none for any.
    pub resources: Vec<String>,
    /// The S256 code challenge, if there is one.
    pub code_challenge: Option<String>,
}

/// Where an answer may be sent: a redirect URI that was checked against the app's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// The redirect URI.
    pub redirect_uri: String,
    /// Whether the request named it; if so the exchange must, too.
    pub sent: bool,
    /// Goes back with the answer, byte for byte; with an error also if it is refused itself (RFC 6749 section
    /// 4.1.2.1).
    pub state: Option<String>,
}

/// Why there is nowhere to send an answer to: the person gets a page instead (A2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// The request says of no app that it is from it.
    #[error("client_id is missing: the link that led here is incomplete")]
    ClientIdMissing,
    /// No app has this client id.
    #[error("the app that sent you here is not registered")]
    UnknownClient,
    /// An operator stopped the app for now.
    #[error("the app that sent you here is suspended")]
    Suspended,
    /// The redirect URI is not one of the app's.
    #[error("the redirect_uri is not one that the app registered")]
    RedirectUriMismatch,
    /// No redirect URI was named, and the app has several.
    #[error("redirect_uri is required: the app registered more than one")]
    RedirectUriMissing,
    /// `client_id` or `redirect_uri` is there more than once.
    #[error("client_id and redirect_uri may be there once only")]
    Repeated,
}

/// Why a request with a good redirect URI is refused (RFC 6749 section 4.1.2.1): the app gets the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// `invalid_request`.
    #[error("{0}")]
    InvalidRequest(String),
    /// `unsupported_response_type`.
    #[error("response_type must be code")]
    UnsupportedResponseType,
    /// `invalid_scope`.
    #[error("{0}")]
    InvalidScope(String),
    /// `invalid_target` (RFC 8707 section 2).
    #[error(transparent)]
    InvalidTarget(#[from] ResourceError),
    /// `request_not_supported` (RFC 9101).
    #[error("request objects are not supported: push the request, or send its parameters")]
    RequestNotSupported,
    /// `request_uri_not_supported`: it leads elsewhere, and is never followed.
    #[error("request_uri must be one that the pushed authorization request endpoint gave you")]
    RequestUriNotSupported,
    /// `invalid_request_uri`.
    #[error("{0}: push the request again")]
    InvalidRequestUri(&'static str),
}

impl RequestError {
    /// The registered error code (RFC 6749 section 4.1.2.1, RFC 9101 section 7).
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InvalidRequestUri(_) => "invalid_request_uri",
        }
    }
}

/// Where an answer to this app may be sent (A2, A3, A4).
pub fn redirect_target(app: Option<&App>, parameters: &Parameters) -> Result<RedirectTarget, NoTarget> {
    if matches!(parameters.repeated.as_deref(), Some("client_id" | "redirect_uri")) {
        return Err(NoTarget::Repeated);
    }
    if parameters.client_id.is_none() {
        return Err(NoTarget::ClientIdMissing);
    }
    let app = app.ok_or(NoTarget::UnknownClient)?;
    match app.status {
        AppStatus::Active => {}
        // To users and apps, one that is not understood is one that is out of service.
        AppStatus::Suspended { .. } | AppStatus::Quarantined { .. } => return Err(NoTarget::Suspended),
        AppStatus::Deleted { .. } => return Err(NoTarget::UnknownClient),
    }
    let (redirect_uri, sent) = match (&parameters.redirect_uri, app.redirect_uris.as_slice()) {
        (Some(requested), registered) => {
            let known = registered.iter().any(|uri| redirect_uri::matches(uri, requested));
            (known.then_some(requested).ok_or(NoTarget::RedirectUriMismatch)?, true)
        }
        (None, [only]) => (only, false),
        (None, _) => return Err(NoTarget::RedirectUriMissing),
    };
    Ok(RedirectTarget { redirect_uri: redirect_uri.clone(), sent, state: parameters.state.clone() })
}

/// Everything else about the request (A1, A6, A8, A12, A13).
pub fn check_request(
    app: Arc<App>,
    target: RedirectTarget,
    parameters: &Parameters,
    catalogue: &ScopeCatalogue,
    known: &ResourceList,
) -> Result<AuthorizationRequest, RequestError> {
    let invalid = |detail: &str| Err(RequestError::InvalidRequest(detail.to_owned()));
    if let Some(name) = &parameters.repeated {
        return invalid(&format!("{name} may be there once only"));
    }
    if parameters.state.as_ref().is_some_and(|state| state.len() > STATE_MAX) {
        return invalid(&format!("state may have at most {STATE_MAX} bytes"));
    }
    if parameters.response_type.as_deref().is_some_and(|kind| kind != "code") {
        return Err(RequestError::UnsupportedResponseType);
    }
    if parameters.response_mode.as_deref().is_some_and(|mode| mode != "query") {
        return invalid("response_mode must be query");
    }
    match (&parameters.code_challenge, parameters.code_challenge_method.as_deref()) {
        (Some(challenge), Some("S256")) if CodeChallenge::parse(challenge).is_err() => {
            return invalid("code_challenge must be 43 characters of base64url");
        }
        (Some(_), Some("S256")) => {}
        (Some(_), Some(_) | None) => return invalid("code_challenge_method must be S256"),
        (None, Some(_)) => return invalid("code_challenge_method without code_challenge"),
        (None, None) if !app.confidential => {
            return invalid("code_challenge is required: the app has no client secret");
        }
        (None, None) => {}
    }
    let scopes = requested_scopes(&app, parameters.scope.as_deref(), catalogue)?;
    let resources = known.check(&parameters.resources)?;
    let code_challenge = parameters.code_challenge.clone();
    Ok(AuthorizationRequest { app, record: None, target, scopes, resources, code_challenge })
}

fn requested_scopes(
    app: &App,
    scope: Option<&str>,
    catalogue: &ScopeCatalogue,
) -> Result<Vec<String>, RequestError> {
    let invalid = |detail: String| RequestError::InvalidScope(detail);
    // One that was left out is one without a name.
    let scopes = match (catalogue.resolve(scope.unwrap_or_default()), default_scopes(app, catalogue)) {
        (Ok(scopes), _) => scopes,
        (Err(ScopeError::Empty), defaults) if !defaults.is_empty() => defaults,
        (Err(error), _) => return Err(invalid(error.to_string())),
    };
    match scopes.iter().find(|scope| !may_ask(app, scope)) {
        Some(above) => Err(invalid(format!("the app was not registered for {above}"))),
        None => Ok(scopes),
    }
}

/// What an app asks for that names no scope: its own default scopes, or else those of the catalogue; of these, what it may
/// ask for.
fn default_scopes(app: &App, catalogue: &ScopeCatalogue) -> Vec<String> {
    let is_default = |name: &&str| match app.default_scopes.as_slice() {
        [] => catalogue.defaults().any(|default| default == *name),
        own => own.iter().any(|default| default == name),
    };
    let defaults = catalogue.names().filter(is_default).filter(|name| may_ask(app, name));
    defaults.map(str::to_owned).collect()
}

/// Whether an app was registered for a scope.
pub(super) fn may_ask(app: &App, scope: &str) -> bool {
    app.scopes.iter().any(|name| name == scope)
}

#[cfg(test)]
mod tests {
    use super::super::scopes::ScopeDefinition;
    use super::super::testing;
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn asking(scope: &str) -> Parameters {
        let client_id = Some(testing::client_id(1).to_string());
        Parameters { client_id, scope: Some(scope.to_owned()), ..Parameters::default() }
    }

    fn check(app: App, parameters: &Parameters) -> Result<AuthorizationRequest, RequestError> {
        let target = redirect_target(Some(&app), parameters).unwrap();
        check_request(Arc::new(app), target, parameters, &ScopeCatalogue::default(), &ResourceList::default())
    }

    #[test]
    fn a2_no_answer_goes_to_an_unknown_suspended_or_deleted_app() {
        let mut app = testing::registered_app();
        assert_eq!(redirect_target(None, &asking("faqs")), Err(NoTarget::UnknownClient));
        assert_eq!(redirect_target(None, &Parameters::default()), Err(NoTarget::ClientIdMissing));
        app.status = AppStatus::Suspended { reason: "review".to_owned() };
        assert_eq!(redirect_target(Some(&app), &asking("faqs")), Err(NoTarget::Suspended));
        app.status = AppStatus::Deleted { reason: "gone".to_owned() };
        assert_eq!(redirect_target(Some(&app), &asking("faqs")), Err(NoTarget::UnknownClient));
    }

    #[test]
    fn a4_an_omitted_redirect_uri_is_the_only_one_and_the_grant_says_so() {
        let mut app = testing::registered_app();
        let target = redirect_target(Some(&app), &asking("faqs")).unwrap();
        assert_eq!((target.redirect_uri.as_str(), target.sent), (app.redirect_uris[0].as_str(), false));
        app.redirect_uris.push("https://other.example/cb".to_owned());
        assert_eq!(redirect_target(Some(&app), &asking("faqs")), Err(NoTarget::RedirectUriMissing));
        let named = Parameters { redirect_uri: Some(app.redirect_uris[1].clone()), ..asking("faqs") };
        assert!(redirect_target(Some(&app), &named).unwrap().sent);
        let wrong = Parameters { redirect_uri: Some("https://evil.example/".to_owned()), ..asking("faqs") };
        assert_eq!(redirect_target(Some(&app), &wrong), Err(NoTarget::RedirectUriMismatch));
    }

    #[test]
    fn a6_only_the_code_response_type() {
        let mut parameters = asking("faqs");
        parameters.response_type = Some("code".to_owned());
        assert!(check(testing::registered_app(), &parameters).is_ok());
        parameters.response_type = Some("token".to_owned());
        let error = check(testing::registered_app(), &parameters).unwrap_err();
        assert_eq!(error, RequestError::UnsupportedResponseType);
    }

    #[test]
    fn a6_only_the_query_response_mode() {
        let with = |mode: &str| Parameters { response_mode: Some(mode.to_owned()), ..asking("faqs") };
        assert!(check(testing::registered_app(), &with("query")).is_ok());
        let refused = check(testing::registered_app(), &with("form_post"));
        assert!(matches!(refused, Err(RequestError::InvalidRequest(_))));
    }

    #[test]
    fn a12_scopes_are_normalised_and_bounded_by_the_registration() {
        let app = testing::registered_app();
        assert_eq!(check(app.clone(), &asking(" faqs  brands faqs ")).unwrap().scopes, ["widgets", "faqs"]);
        for wrong in ["contacts", "nonsense", "wid\"gets", " ", ""] {
            let refused = check(app.clone(), &asking(wrong));
            assert!(matches!(refused, Err(RequestError::InvalidScope(_))), "{wrong:?}");
        }
        let refused = check(app, &Parameters { scope: None, ..asking("") });
        assert!(matches!(refused, Err(RequestError::InvalidScope(_))));
    }

    #[test]
    fn a12_a_request_without_a_scope_asks_for_the_default_ones_that_the_app_may_have() {
        let scope = |name: &str, default| ScopeDefinition {
            name: name.to_owned(),
            aliases: Vec::new(),
            sentence: "Do it.".to_owned(),
            default,
        };
        let definitions = [("contacts", true), ("widgets", true), ("faqs", false)];
        let definitions = definitions.map(|(name, default)| scope(name, default)).to_vec();
        let catalogue = ScopeCatalogue::new(definitions).unwrap();
        let app = testing::registered_app();
        let asked = |app: &App, scope: Option<&str>| {
            let parameters = Parameters { scope: scope.map(str::to_owned), ..asking("") };
            let target = redirect_target(Some(app), &parameters).unwrap();
            check_request(Arc::new(app.clone()), target, &parameters, &catalogue, &ResourceList::default())
                .map(|request| request.scopes)
        };
        for left_out in [None, Some(""), Some("  ")] {
            assert_eq!(asked(&app, left_out).unwrap(), ["widgets"], "{left_out:?}");
        }
        assert_eq!(asked(&app, Some("faqs")).unwrap(), ["faqs"]);
        // Those of an app replace those of the catalogue.
        let own = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            App { default_scopes: names, ..app.clone() }
        };
        assert_eq!(asked(&own(&["faqs"]), None).unwrap(), ["faqs"]);
        assert_eq!(asked(&own(&["faqs", "widgets", "contacts"]), Some(" ")).unwrap(), ["widgets", "faqs"]);
        let nothing_left = asked(&own(&["contacts"]), None);
        assert!(matches!(nothing_left, Err(RequestError::InvalidScope(_))), "{nothing_left:?}");
    }

    #[test]
    fn a13_only_s256_and_required_for_public_clients() {
        let with = |challenge: Option<&str>, method: Option<&str>| Parameters {
            code_challenge: challenge.map(str::to_owned),
            code_challenge_method: method.map(str::to_owned),
            ..asking("faqs")
        };
        let public = App { confidential: false, ..testing::registered_app() };
        assert!(check(testing::registered_app(), &with(None, None)).is_ok());
        assert!(check(public.clone(), &with(Some(CHALLENGE), Some("S256"))).is_ok());
        for wrong in [
            with(Some(CHALLENGE), Some("plain")),
            with(Some(CHALLENGE), None),
            with(None, Some("S256")),
            with(Some("short"), Some("S256")),
            with(None, None),
        ] {
            let refused = check(public.clone(), &wrong);
            assert!(matches!(refused, Err(RequestError::InvalidRequest(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a8_a_state_of_16_kib_is_kept_and_a_longer_one_refused_and_sent_back() {
        let mut parameters = asking("faqs");
        parameters.state = Some("ü".repeat(8192));
        assert_eq!(check(testing::registered_app(), &parameters).unwrap().target.state, parameters.state);
        parameters.state = Some("x".repeat(16_385));
        let target = redirect_target(Some(&testing::registered_app()), &parameters).unwrap();
        assert_eq!(target.state, parameters.state);
        assert!(matches!(
            check(testing::registered_app(), &parameters),
            Err(RequestError::InvalidRequest(_))
        ));
    }
}
