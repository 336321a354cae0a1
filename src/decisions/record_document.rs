//! An app with a client ID metadata document becomes an app of the ledger (D4), and is changed when its document is. Must not know: how a
//! document is fetched.
//!
//! It is recorded when a person approves it, and not before, so that nobody can fill the ledger by naming URLs.

use std::sync::Arc;

use grantbook_events::{
    AppEvent, AppRegistered, AppSource, AppUpdated, ClientId, StreamKind, Timestamp, TokenPolicy,
};
use grantbook_projections::App;

use super::app_profile::{ProfileError, check_homepage};
use super::metadata_document::{DocumentUrl, MetadataDocument};
use super::update_app::{really_changed, registered};
use super::{AppRefusal, Command, Decided, Decision};

/// Record what a document says. It was checked when this was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordDocument(AppRegistered);

impl RecordDocument {
    /// With the scopes that it may ask for, and those it gets if it asks for none.
    ///
    /// # Errors
    /// If the document has a page that people may not follow.
    pub fn new(
        url: &DocumentUrl,
        document: MetadataDocument,
        (scopes, default_scopes): (Vec<String>, Vec<String>),
        token_policy: TokenPolicy,
    ) -> Result<Self, ProfileError> {
        Ok(Self(AppRegistered {
            client_id: ClientId::of_document(url.as_str()),
            name: document.name,
            // Nobody has checked who it is: what is known is where the document is.
            owner: url.host().to_owned(),
            homepage: Some(check_homepage(&document.homepage)?).filter(|page| !page.is_empty()),
            redirect_uris: document.redirect_uris,
            scopes,
            default_scopes,
            secret: None,
            keys: document.keys,
            token_policy,
            requires_pushed_requests: false,
            source: AppSource::Document(url.as_str().to_owned()),
            registration_digest: None,
        }))
    }

    pub const fn client_id(&self) -> ClientId {
        self.0.client_id
    }

    /// The app as it will be once this is recorded.
    pub fn app(&self, known: Option<&App>, now: Timestamp) -> Arc<App> {
        Arc::new(match known {
            None => App::unrecorded(&self.0, now),
            Some(app) => app.with(&self.changes(app)),
        })
    }

    /// What its author says. What it may do and how long its tokens live is not among this: that is settled when it is recorded, and an
    /// operator may have changed it since.
    fn changes(&self, app: &App) -> AppUpdated {
        let said = AppUpdated {
            name: Some(self.0.name.clone()),
            homepage: Some(self.0.homepage.clone().unwrap_or_default()),
            redirect_uris: Some(self.0.redirect_uris.clone()),
            keys: Some(self.0.keys.clone()),
            ..AppUpdated::default()
        };
        really_changed(&said, app)
    }
}

impl Command for RecordDocument {
    const NAME: &'static str = "record_document";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.0.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        if state.is_none() {
            return Ok(Decision::granted((), [AppEvent::Registered(self.0.clone())]));
        }
        let changes = self.changes(registered(state)?);
        if changes == AppUpdated::default() {
            return Ok(Decision::already(()));
        }
        Ok(Decision::granted((), [AppEvent::Updated(changes)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestStreams;
    use super::super::{Changes, DeleteApp, UpdateApp};
    use super::*;
    use crate::decisions::scopes::ScopeCatalogue;
    use grantbook_events::Event;
    use serde_json::json;

    const URL: &str = "https://app.example/client.json";

    fn record(name: &str) -> RecordDocument {
        let url = DocumentUrl::parse(URL).unwrap();
        let text =
            json!({ "client_id": URL, "client_name": name, "redirect_uris": ["https://app.example/cb"] });
        let document = MetadataDocument::parse(&url, text.to_string().as_bytes()).unwrap();
        RecordDocument::new(&url, document, (vec!["faqs".to_owned()], Vec::new()), TokenPolicy::default())
            .unwrap()
    }

    #[test]
    fn d4_a_document_is_recorded_once_and_again_only_if_it_says_something_else() {
        let mut streams = TestStreams::<App>::empty();
        let first = record("Notes");
        let before = first.app(None, Timestamp::EPOCH);
        streams.run(&first, 0).unwrap();
        assert_eq!(streams.decide(&first, 1), Decision::already(()));
        let renamed = AppUpdated { name: Some("New notes".to_owned()), ..AppUpdated::default() };
        let decision = streams.decide(&record("New notes"), 1);
        assert_eq!(decision.events, [Event::from(AppEvent::Updated(renamed))]);
        assert_eq!(before.client_id, ClientId::of_document(URL));
        assert_eq!((before.owner.as_str(), before.confidential), ("app.example", false));
        let shown = record("New notes").app(Some(&before), Timestamp::EPOCH);
        assert_eq!(shown.name, "New notes");
    }

    #[test]
    fn d4_what_an_operator_settled_stays_and_a_deleted_app_does_not_come_back() {
        let mut streams = TestStreams::<App>::empty();
        streams.run(&record("Notes"), 0).unwrap();
        let client_id = ClientId::of_document(URL);
        let changes = Changes { scopes: Some(vec!["widgets".to_owned()]), ..Changes::default() };
        streams.run(&UpdateApp::new(client_id, &changes, &ScopeCatalogue::default()).unwrap(), 1).unwrap();
        assert_eq!(streams.decide(&record("Notes"), 2), Decision::already(()));
        streams.run(&DeleteApp { client_id, reason: "abuse".to_owned() }, 3).unwrap();
        assert_eq!(streams.decide(&record("Notes"), 4), Decision::refused(AppRefusal::Unknown));
    }
}
