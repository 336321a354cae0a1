//! An app exchanges a code for a token.

use std::time::Duration;

use grantbook_events::{
    ClientId, CodeExchanged, CodeReplayed, InstallationEvent, InstallationId, SecretDigest, SecretId,
    StreamKind, Timestamp, TokenId,
};
use grantbook_projections::{CodeChallenge, CodeState, Grant, Installation};

use super::code_time::is_over;
use super::issue::{Issued, NewRefresh, TokenRules, granted_resources, superseded};
use super::{Command, Decided, Decision, InstallationRefusal, redirect_uri};

/// Exchange a code. The client is authenticated, and the presented secrets are digested, before this.
#[derive(Debug, Clone)]
pub struct ExchangeCode {
    /// Where the code says it belongs.
    pub installation_id: InstallationId,
    /// The authenticated app.
    pub client_id: ClientId,
    /// The secret that authenticated it; none for a public client.
    pub secret_id: Option<SecretId>,
    /// Codes granted up to this time died with the app's last suspension (C5).
    pub codes_dead_until: Option<Timestamp>,
    /// SHA-256 of the code.
    pub code_digest: SecretDigest,
    /// The redirect URI, if it was named.
    pub redirect_uri: Option<String>,
    /// The S256 challenge of the code verifier, if one was presented.
    pub verifier_challenge: Option<CodeChallenge>,
    /// When the code was presented, by the clock that it lives by.
    pub presented_at: Timestamp,
    /// How long a code lives that is granted now.
    pub code_lifetime: Duration,
    /// Minted for the token, should it be issued.
    pub token_id: TokenId,
    /// SHA-256 of the token, should it be issued.
    pub token_digest: SecretDigest,
    /// Minted for a refresh token, should one be issued.
    pub refresh: NewRefresh,
    /// The resources it is to be for (RFC 8707); none for all that were granted.
    pub resources: Vec<String>,
    /// What holds for the tokens.
    pub rules: TokenRules,
}

impl Command for ExchangeCode {
    const NAME: &'static str = "exchange_code";
    type State = Installation;
    type Answer = Issued;
    type Refusal = InstallationRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::Installation(self.installation_id)
    }

    fn decide(&self, state: Option<&Installation>, now: Timestamp) -> Decided<Self> {
        let installed = state.filter(|installed| installed.client_id == self.client_id);
        let installed = installed.ok_or(InstallationRefusal::CodeUnknown)?;
        let grant = installed.grant_of_code(&self.code_digest).ok_or(InstallationRefusal::CodeUnknown)?;
        // A request that is wrong in itself is only refused: a caller that does not know the verifier or the
        // redirect URI must not be able to burn the code, or the tokens it became (C3).
        self.check(grant)?;
        match grant.code {
            CodeState::Spent(_) => replayed(installed, grant),
            CodeState::Ended => Err(InstallationRefusal::CodeEnded),
            CodeState::Pending if self.codes_dead_until.is_some_and(|dead| grant.granted_at <= dead) => {
                Err(InstallationRefusal::CodeEnded)
            }
            CodeState::Pending if is_over(grant, self.presented_at, self.code_lifetime, now) => {
                Err(InstallationRefusal::CodeExpired)
            }
            CodeState::Pending => self.exchange(installed, grant, now),
        }
    }
}

impl ExchangeCode {
    fn check(&self, grant: &Grant) -> Result<(), InstallationRefusal> {
        match &self.redirect_uri {
            // Named although the authorization request did not: it must still be where the code went.
            Some(uri) if !redirect_uri::is_same(uri, grant.redirect_uri.as_str()) => {
                return Err(InstallationRefusal::RedirectUriMismatch);
            }
            None if grant.redirect_uri_sent => return Err(InstallationRefusal::RedirectUriMissing),
            Some(_) | None => {}
        }
        match (&grant.code_challenge, &self.verifier_challenge) {
            (None, None) => Ok(()),
            (Some(challenge), Some(presented)) if challenge == presented => Ok(()),
            (Some(_), Some(_)) => Err(InstallationRefusal::VerifierMismatch),
            (Some(_), None) => Err(InstallationRefusal::VerifierMissing),
            (None, Some(_)) => Err(InstallationRefusal::VerifierUnexpected),
        }
    }

