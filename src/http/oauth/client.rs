//! Client authentication at the endpoints that apps post to (RFC 6749 section 2.3; T3, T4).

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantbook_events::{ActorKind, ClientId, SecretDigest};

use super::error::OAuthError;
use crate::decisions::client_authentication::ClientError;
use crate::http::{Caller, Context, Service, form, operator};
pub(super) use crate::ledger::AuthenticatedApp as Client;
use crate::ledger::Origin;
use crate::secrets;

/// What is said to a request that names no client.
const NO_CLIENT: &str = "no client authentication: send client_id and client_secret in the body, or by Basic";

/// A client id and a secret, digested as soon as it was read.
type Presented = (String, Option<PresentedSecret>);

/// A secret, as it was presented.
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

/// Authenticates the client of a request, whose form has this id and this secret.
pub(super) async fn authenticate(
    request: &HttpRequest,
    service: &Service,
    client_id: Option<String>,
    client_secret: Option<String>,
) -> Result<Client, OAuthError> {
    find(request, service, presented(request, client_id, client_secret)?).await
}

/// Authenticates who asks about a token: an app that has a secret, or a resource server (`None`) with its key
/// as a client secret. What a public client says of itself proves nothing: its id is known to all who have
/// the app.
pub(super) async fn authenticate_by_secret(
    request: &HttpRequest,
    service: &Service,
    client_id: Option<String>,
    client_secret: Option<String>,
) -> Result<Option<Client>, OAuthError> {
    let presented = presented(request, client_id, client_secret)?;
    if let (key_id, Some(PresentedSecret { digest, is_operator_key: true })) = &presented {
        let is_accepted = operator::is_accepted(service, key_id, digest).await;
        return is_accepted.then_some(None).ok_or_else(OAuthError::invalid_client);
    }
    let client = find(request, service, presented).await?;
    client.secret_id.is_some().then_some(Some(client)).ok_or_else(OAuthError::invalid_client)
}

/// What is recorded of an app that does something.
pub(super) fn origin(client: &Client, context: &Context) -> Origin {
    context.origin(ActorKind::App, client.app.client_id.to_string())
}

async fn find(
    request: &HttpRequest,
    service: &Service,
    (client_id, secret): Presented,
) -> Result<Client, OAuthError> {
    let client_id: Option<ClientId> = client_id.parse().ok();
    if let Some(id) = client_id {
        Context::of(request).is_from(Caller::App(id));
    }
    let digest = secret.map(|secret| secret.digest);
    service.ledger.authenticate(client_id.as_ref(), digest.as_ref()).await?.map_err(|error| match error {
        ClientError::Failed => OAuthError::invalid_client(),
        ClientError::Suspended => OAuthError::new("unauthorized_client", error.to_string()),
    })
}

fn presented(
    request: &HttpRequest,
    client_id: Option<String>,
    client_secret: Option<String>,
) -> Result<Presented, OAuthError> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else {
        let client_id = client_id.ok_or_else(|| OAuthError::new("invalid_client", NO_CLIENT))?;
        return Ok((client_id, client_secret.as_deref().map(PresentedSecret::of)));
    };
    if headers.next().is_some() {
        return Err(OAuthError::invalid_request("more than one Authorization header"));
    }
    let (in_header, secret) = value.to_str().ok().and_then(basic).ok_or_else(OAuthError::invalid_client)?;
    if client_secret.is_some() {
        return Err(OAuthError::invalid_request("authenticate by header or by body, not by both"));
    }
    if client_id.is_some_and(|other| other != in_header) {
        return Err(OAuthError::invalid_request("the header and the body name two clients"));
    }
    Ok((in_header, secret))
}

/// The client id and the secret in a Basic header, each form-decoded (RFC 6749 section
/// 2.3.1). An empty secret is none.
fn basic(value: &str) -> Option<Presented> {
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
