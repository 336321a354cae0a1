//! Client authentication at the token, revocation and introspection endpoints (RFC 6749 section 2.3; T3, T4).

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantbook_events::{ClientId, SecretDigest, SecretId};
use grantbook_projections::RegisteredApp;

use super::error::OAuthError;
use crate::decisions::client_authentication::{self, ClientError};
use crate::http::context::{Caller, Context};
use crate::http::form::{self, Form};
use crate::http::operator;
use crate::http::service::Service;
use crate::secrets;

/// An app that proved who it is; a public client only said so.
#[derive(Debug)]
pub(super) struct Client {
    pub app: Arc<RegisteredApp>,
    /// Which of its secrets it came with; none for a public client.
    pub secret_id: Option<SecretId>,
}

/// What was presented, digested as soon as it was read.
struct Presented {
    client_id: String,
    secret: Option<PresentedSecret>,
}

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

/// Authenticates the client of a request.
pub(super) async fn authenticate(
    request: &HttpRequest,
    form: &Form,
    service: &Service,
) -> Result<Client, OAuthError> {
    known(request, presented(request, form)?, service).await
}

/// Authenticates who asks about a token: an app that has a secret, or a resource server (`None`) with its key
/// as a client secret. What a public client says of itself proves nothing: its id is known to everybody who has
/// the app.
pub(super) async fn authenticate_by_secret(
    request: &HttpRequest,
    form: &Form,
    service: &Service,
) -> Result<Option<Client>, OAuthError> {
    let presented = presented(request, form)?;
    if let Some(PresentedSecret { digest, is_operator_key: true }) = &presented.secret {
        let is_accepted = operator::is_accepted(service, &presented.client_id, digest).await;
        return is_accepted.then_some(None).ok_or_else(OAuthError::invalid_client);
    }
    let client = known(request, presented, service).await?;
    client.secret_id.is_some().then_some(Some(client)).ok_or_else(OAuthError::invalid_client)
}

async fn known(request: &HttpRequest, presented: Presented, service: &Service) -> Result<Client, OAuthError> {
    let client_id: Option<ClientId> = presented.client_id.parse().ok();
    if let Some(id) = client_id {
        Context::of(request).is_from(Caller::App(id));
    }
    let app = match client_id {
        Some(id) => service.ledger.app(&id).await?,
        None => None,
    };
    // A secret that was retired stays so, however the clock is set.
    let now = service.ledger.recorded_now();
    let digest = presented.secret.map(|secret| secret.digest);
    match client_authentication::authenticate(app.as_deref(), digest.as_ref(), now) {
        Ok(secret_id) => {
            let app = app.ok_or_else(OAuthError::invalid_client)?;
            Ok(Client { app, secret_id })
        }
        Err(ClientError::Failed) => Err(OAuthError::invalid_client()),
        Err(error @ ClientError::Suspended) => Err(OAuthError::unauthorized_client(error.to_string())),
    }
}

fn presented(request: &HttpRequest, form: &Form) -> Result<Presented, OAuthError> {
    let in_body = (form.get("client_id"), form.get("client_secret"));
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(value) = headers.next() else {
        let client_id = in_body.0.ok_or_else(OAuthError::no_client)?.to_owned();
        return Ok(Presented { client_id, secret: in_body.1.map(PresentedSecret::of) });
    };
    if headers.next().is_some() {
        return Err(OAuthError::invalid_request("more than one Authorization header"));
    }
    let (client_id, secret) = value.to_str().ok().and_then(basic).ok_or_else(OAuthError::invalid_client)?;
    if in_body.1.is_some() {
        return Err(OAuthError::invalid_request("authenticate by header or by body, not by both"));
    }
    if in_body.0.is_some_and(|other| other != client_id) {
        return Err(OAuthError::invalid_request("the header and the body name two clients"));
    }
    Ok(Presented { client_id, secret })
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
