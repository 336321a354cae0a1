//! Client authentication at the endpoints that apps post to (RFC 6749 section 2.3, RFC 7523 section 2.2; T3, T4).

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantbook_events::{ActorKind, ClientId, SecretDigest, SecretId};
use grantbook_projections::App;

use super::assertion::{Assertion, AssertionError};
use super::error::OAuthError;
use super::named::{self, NamedError};
use crate::decisions::client_authentication::{self, ClientError, check_status};
use crate::http::{Caller, Context, Service, form, operator};
use crate::ledger::Origin;
use crate::secrets::{self, PlainSecret};

/// What is said to a request that names no client.
const NO_CLIENT: &str = "no client authentication: send client_id and client_secret in the body, or by Basic";

/// What is said to a request that authenticates in two ways.
const TWO_WAYS: &str = "authenticate in one way: by header, by client_secret or by client_assertion";
/// Where apps authenticate, and what an assertion may be meant for; the first is the issuer.
const AUDIENCES: [&str; 5] = ["", "/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect"];

/// An app that proved who it is; a public client only said so.
#[derive(Debug)]
pub(super) struct Client {
    pub app: Arc<App>,
    /// Which of its secrets was presented; none for a public client, and for one that signs.
    pub secret_id: Option<SecretId>,
}

/// How a client authenticates in a form.
pub(super) struct Credentials {
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub assertion_type: Option<String>,
    pub assertion: Option<String>,
}

/// A client id, and what proves it.
type Presented = (String, Proof);

#[derive(Debug)]
enum Proof {
    /// Right for a public client only.
    Nothing,
    Secret(PresentedSecret),
    Signed(Box<Assertion>),
}

/// A secret that was presented, digested as soon as it was read.
#[derive(Debug, PartialEq, Eq)]
struct PresentedSecret {
    digest: SecretDigest,
    is_operator_key: bool,
}

impl PresentedSecret {
    fn of(secret: &str) -> Self {
        Self { digest: secrets::digest(secret), is_operator_key: secrets::is_operator_key(secret) }
    }
}

/// Authenticates the client of a request.
pub(super) async fn authenticate(
    request: &HttpRequest,
    service: &Service,
    credentials: Credentials,
) -> Result<Client, OAuthError> {
    let (client_id, proof) = presented(request, credentials)?;
    let app = known(request, service, &client_id).await?;
    prove(service, app, proof).await
}

/// The same, of an app that may have a document and not be recorded yet: it is what its document says it is.
pub(super) async fn authenticate_as_of_document(
    request: &HttpRequest,
    service: &Service,
    credentials: Credentials,
) -> Result<Client, OAuthError> {
    let (client_id, proof) = presented(request, credentials)?;
    says_it_is(request, &client_id);
    let app = named::app(service, &client_id).await.map_err(|error| match error {
        NamedError::Document(detail) => OAuthError::new("invalid_client", detail),
        NamedError::Ledger(error) => error.into(),
    })?;
    prove(service, app.app, proof).await
}

/// Authenticates who asks about a token: an app that has a secret or keys, or a resource server (`None`) with its key
/// as a client secret. What a public client says of itself proves nothing: its id is known to all who have
/// the app.
pub(super) async fn authenticate_by_proof(
    request: &HttpRequest,
    service: &Service,
    credentials: Credentials,
) -> Result<Option<Client>, OAuthError> {
    let (client_id, proof) = presented(request, credentials)?;
    if let Proof::Secret(PresentedSecret { digest, is_operator_key: true }) = &proof {
        let is_accepted = operator::is_accepted(service, &client_id, digest).await;
        return is_accepted.then_some(None).ok_or_else(OAuthError::invalid_client);
    }
    let app = known(request, service, &client_id).await?;
    let client = prove(service, app, proof).await?;
    client.app.confidential.then_some(Some(client)).ok_or_else(OAuthError::invalid_client)
}

/// What is recorded of an app that does something.
pub(super) fn origin(client: &Client, context: &Context) -> Origin {
    context.origin(ActorKind::App, client.app.client_id.to_string())
}

/// Notes for the log which app a caller says it is.
fn says_it_is(request: &HttpRequest, client_id: &str) -> Option<ClientId> {
    let id = named::client_id(client_id)?;
    Context::of(request).is_from(Caller::App(id));
    Some(id)
}

/// The app of the ledger that a client id names.
async fn known(
    request: &HttpRequest,
    service: &Service,
    client_id: &str,
) -> Result<Option<Arc<App>>, OAuthError> {
    let Some(id) = says_it_is(request, client_id) else { return Ok(None) };
    Ok(service.ledger.app(&id).await?)
}

