//! Client ID metadata documents: fetched and read (D4). Must not know: which of them may be apps here.

use std::time::Duration;

use grantbook_events::Timestamp;

use crate::decisions::app_profile::ProfileError;
use crate::decisions::metadata_document::{DocumentUrl, MetadataDocument};
use crate::outbound::{FetchError, Outbound};

/// How long after it was fetched a document that is wrong is fetched again: its author may have corrected it.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Why an app has no document, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("the document at client_id {0}")]
    Fetch(#[from] FetchError),
    #[error("the document at client_id is wrong: {0}")]
    Wrong(#[from] ProfileError),
}

/// The document at a URL, as it was at most as long ago as its headers allow.
///
/// # Errors
/// If it cannot be had, or is wrong.
pub async fn document(
    outbound: &Outbound,
    url: &DocumentUrl,
    now: Timestamp,
) -> Result<MetadataDocument, DocumentError> {
    if let Ok(document) = MetadataDocument::parse(url, &outbound.document(url.as_str(), now).await?) {
        return Ok(document);
    }
    let text = outbound.document_no_older(url.as_str(), ASKED_AGAIN_AFTER, now).await?;
    Ok(MetadataDocument::parse(url, &text)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outbound::testing::{Does, JSON, Server, answer};
    use crate::outbound::{Allowed, Rules};

    #[tokio::test]
    async fn d4_a_document_is_kept_and_a_wrong_one_can_be_corrected() {
        let server = Server::answering(JSON, "{").await;
        let url = DocumentUrl::parse(&server.url("/client.json")).unwrap();
        let rules = Rules { allowed: Allowed::parse("127.0.0.1").unwrap(), ..Rules::default() };
        let outbound = Outbound::new(rules);
        let read =
            async |seconds: i64| document(&outbound, &url, Timestamp::from_micros(seconds * 1_000_000)).await;
        for (seconds, connections) in [(0, 1), (29, 1), (30, 2)] {
            assert!(matches!(read(seconds).await, Err(DocumentError::Wrong(_))));
            assert_eq!(server.connections(), connections, "{seconds}");
        }
        let right =
            json!({ "client_id": url.as_str(), "redirect_uris": ["http://localhost/cb"] }).to_string();
        server.does(Does::Answers(answer(JSON, &right)));
        assert_eq!(read(60).await.unwrap().name, "127.0.0.1");
        server.does(Does::Answers(answer(JSON, "{")));
        assert!(read(60 + 599).await.is_ok());
        assert_eq!(server.connections(), 3);

        let elsewhere = DocumentUrl::parse("https://name.invalid/client.json").unwrap();
        let refused = document(&outbound, &elsewhere, Timestamp::EPOCH).await;
        assert_eq!(refused, Err(DocumentError::Fetch(FetchError::Refused)));
    }
}
