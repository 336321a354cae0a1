//! One token ends (K3, K4), or one grant with all its tokens (R7).

use grantbook_events::{
    ClientId, GrantId, InstallationId, RevocationReason, SecretDigest, StreamKind, Timestamp, TokenId, UserId,
};
use grantbook_projections::{Grant, Installation, TokenKind};

use super::issue::{grant_revoked, token_revoked};
use super::refusal::check_note;
use super::{Command, Decided, Decision, InstallationRefusal};

/// Revoke a token: exactly one, named by its id or known by its digest. A refresh token stands for its grant, and so does
/// each token of a grant for its user, who did not approve the tokens one by one: all of them end.
#[derive(Debug, Clone)]
pub struct RevokeToken {
    /// Where the token belongs.
    pub installation_id: InstallationId,
    /// Which token.
    pub token: WhichToken,
    /// Who may want this; the token of another holder is unknown.
    pub holder: TokenHolder,
    /// Why.
    pub reason: RevocationReason,
    /// Why, in an operator's words.
    pub note: Option<String>,
}

/// Which token of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichToken {
    /// The one with this id.
    Id(TokenId),
    /// The one with this digest, because it was presented.
    Digest(SecretDigest),
    /// The refresh token of the grant whose refresh tokens have the part in common that has this digest: one was
    /// presented, perhaps not the last one.
    Family(SecretDigest),
    /// Those of the grant with this id.
    Grant(GrantId),
}

/// Who wants the token to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenHolder {
    /// The app it was issued to.
    App(ClientId),
    /// The user who approved.
    User(UserId),
    /// An operator, or anyone who found the token: they may end any.
    Operator,
}

impl Command for RevokeToken {
    const NAME: &'static str = "revoke_token";
    type State = Installation;
    type Answer = TokenId;
    type Refusal = InstallationRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::Installation(self.installation_id)
    }

    fn decide(&self, state: Option<&Installation>, _now: Timestamp) -> Decided<Self> {
        check_note(self.note.as_ref())?;
        let installed = state.filter(|installed| match &self.holder {
            TokenHolder::App(client_id) => installed.client_id == *client_id,
            TokenHolder::User(_) | TokenHolder::Operator => true,
        });
        let installed = installed.ok_or(InstallationRefusal::TokenUnknown)?;
        let grant = match &self.token {
            WhichToken::Id(id) => installed.grant_of_token(*id),
            WhichToken::Digest(digest) => installed.grant_of_token_digest(digest),
            WhichToken::Family(digest) => installed.grant_of_family(digest),
            WhichToken::Grant(id) => installed.grant(*id),
        };
        let grant = grant.filter(|grant| self.may_end(grant)).ok_or(InstallationRefusal::TokenUnknown)?;
        let held = grant.tokens().find(|held| match &self.token {
            WhichToken::Id(id) => held.token.token_id == *id,
            WhichToken::Digest(digest) => held.token.digest == *digest,
            WhichToken::Family(_) | WhichToken::Grant(_) => true,
        });
        let held = held.ok_or(InstallationRefusal::TokenUnknown)?;
        let ends_grant = match (held.kind, &self.holder) {
            (TokenKind::Refresh, _) => true,
            (TokenKind::Access, TokenHolder::User(_)) => grant.family().is_some(),
            (TokenKind::Access, TokenHolder::App(_) | TokenHolder::Operator) => {
                matches!(self.token, WhichToken::Family(_) | WhichToken::Grant(_))
            }
        };
        let token_id = held.token.token_id;
        let event = match ends_grant {
            true => grant_revoked(installed, grant, self.reason, self.note.clone()),
            false => token_revoked(installed, grant, token_id, self.reason, self.note.clone()),
        };
        Ok(Decision::granted(token_id, [event]))
    }
}

impl RevokeToken {
    fn may_end(&self, grant: &Grant) -> bool {
        match &self.holder {
            TokenHolder::User(user) => grant.user_id == *user,
            TokenHolder::App(_) | TokenHolder::Operator => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::{REASON_MAX, UnreadableText};
    use super::super::testing::{self, TestStreams, exchange, grant};
    use super::*;
    use grantbook_events::{InstallationEvent, TokenRevoked};

    fn revoke(holder: TokenHolder) -> RevokeToken {
        RevokeToken {
            installation_id: exchange(1).installation_id,
            token: WhichToken::Id(exchange(1).token_id),
            holder,
            reason: RevocationReason::Operator,
            note: None,
        }
    }

    fn two_tokens() -> TestStreams<Installation> {
        let mut streams = TestStreams::installation([]);
        for n in [1, 2] {
            streams.run(&grant(n), 10).unwrap();
            streams.run(&exchange(n), 11).unwrap();
        }
        streams
    }

    #[test]
    fn k4_one_token_ends_and_no_other() {
        let mut streams = two_tokens();
        assert_eq!(streams.run(&revoke(TokenHolder::Operator), 12), Ok(exchange(1).token_id));
        let left: Vec<_> = streams.token_ids();
        assert_eq!(left, [exchange(2).token_id]);
        assert_eq!(
            streams.decide(&revoke(TokenHolder::Operator), 13),
            Decision::refused(InstallationRefusal::TokenUnknown)
        );
    }

    #[test]
    fn what_the_operator_says_is_recorded_if_it_can_be_read() {
        let streams = two_tokens();
        let noted = |note: &str| RevokeToken { note: Some(note.to_owned()), ..revoke(TokenHolder::Operator) };
        let event = TokenRevoked {
            token_id: exchange(1).token_id,
            client_id: testing::client_id(1),
            account_id: grant(1).account_id,
            user_id: grant(1).user_id,
            reason: RevocationReason::Operator,
            note: Some("seen in a log".to_owned()),
        };
        assert_eq!(
            streams.decide(&noted("seen in a log"), 12).events,
            [InstallationEvent::TokenRevoked(event).into()]
        );
        let unread = InstallationRefusal::Text(UnreadableText { what: "note", limit: REASON_MAX });
        assert_eq!(streams.decide(&noted(" "), 12), Decision::refused(unread));
    }

    #[test]
    fn k3_never_another_clients_token_nor_another_users() {
        let streams = two_tokens();
        for stranger in
            [TokenHolder::App(testing::client_id(9)), TokenHolder::User("stranger".parse().unwrap())]
        {
            assert_eq!(
                streams.decide(&revoke(stranger), 12),
                Decision::refused(InstallationRefusal::TokenUnknown)
            );
        }
        for holder in [TokenHolder::App(testing::client_id(1)), TokenHolder::User(grant(1).user_id)] {
            assert!(streams.decide(&revoke(holder), 12).answer.is_ok());
        }
    }

    #[test]
    fn a_presented_token_is_known_by_its_digest() {
        let streams = two_tokens();
        let by_digest = RevokeToken {
            token: WhichToken::Digest(exchange(2).token_digest),
            ..revoke(TokenHolder::App(testing::client_id(1)))
        };
        assert_eq!(streams.decide(&by_digest, 12).answer, Ok(exchange(2).token_id));
    }
}