/// Whether the proof is that of the app. It takes the same time for an unknown client as for a wrong secret.
async fn prove(service: &Service, app: Option<Arc<App>>, proof: Proof) -> Result<Client, OAuthError> {
    let digest = match proof {
        Proof::Nothing => None,
        Proof::Secret(secret) => Some(secret.digest),
        Proof::Signed(assertion) => return signed(service, app, &assertion).await,
    };
    // A secret that was retired stays so, however the clock is set.
    let now = service.ledger.recorded_now();
    let secret_id = client_authentication::authenticate(app.as_deref(), digest.as_ref(), now)?;
    Ok(Client { app: app.ok_or_else(OAuthError::invalid_client)?, secret_id })
}

/// The client that signed an assertion. What is wrong with the assertion is said: it is for the app's developer, and neither
/// ids nor public keys are secrets.
async fn signed(
    service: &Service,
    app: Option<Arc<App>>,
    assertion: &Assertion,
) -> Result<Client, OAuthError> {
    let app = app.filter(|app| check_status(app) != Err(ClientError::Failed) && !app.keys.is_none());
    let app = app.ok_or_else(OAuthError::invalid_client)?;
    let audiences = AUDIENCES.map(|path| service.url(path));
    let audiences = audiences.each_ref().map(String::as_str);
    let (outbound, used, now) = (&service.outbound, &service.assertions, service.ledger.now());
    assertion.check(&app.keys, &audiences, outbound, used, now).await?;
    check_status(&app)?;
    Ok(Client { app, secret_id: None })
}

impl From<ClientError> for OAuthError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Failed => Self::invalid_client(),
            ClientError::Suspended => Self::new("unauthorized_client", error.to_string()),
        }
    }
}

impl From<AssertionError> for OAuthError {
    fn from(error: AssertionError) -> Self {
        Self::new("invalid_client", error.to_string())
    }
}

fn presented(request: &HttpRequest, credentials: Credentials) -> Result<Presented, OAuthError> {
    let Credentials { client_id, client_secret, assertion_type, assertion } = credentials;
    let has_assertion = assertion.is_some() || assertion_type.is_some();
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else {
        if has_assertion && client_secret.is_some() {
            return Err(OAuthError::invalid_request(TWO_WAYS));
        }
        if has_assertion {
            return asserted(client_id, &assertion_type.unwrap_or_default(), assertion.unwrap_or_default());
        }
        let client_id = client_id.ok_or_else(|| OAuthError::new("invalid_client", NO_CLIENT))?;
        let secret = client_secret.as_deref().map(PresentedSecret::of);
        return Ok((client_id, secret.map_or(Proof::Nothing, Proof::Secret)));
    };
    if headers.next().is_some() {
        return Err(OAuthError::invalid_request("more than one Authorization header"));
    }
    let (in_header, secret) = value.to_str().ok().and_then(basic).ok_or_else(OAuthError::invalid_client)?;
    if client_secret.is_some() || has_assertion {
        return Err(OAuthError::invalid_request(TWO_WAYS));
    }
    if client_id.is_some_and(|other| other != in_header) {
        return Err(OAuthError::invalid_request("the header and the body name two clients"));
    }
    Ok((in_header, secret.map_or(Proof::Nothing, Proof::Secret)))
}

fn asserted(client_id: Option<String>, kind: &str, assertion: String) -> Result<Presented, OAuthError> {
    let assertion = Assertion::read(kind, PlainSecret::presented(assertion))?;
    if client_id.is_some_and(|other| other != assertion.client_id()) {
        return Err(OAuthError::invalid_request("client_id and client_assertion name two clients"));
    }
    Ok((assertion.client_id().to_owned(), Proof::Signed(Box::new(assertion))))
}

/// The client id and the secret in a Basic header, each form-decoded (RFC 6749 section
/// 2.3.1). An empty secret is none.
fn basic(value: &str) -> Option<(String, Option<PresentedSecret>)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let secret = zeroize::Zeroizing::new(form::decode(secret).ok()?);
    Some((form::decode(id).ok()?, Some(PresentedSecret::of(&secret)).filter(|_| !secret.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_basic_is_form_decoded() {
        let header = format!("bAsIc {}", STANDARD.encode("cli%65nt:se%2Bc+ret"));
        assert_eq!(basic(&header), Some(("client".to_owned(), Some(PresentedSecret::of("se+c ret")))));
        assert_eq!(
            basic(&format!("Basic {}", STANDARD.encode("client:"))),
            Some(("client".to_owned(), None))
        );
        for wrong in ["Basic", "Basic !!!", "Bearer abc", &format!("Basic {}", STANDARD.encode("no colon"))] {
            assert_eq!(basic(wrong), None, "{wrong}");
        }
    }
}
