//! Which app a caller is. Knows: apps, and the secrets they are known by. Must not know: how a caller presents them.

use std::sync::Arc;

use grantbook_events::{ClientId, SecretDigest, SecretId};
use grantbook_projections::App;

use super::{Ledger, LedgerError};
use crate::decisions::client_authentication::{self, ClientError};

/// An app that proved who it is; a public client only said so.
#[derive(Debug)]
pub struct AuthenticatedApp {
    pub app: Arc<App>,
    /// Which of its secrets was presented; none for a public client, and for one that signed.
    pub secret_id: Option<SecretId>,
}

impl Ledger {
    /// Authenticates a client by the digest of the secret it presented. Takes the same time for an unknown client as
    /// for a wrong secret.
    ///
    /// # Errors
    /// If the store must be asked, and fails.
    pub async fn authenticate(
        &self,
        client_id: Option<&ClientId>,
        presented: Option<&SecretDigest>,
    ) -> Result<Result<AuthenticatedApp, ClientError>, LedgerError> {
        let app = match client_id {
            Some(id) => self.app(id).await?,
            None => None,
        };
        // A secret that was retired stays so, however the clock is set.
        let now = self.recorded_now();
        let secret_id = client_authentication::authenticate(app.as_deref(), presented, now);
        Ok(secret_id.and_then(|secret_id| {
            app.map(|app| AuthenticatedApp { app, secret_id }).ok_or(ClientError::Failed)
        }))
    }
}
