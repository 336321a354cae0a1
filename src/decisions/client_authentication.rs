//! Whether the party at the token or revocation endpoint is the app it says it is (T4, T5).

use grantbook_events::{SecretDigest, SecretId, Timestamp};
use grantbook_projections::{App, AppStatus, ClientSecret};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// `invalid_client`: unknown, deleted, no secret, or a wrong one. Which of these is not told.
    #[error("client authentication failed")]
    Failed,
    /// `unauthorized_client`: it is the app, and it is suspended.
    #[error("the app is suspended")]
    Suspended,
}

/// Authenticates a client by the digest of the secret it presented; `None` if it presented none, which is
/// right for a public client only. Answers which secret it was.
///
/// The same work is done for an unknown client as for a wrong secret, so that the time tells nothing.
pub fn authenticate(
    app: Option<&App>,
    presented: Option<&SecretDigest>,
    now: Timestamp,
) -> Result<Option<SecretId>, ClientError> {
    let app = app.filter(|app| !matches!(app.status, AppStatus::Deleted { .. }));
    let matched = presented.map(|presented| matching_secret(app, presented, now));
    let Some(app) = app else { return Err(ClientError::Failed) };
    let secret_id = match (app.confidential, matched) {
        (true, Some(Some(secret_id))) => Some(secret_id),
        (false, None) => None,
        (true, Some(None) | None) | (false, Some(_)) => return Err(ClientError::Failed),
    };
    check_status(app).map(|()| secret_id)
}

/// Whether an app that proved who it is may do anything.
///
/// # Errors
/// If it is out of service.
pub fn check_status(app: &App) -> Result<(), ClientError> {
    match app.status {
        AppStatus::Active => Ok(()),
        // To the app, not being understood is being out of service.
        AppStatus::Suspended { .. } | AppStatus::Quarantined { .. } => Err(ClientError::Suspended),
        AppStatus::Deleted { .. } => Err(ClientError::Failed),
    }
}

/// How many secrets are compared whatever the app has.
const COMPARED: usize = super::MAX_LIVE_SECRETS;

fn matching_secret(app: Option<&App>, presented: &SecretDigest, now: Timestamp) -> Option<SecretId> {
    let live: Vec<&ClientSecret> = app.map(|app| app.live_secrets(now).collect()).unwrap_or_default();
    let nothing = [0; 32];
    let mut found = u8::MAX;
    for at in 0..COMPARED.max(live.len()) {
        let digest = live.get(at).map_or(&nothing, |secret| secret.digest.as_bytes());
        let equal: Choice = digest.ct_eq(presented.as_bytes()) & Choice::from(u8::from(at < live.len()));
        found.conditional_assign(&(at as u8), equal);
    }
    live.get(usize::from(found)).map(|secret| secret.secret_id)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn digest(byte: u8) -> SecretDigest {
        SecretDigest::new([byte; 32])
    }

    fn app_with(secrets: &[(u8, Option<i64>)]) -> App {
        let mut app = testing::registered_app();
        app.secrets = secrets
            .iter()
            .map(|&(byte, end)| ClientSecret {
                secret_id: testing::secret_id(byte),
                digest: digest(byte),
                added_at: Timestamp::EPOCH,
                retires_at: end.map(Timestamp::from_micros),
            })
            .collect();
        app
    }

    #[test]
    fn t5_two_live_secrets_during_rotation_and_none_after_its_time() {
        let app = app_with(&[(1, Some(100)), (2, None)]);
        let at =
            |presented, now| authenticate(Some(&app), Some(&digest(presented)), Timestamp::from_micros(now));
        assert_eq!(at(1, 99), Ok(Some(testing::secret_id(1))));
        assert_eq!(at(2, 99), Ok(Some(testing::secret_id(2))));
        assert_eq!(at(1, 100), Err(ClientError::Failed));
        assert_eq!(at(2, 100), Ok(Some(testing::secret_id(2))));
        assert_eq!(at(0, 99), Err(ClientError::Failed), "the filler is no secret");
    }

    #[test]
    fn t4_unknown_client_and_wrong_secret_answer_alike() {
        let app = app_with(&[(1, None)]);
        let failed = Err(ClientError::Failed);
        assert_eq!(authenticate(None, Some(&digest(1)), Timestamp::EPOCH), failed);
        assert_eq!(authenticate(Some(&app), Some(&digest(9)), Timestamp::EPOCH), failed);
        assert_eq!(authenticate(Some(&app), None, Timestamp::EPOCH), failed);
        let deleted = App { status: AppStatus::Deleted { reason: String::new() }, ..app };
        assert_eq!(authenticate(Some(&deleted), Some(&digest(1)), Timestamp::EPOCH), failed);
    }

    #[test]
    fn a_public_client_presents_nothing() {
        let app = App { confidential: false, ..app_with(&[]) };
        assert_eq!(authenticate(Some(&app), None, Timestamp::EPOCH), Ok(None));
        assert_eq!(authenticate(Some(&app), Some(&digest(1)), Timestamp::EPOCH), Err(ClientError::Failed));
    }

    #[test]
    fn c5_a_suspended_app_is_told_so_only_with_its_secret() {
        let app = App { status: AppStatus::Suspended { reason: String::new() }, ..app_with(&[(1, None)]) };
        assert_eq!(authenticate(Some(&app), Some(&digest(1)), Timestamp::EPOCH), Err(ClientError::Suspended));
        assert_eq!(authenticate(Some(&app), Some(&digest(2)), Timestamp::EPOCH), Err(ClientError::Failed));
    }
}
