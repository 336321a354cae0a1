//! Which app a client id names: one that was registered, or one that has a metadata document at the URL which is its id (D4). Knows:
//! which URLs are taken. Must not know: what the app wants.

use std::sync::Arc;

use grantbook_events::{AppSource, ClientId};
use grantbook_projections::App;

use super::documents::{DocumentError, document};
use crate::decisions::RecordDocument;
use crate::decisions::app_profile::ProfileError;
use crate::decisions::metadata_document::DocumentUrl;
use crate::http::Service;
use crate::ledger::LedgerError;

/// An app, and what has to be recorded of it before anything is granted.
pub(super) struct Named {
    pub app: Option<Arc<App>>,
    pub record: Option<RecordDocument>,
}

/// Why an app cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum NamedError {
    /// In words for the app's author.
    #[error("{0}")]
    Document(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<DocumentError> for NamedError {
    fn from(error: DocumentError) -> Self {
        Self::Document(error.to_string())
    }
}

impl From<ProfileError> for NamedError {
    fn from(error: ProfileError) -> Self {
        Self::Document(error.to_string())
    }
}

/// The id, in the ledger, of the app that a client id names. An app with a document has one name only, its URL.
pub(super) fn client_id(named: &str) -> Option<ClientId> {
    match named.parse::<ClientId>() {
        Ok(id) => Some(id).filter(|id| !id.is_of_document()),
        Err(_) => DocumentUrl::parse(named).ok().map(|url| ClientId::of_document(url.as_str())),
    }
}

/// The app that a client id names, as its document is now. What is new is not recorded by this.
pub(super) async fn app(service: &Service, named: &str) -> Result<Named, NamedError> {
    let known = match client_id(named) {
        Some(id) => service.ledger.app(&id).await?,
        None => None,
    };
    let Ok(url) = DocumentUrl::parse(named) else { return Ok(Named { app: known, record: None }) };
    let registration = &service.config.registration;
    if !registration.documents.as_ref().is_some_and(|hosts| hosts.allow(url.host())) {
        return Err(NamedError::Document(format!("apps of {} cannot be installed here", url.host())));
    }
    // Whatever its document says.
    if known.as_ref().is_some_and(|app| !app.is_active()) {
        return Ok(Named { app: known, record: None });
    }
    let document = document(&service.outbound, &url, service.ledger.now()).await?;
    let (policy, catalogue) = (&registration.policy, &service.config.scopes);
    let scopes = policy.scopes(None, catalogue)?;
    // One document is for many servers, and may name scopes of others alone.
    let named = document.scope.as_deref().and_then(|scope| policy.scopes(Some(scope), catalogue).ok());
    let token_policy = service.config.refresh.of_self_registered(document.refreshes);
    let record = RecordDocument::new(&url, document, (scopes, named.unwrap_or_default()), token_policy)?;
    let app = record.app(known.as_deref(), service.ledger.recorded_now());
    Ok(Named { app: Some(app), record: Some(record) })
}

/// The client id of an app, as the app knows it.
pub(super) fn name_of(app: &App) -> String {
    match &app.source {
        AppSource::Document(url) => url.clone(),
        AppSource::Operator | AppSource::Open | AppSource::InitialAccessToken(_) => app.client_id.to_string(),
    }
}

/// The same, of an app by its id in the ledger. Only those with documents have to be looked up.
pub(super) fn name(service: &Service, client_id: ClientId) -> String {
    let app = client_id.is_of_document().then(|| service.ledger.live().app(&client_id)).flatten();
    app.map_or_else(|| client_id.to_string(), |app| name_of(&app))
}
