//! A user approves an app for an account: a code is issued.

use std::time::Duration;

use grantbook_events::{
    AccessGranted, AccountId, ClientId, GrantId, InstallationEvent, InstallationId, SecretDigest, StreamKind,
    Timestamp, UserId,
};
use grantbook_projections::{CodeState, Grant, Installation};

use super::code_time::is_over;
use super::{Command, Decided, Decision, InstallationRefusal};

/// Grant access. The grant id was minted with the consent form, so a form sent twice is one grant (A11): while
/// its code can still be exchanged, the answer is yes again, for a caller that can make the same code again.
#[derive(Debug, Clone)]
pub struct GrantAccess {
    /// Minted with the consent form.
    pub grant_id: GrantId,
    /// The app.
    pub client_id: ClientId,
    /// The account.
    pub account_id: AccountId,
    /// Who approved.
    pub user_id: UserId,
    /// Canonical names of the scopes approved.
    pub scopes: Vec<String>,
    /// Where the code goes.
    pub redirect_uri: String,
    /// Whether the authorization request named it.
    pub redirect_uri_sent: bool,
    /// The resources that tokens of it are for (RFC 8707); none for any.
    pub resources: Vec<String>,
    /// The S256 code challenge, if there is one.
    pub code_challenge: Option<String>,
    /// SHA-256 of the code.
    pub code_digest: SecretDigest,
    /// How long the code lives.
    pub code_lifetime: Duration,
    /// Codes granted up to this time died with the app's last suspension (C5).
    pub codes_dead_until: Option<Timestamp>,
    /// When it was approved, by the clock that the code lives by.
    pub approved_at: Timestamp,
    /// Recorded no earlier than this ([`App::first_grant_at`](grantbook_projections::App)).
    pub not_before: Timestamp,
}

impl Command for GrantAccess {
    const NAME: &'static str = "grant_access";
    type State = Installation;
    type Answer = ();
    type Refusal = InstallationRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::Installation(InstallationId::of(&self.client_id, &self.account_id))
    }

    fn not_before(&self) -> Timestamp {
        self.not_before
    }

    fn decide(&self, state: Option<&Installation>, now: Timestamp) -> Decided<Self> {
        if let Some(grant) = state.and_then(|installed| installed.grant(self.grant_id)) {
            let is_same = self.made(grant) && self.is_open(grant, now);
            return if is_same { Ok(Decision::already(())) } else { Err(InstallationRefusal::FormUsed) };
        }
        let event = AccessGranted {
            grant_id: self.grant_id,
            client_id: self.client_id,
            account_id: self.account_id.clone(),
            user_id: self.user_id.clone(),
            scopes: self.scopes.clone(),
            redirect_uri: self.redirect_uri.clone(),
            redirect_uri_sent: self.redirect_uri_sent,
            code_digest: self.code_digest,
            code_expires_at: self.approved_at.plus(self.code_lifetime),
            code_challenge: self.code_challenge.clone(),
            resources: self.resources.clone(),
        };
        Ok(Decision::granted((), [InstallationEvent::AccessGranted(event)]))
    }
}

impl GrantAccess {
    /// Whether this would grant what was granted, by the same code to the same place.
    fn made(&self, grant: &Grant) -> bool {
        grant.code_digest == self.code_digest && grant.redirect_uri.as_str() == self.redirect_uri
    }

    /// Whether the code can still be exchanged. Sending a spent one again would revoke its token (C3).
    fn is_open(&self, grant: &Grant, now: Timestamp) -> bool {
        grant.code == CodeState::Pending
            && !is_over(grant, self.approved_at, self.code_lifetime, now)
            && self.codes_dead_until.is_none_or(|dead| grant.granted_at > dead)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams};
    use super::*;

    #[test]
    fn c1_the_code_expires_after_its_lifetime() {
        let decided = TestStreams::installation([]).decide(&testing::grant(1), 1_000);
        let [grantbook_events::Event::Installation(InstallationEvent::AccessGranted(event))] =
            &decided.events[..]
        else {
            panic!("{decided:?}")
        };
        // By the clock, wherever recorded time is.
        assert_eq!(event.code_expires_at, testing::NOW.plus(Duration::from_secs(60)));
        assert_eq!(decided.answer, Ok(()));
    }

    #[test]
    fn a11_a_form_posted_twice_makes_one_code() {
        let mut streams = TestStreams::installation([]);
        streams.run(&testing::grant(1), 1_000).unwrap();
        assert_eq!(streams.decide(&testing::grant(1), 1_001), Decision::already(()));
        let end = testing::NOW.plus(Duration::from_secs(60));
        let at = |approved_at| GrantAccess { approved_at, ..testing::grant(1) };
        let last = Timestamp::from_micros(end.as_micros() - 1);
        assert_eq!(streams.decide(&at(last), 1_001), Decision::already(()));
        assert_eq!(streams.decide(&at(end), 1_001), Decision::refused(InstallationRefusal::FormUsed));
        assert_eq!(
            streams.decide(&testing::grant(1), end.as_micros()),
            Decision::refused(InstallationRefusal::FormUsed)
        );
        assert!(streams.decide(&testing::grant(2), 1_001).answer.is_ok());
    }

    #[test]
    fn a11_a_form_posted_again_leads_nowhere_else_and_never_to_a_dead_code() {
        let mut streams = TestStreams::installation([]);
        streams.run(&testing::grant(1), 1_000).unwrap();
        let refused = Decision::refused(InstallationRefusal::FormUsed);
        let other_code = GrantAccess { code_digest: testing::digest(77), ..testing::grant(1) };
        let elsewhere =
            GrantAccess { redirect_uri: "https://app.example/new".to_owned(), ..testing::grant(1) };
        let suspended =
            GrantAccess { codes_dead_until: Some(Timestamp::from_micros(1_000)), ..testing::grant(1) };
        for again in [&other_code, &elsewhere, &suspended] {
            assert_eq!(streams.decide(again, 1_001), refused, "{again:?}");
        }
        streams.run(&testing::exchange(1), 1_002).unwrap();
        assert_eq!(streams.decide(&testing::grant(1), 1_003), refused, "the code is spent");
        streams.run(&testing::uninstall(), 1_004).unwrap();
        streams.run(&testing::grant(2), 1_005).unwrap();
        streams.run(&testing::uninstall(), 1_006).unwrap();
        assert_eq!(streams.decide(&testing::grant(2), 1_007), refused, "the code was ended");
    }
}