    fn exchange(&self, installed: &Installation, grant: &Grant, now: Timestamp) -> Decided<Self> {
        let (rules, resources) = (&self.rules, granted_resources(grant, &self.resources)?);
        let expires_at = rules.lifetime.map(|lifetime| now.plus(lifetime));
        let refresh = rules.refresh.map(|refresh| {
            let ends_at = refresh.lifetime.map(|lifetime| now.plus(lifetime));
            self.refresh.issued(refresh, ends_at, now)
        });
        let answer = Issued {
            account_id: installed.account_id.clone(),
            scopes: grant.scopes.to_vec(),
            expires_at,
            has_refresh: refresh.is_some(),
        };
        let superseded = superseded(installed, grant, refresh.is_some(), rules.max_live_per_user, now);
        let exchanged = InstallationEvent::CodeExchanged(CodeExchanged {
            grant_id: grant.grant_id,
            client_id: installed.client_id,
            account_id: installed.account_id.clone(),
            granted_at: grant.granted_at,
            token_id: self.token_id,
            token_digest: self.token_digest,
            user_id: grant.user_id.clone(),
            scopes: grant.scopes.to_vec(),
            expires_at,
            secret_id: self.secret_id,
            resources,
            refresh,
        });
        Ok(Decision::granted(answer, std::iter::once(exchanged).chain(superseded)))
    }
}

/// A spent code in the right hands has leaked, or another party made its first exchange: its tokens
/// end (RFC 6749 section 4.1.2). When none is left, nothing more can follow, and nothing is recorded.
fn replayed(installed: &Installation, grant: &Grant) -> Decided<ExchangeCode> {
    let tokens = grant.ended_tokens();
    if tokens.is_empty() {
        return Err(InstallationRefusal::CodeSpent);
    }
    let refusal = InstallationRefusal::CodeReplayed { grant_id: grant.grant_id, tokens: tokens.len() };
    let event = CodeReplayed {
        grant_id: grant.grant_id,
        client_id: installed.client_id,
        account_id: installed.account_id.clone(),
        user_id: grant.user_id.clone(),
        tokens,
    };
    Ok(Decision::refused_with(refusal, InstallationEvent::CodeReplayed(event)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams, exchange, grant};
    use super::*;
    use grantbook_events::{EndedToken, Event};

    const NOW: i64 = 10_000_000;

    fn granted() -> TestStreams<Installation> {
        let mut streams = TestStreams::installation([]);
        streams.run(&grant(1), NOW).unwrap();
        streams
    }

    fn refused(decision: Decision<Issued, InstallationRefusal>) -> InstallationRefusal {
        assert_eq!(decision.events, [], "a wrong request burns nothing");
        decision.answer.unwrap_err()
    }

    #[test]
    fn c2_a_code_is_exchanged_once() {
        let mut streams = granted();
        let first = streams.run(&exchange(1), NOW + 1);
        assert_eq!(first.unwrap().scopes, ["widgets", "faqs"]);
        let replayed = InstallationRefusal::CodeReplayed { grant_id: testing::grant_id(1), tokens: 1 };
        assert_eq!(streams.decide(&exchange(1), NOW + 2).answer, Err(replayed));
    }

    #[test]
    fn c3_a_replay_that_is_otherwise_right_revokes_the_tokens_once() {
        let mut streams = granted();
        streams.run(&exchange(1), NOW + 1).unwrap();
        let replay = streams.decide(&exchange(1), NOW + 2);
        let ended = EndedToken { token_id: exchange(1).token_id, user_id: grant(1).user_id };
        let expected = CodeReplayed {
            grant_id: testing::grant_id(1),
            client_id: testing::client_id(1),
            account_id: grant(1).account_id,
            user_id: grant(1).user_id,
            tokens: vec![ended],
        };
        assert_eq!(replay.events, [Event::from(InstallationEvent::CodeReplayed(expected))]);
        streams.run(&exchange(1), NOW + 2).unwrap_err();
        assert_eq!(refused(streams.decide(&exchange(1), NOW + 3)), InstallationRefusal::CodeSpent);
    }

    #[test]
    fn c3_a_replay_that_is_wrong_otherwise_is_only_refused() {
        let mut streams = granted();
        streams.run(&exchange(1), NOW + 1).unwrap();
        let wrong = ExchangeCode { redirect_uri: Some("https://evil.example/".to_owned()), ..exchange(1) };
        assert_eq!(refused(streams.decide(&wrong, NOW + 2)), InstallationRefusal::RedirectUriMismatch);
        let wrong = ExchangeCode { verifier_challenge: Some(CodeChallenge([1; 32])), ..exchange(1) };
        assert_eq!(refused(streams.decide(&wrong, NOW + 2)), InstallationRefusal::VerifierUnexpected);
    }

    #[test]
    fn c4_another_apps_code_is_unknown_and_stays_good() {
        let mut streams = granted();
        let other = ExchangeCode { client_id: testing::client_id(9), ..exchange(1) };
        assert_eq!(refused(streams.decide(&other, NOW + 1)), InstallationRefusal::CodeUnknown);
        streams.run(&exchange(1), NOW + 2).unwrap();
    }

    #[test]
    fn c1_a_code_expires() {
        let streams = granted();
        let end = NOW + 60_000_000;
        assert!(streams.decide(&exchange(1), end - 1).answer.is_ok());
        assert_eq!(refused(streams.decide(&exchange(1), end)), InstallationRefusal::CodeExpired);
    }

    #[test]
    fn of_the_codes_of_one_user_that_wait_the_oldest_ends() {
        let most = grantbook_projections::MAX_PENDING_PER_USER as u8;
        let mut streams = TestStreams::installation([]);
        (1..=most).for_each(|n| streams.run(&grant(n), NOW).unwrap());
        let other = super::super::GrantAccess { user_id: "eve".parse().unwrap(), ..grant(most + 1) };
        streams.run(&other, NOW).unwrap();
        assert!(streams.decide(&exchange(1), NOW).answer.is_ok(), "others do not count");
        streams.run(&grant(most + 2), NOW).unwrap();
        assert_eq!(refused(streams.decide(&exchange(1), NOW)), InstallationRefusal::CodeEnded);
        assert!((2..=most + 2).all(|n| streams.decide(&exchange(n), NOW).answer.is_ok()));
    }

    #[test]
    fn c5_a_code_dies_with_a_suspension_and_an_uninstall() {
        let streams = granted();
        let suspended =
            |at| ExchangeCode { codes_dead_until: Some(Timestamp::from_micros(at)), ..exchange(1) };
        assert_eq!(refused(streams.decide(&suspended(NOW), NOW + 1)), InstallationRefusal::CodeEnded);
        assert!(streams.decide(&suspended(NOW - 1), NOW + 1).answer.is_ok());
        let mut streams = granted();
        streams.run(&grant(2), NOW + 1).unwrap();
        streams.run(&exchange(2), NOW + 2).unwrap();
        streams.run(&testing::uninstall(), NOW + 3).unwrap();
        assert_eq!(refused(streams.decide(&exchange(1), NOW + 4)), InstallationRefusal::CodeEnded);
    }

    #[test]
    fn t6_the_redirect_uri_must_be_equal_if_it_was_sent() {
        let mut streams = TestStreams::installation([]);
        streams.run(&super::super::GrantAccess { redirect_uri_sent: true, ..grant(1) }, NOW).unwrap();
        let with = |uri: Option<&str>| ExchangeCode { redirect_uri: uri.map(str::to_owned), ..exchange(1) };
        assert_eq!(refused(streams.decide(&with(None), NOW + 1)), InstallationRefusal::RedirectUriMissing);
        let other = with(Some("https://app.example/callback/"));
        assert_eq!(refused(streams.decide(&other, NOW + 1)), InstallationRefusal::RedirectUriMismatch);
        assert!(streams.decide(&with(Some("https://app.example/callback")), NOW + 1).answer.is_ok());
        let unsent = granted();
        assert!(unsent.decide(&with(Some("https://app.example/callback")), NOW + 1).answer.is_ok());
        assert_eq!(refused(unsent.decide(&other, NOW + 1)), InstallationRefusal::RedirectUriMismatch);
    }

    #[test]
    fn a13_challenge_and_verifier_belong_together() {
        let mut streams = TestStreams::installation([]);
        let challenge = Some(CodeChallenge([7; 32]).to_string());
        streams.run(&super::super::GrantAccess { code_challenge: challenge, ..grant(1) }, NOW).unwrap();
        assert_eq!(refused(streams.decide(&exchange(1), NOW + 1)), InstallationRefusal::VerifierMissing);
        let with =
            |byte: u8| ExchangeCode { verifier_challenge: Some(CodeChallenge([byte; 32])), ..exchange(1) };
        assert_eq!(refused(streams.decide(&with(8), NOW + 1)), InstallationRefusal::VerifierMismatch);
        assert!(streams.decide(&with(7), NOW + 1).answer.is_ok());
        assert_eq!(refused(granted().decide(&with(7), NOW + 1)), InstallationRefusal::VerifierUnexpected);
    }

    #[test]
    fn k1_the_oldest_token_is_superseded_at_the_limit() {
        let mut streams = TestStreams::installation([]);
        for n in 1..=11 {
            streams.run(&grant(n), NOW + i64::from(n) * 10).unwrap();
            streams.run(&exchange(n), NOW + i64::from(n) * 10 + 1).unwrap();
        }
        let live: Vec<_> = streams.token_ids();
        let expected: Vec<_> = (2..=11).map(|n| exchange(n).token_id).collect();
        assert_eq!(live, expected);
    }

    #[test]
    fn an_expiring_token_is_an_addition_never_the_default() {
        let streams = granted();
        assert_eq!(streams.decide(&exchange(1), NOW + 1).answer.unwrap().expires_at, None);
        let rules = TokenRules { lifetime: Some(Duration::from_secs(5)), ..exchange(1).rules };
        let expiring = streams.decide(&ExchangeCode { rules, ..exchange(1) }, NOW).answer.unwrap();
        assert_eq!(expiring.expires_at, Some(Timestamp::from_micros(NOW + 5_000_000)));
    }
}
