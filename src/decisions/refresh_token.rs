//! An app exchanges a refresh token for new tokens (RFC 6749 section 6, RFC 9700 section 4.14).
//!
//! Each use rotates the refresh token. A spent one that comes back has been copied: by a thief, or from one. Nobody can
//! tell who of the two is asking, so every token of the grant ends. There is one innocent reason, a reply that was lost:
//! so for a short time the same request gets the same reply again. As it is the same pair of tokens and not another one,
//! a thief who is quick shares the pair with the app, and the next refresh of either makes the other one's a replay.

use std::time::Duration;

use grantbook_events::{
    ClientId, InstallationEvent, InstallationId, RefreshReplayed, SecretDigest, SecretId, StreamKind,
    Timestamp, TokenId, TokenRefreshed,
};
use grantbook_projections::{Family, Grant, Installation};

use super::issue::{Issued, NewRefresh, RefreshRules, TokenRules, granted_resources, superseded};
use super::{Command, Decided, Decision, InstallationRefusal};

/// Refresh a token. The client is authenticated, and the presented token is digested, before this.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    /// Where the refresh token says it belongs.
    pub installation_id: InstallationId,
    /// The authenticated app.
    pub client_id: ClientId,
    /// The secret that authenticated it, if one did.
    pub secret_id: Option<SecretId>,
    /// SHA-256 of the refresh token.
    pub digest: SecretDigest,
    /// The scopes wanted, by their canonical names; `None` for all that were granted.
    pub scopes: Option<Vec<String>>,
    /// The resources wanted (RFC 8707); none for all that were granted.
    pub resources: Vec<String>,
    /// Minted for the access token.
    pub token_id: TokenId,
    /// SHA-256 of the access token, which follows from the refresh token that was presented.
    pub token_digest: SecretDigest,
    /// The next refresh token, which follows from it too.
    pub refresh: NewRefresh,
    /// What holds for the tokens.
    pub rules: TokenRules,
    /// How long an access token lives of an app that is to have no refresh tokens any more: it goes on with those it has.
    pub default_lifetime: Duration,
    /// How long its refresh tokens live.
    pub default_refresh: RefreshRules,
    /// For how long the same request gets the same reply.
    pub grace: Duration,
}

impl Command for RefreshToken {
    const NAME: &'static str = "refresh_token";
    type State = Installation;
    type Answer = Issued;
    type Refusal = InstallationRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::Installation(self.installation_id)
    }

    fn decide(&self, state: Option<&Installation>, now: Timestamp) -> Decided<Self> {
        let installed = state.filter(|installed| installed.client_id == self.client_id);
        let installed = installed.ok_or(InstallationRefusal::RefreshUnknown)?;
        let grant = installed.grant_of_family(&self.refresh.family_digest);
        let grant = grant.ok_or(InstallationRefusal::RefreshUnknown)?;
        let family = grant.family().ok_or(InstallationRefusal::RefreshUnknown)?;
        match family.refresh() {
            Some(token) if token.digest == self.digest => {
                if !token.is_unexpired(now) {
                    return Err(InstallationRefusal::RefreshExpired);
                }
                self.refresh(installed, (grant, family), token.token_id, now)
            }
            Some(_) | None if self.may_be_lost(family, now) => {
                self.reply_again(installed, (grant, family), now)
            }
            Some(_) | None => Ok(replayed(installed, grant)),
        }
    }
}

impl RefreshToken {
    fn refresh(
        &self,
        installed: &Installation,
        (grant, family): (&Grant, &Family),
        spent_token_id: TokenId,
        now: Timestamp,
    ) -> Decided<Self> {
        let scopes = self.wanted_scopes(grant)?;
        let resources = granted_resources(grant, &self.resources)?;
        let expires_at = Some(now.plus(self.rules.lifetime.unwrap_or(self.default_lifetime)));
        let refresh_rules = self.rules.refresh.unwrap_or(self.default_refresh);
        let event = InstallationEvent::TokenRefreshed(TokenRefreshed {
            grant_id: grant.grant_id,
            client_id: installed.client_id,
            account_id: installed.account_id.clone(),
            user_id: grant.user_id.clone(),
            spent_token_id,
            token_id: self.token_id,
            token_digest: self.token_digest,
            scopes: scopes.clone(),
            expires_at,
            secret_id: self.secret_id,
            resources,
            refresh: self.refresh.issued(refresh_rules, family.ends_at(), now),
        });
        let superseded = superseded(installed, grant, false, self.rules.max_live_per_user, now);
        Ok(Decision::granted(issued(installed, scopes, expires_at), std::iter::once(event).chain(superseded)))
    }

    /// Canonical names of what was granted, or of the part of it that is wanted (R4).
    fn wanted_scopes(&self, grant: &Grant) -> Result<Vec<String>, InstallationRefusal> {
        let Some(wanted) = &self.scopes else { return Ok(grant.scopes.to_vec()) };
        match wanted.iter().all(|scope| grant.scopes.contains(scope)) {
            true => Ok(wanted.clone()),
            false => Err(InstallationRefusal::ScopeNotGranted { granted: grant.scopes.as_str().to_owned() }),
        }
    }

    /// Whether it is the token that was used last, a short time ago.
    fn may_be_lost(&self, family: &Family, now: Timestamp) -> bool {
        family.spent.is_some_and(|spent| spent.digest == self.digest && now < spent.at.plus(self.grace))
    }

    /// The tokens that were issued for it the first time. Nothing ends if these are not there any more.
    fn reply_again(
        &self,
        installed: &Installation,
        (grant, family): (&Grant, &Family),
        now: Timestamp,
    ) -> Decided<Self> {
        let refresh = family.refresh().filter(|token| token.digest == self.refresh.digest);
        let mut access = grant.access_tokens();
        let access =
            access.find(|held| held.token.digest == self.token_digest && held.token.is_unexpired(now));
        let (Some(_), Some(access)) = (refresh, access) else {
            return Err(InstallationRefusal::RefreshSpent);
        };
        let scopes = self.wanted_scopes(grant)?;
        let resources = granted_resources(grant, &self.resources)?;
        if !access.scopes.iter().eq(&scopes) || !access.resources.iter().eq(&resources) {
            return Err(InstallationRefusal::RefreshedOtherwise);
        }
        Ok(Decision::already(issued(installed, scopes, access.token.expires_at())))
    }
}

fn issued(installed: &Installation, scopes: Vec<String>, expires_at: Option<Timestamp>) -> Issued {
    Issued { account_id: installed.account_id.clone(), scopes, expires_at, has_refresh: true }
}

/// Every token of the grant ends (R3).
fn replayed(installed: &Installation, grant: &Grant) -> Decision<Issued, InstallationRefusal> {
    let tokens = grant.ended_tokens();
    let refusal = InstallationRefusal::RefreshReplayed { grant_id: grant.grant_id, tokens: tokens.len() };
    let event = RefreshReplayed {
        grant_id: grant.grant_id,
        client_id: installed.client_id,
        account_id: installed.account_id.clone(),
        user_id: grant.user_id.clone(),
        tokens,
    };
    Decision::refused_with(refusal, InstallationEvent::RefreshReplayed(event))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams, exchange, grant, uninstall};
    use super::super::{RevokeToken, TokenHolder, WhichToken};
    use super::*;
    use grantbook_events::{EndedToken, Event, RevocationReason};

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    /// When the codes below are exchanged.
    const NOW: i64 = testing::NOW.as_micros();

    fn rules() -> TokenRules {
        let refresh = RefreshRules {
            idle: Some(Duration::from_secs(3 * 86400)),
            lifetime: Some(Duration::from_secs(7 * 86400)),
        };
        TokenRules {
            lifetime: Some(Duration::from_secs(3600)),
            refresh: Some(refresh),
            max_live_per_user: 10,
        }
    }

    /// Refreshes what came with token `spent`, for token `next`.
    fn refresh(family: u8, spent: u8, next: u8) -> RefreshToken {
        let family_digest = testing::new_refresh(family).family_digest;
        RefreshToken {
            installation_id: exchange(1).installation_id,
            client_id: testing::client_id(1),
            secret_id: None,
            digest: testing::new_refresh(spent).digest,
            scopes: None,
            resources: Vec::new(),
            token_id: testing::token_id(next),
            token_digest: exchange(next).token_digest,
            refresh: NewRefresh { family_digest, ..testing::new_refresh(next) },
            rules: rules(),
            default_lifetime: Duration::from_secs(60),
            default_refresh: RefreshRules { idle: None, lifetime: None },
            grace: Duration::from_secs(10),
        }
    }

    fn installed(max_live_per_user: usize) -> TestStreams<Installation> {
        let mut streams = TestStreams::installation([]);
        install(&mut streams, 1, max_live_per_user);
        streams
    }

    fn install(streams: &mut TestStreams<Installation>, n: u8, max_live_per_user: usize) {
        streams.run(&grant(n), NOW).unwrap();
        let rules = TokenRules { max_live_per_user, ..rules() };
        assert!(streams.run(&super::super::ExchangeCode { rules, ..exchange(n) }, NOW).unwrap().has_refresh);
    }

    /// An access token and the refresh token that came with it.
    fn pair(n: u8) -> [TokenId; 2] {
        [testing::token_id(n), testing::new_refresh(n).token_id]
    }

    fn refusal(streams: &TestStreams<Installation>, command: &RefreshToken, now: i64) -> InstallationRefusal {
        let decision = streams.decide(command, now);
        assert_eq!(decision.events, [], "nothing may end");
        decision.answer.unwrap_err()
    }

    fn refreshed(event: &Event) -> &TokenRefreshed {
        match event {
            Event::Installation(InstallationEvent::TokenRefreshed(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn r2_each_use_gives_a_new_pair_and_spends_the_old_refresh_token_in_one_event() {
        let mut streams = installed(10);
        let decision = streams.decide(&refresh(1, 1, 2), NOW + HOUR / 2);
        assert_eq!(decision.events.len(), 1);
        let event = refreshed(&decision.events[0]);
        assert_eq!(
            [event.spent_token_id, event.token_id, event.refresh.token_id],
            [pair(1)[1], pair(2)[0], pair(2)[1]]
        );
        assert_eq!(event.expires_at, Some(Timestamp::from_micros(NOW + HOUR / 2 + HOUR)));
        streams.run(&refresh(1, 1, 2), NOW + HOUR / 2).unwrap();
        // The access token before it lives on until its end.
        assert_eq!(streams.token_ids(), [pair(1)[0], pair(2)[0], pair(2)[1]]);
        streams.run(&refresh(1, 2, 3), NOW + 2 * HOUR).unwrap();
        assert_eq!(streams.token_ids(), [pair(3)[0], pair(3)[1]], "expired ones are dropped");
    }

    #[test]
    fn r3_reuse_ends_every_token_of_the_grant_in_one_event_and_is_refused() {
        let mut streams = installed(10);
        install(&mut streams, 9, 10);
        streams.run(&refresh(1, 1, 2), NOW + SECOND).unwrap();
        let replay = streams.decide(&refresh(1, 1, 2), NOW + 11 * SECOND);
        let user_id = grant(1).user_id;
        let ended = |token_id| EndedToken { token_id, user_id: user_id.clone() };
        let expected = RefreshReplayed {
            grant_id: testing::grant_id(1),
            client_id: testing::client_id(1),
            account_id: grant(1).account_id,
            user_id: grant(1).user_id,
            tokens: [pair(1)[0], pair(2)[0], pair(2)[1]].map(ended).to_vec(),
        };
        let refused = InstallationRefusal::RefreshReplayed { grant_id: testing::grant_id(1), tokens: 3 };
        assert_eq!(replay, Decision::refused_with(refused, InstallationEvent::RefreshReplayed(expected)));
        streams.run(&refresh(1, 1, 2), NOW + 11 * SECOND).unwrap_err();
        assert_eq!(streams.token_ids(), pair(9), "the tokens of another grant stay");
        for spent in [1, 2] {
            let again = refusal(&streams, &refresh(1, spent, 4), NOW + 12 * SECOND);
            assert_eq!(again, InstallationRefusal::RefreshUnknown);
        }
    }

    #[test]
    fn r3_a_token_spent_long_ago_is_known_as_spent() {
        let mut streams = installed(10);
        for n in 1..=20 {
            streams.run(&refresh(1, n, n + 1), NOW + i64::from(n) * HOUR).unwrap();
        }
        let refused = streams.run(&refresh(1, 1, 50), NOW + 21 * HOUR);
        assert!(matches!(refused, Err(InstallationRefusal::RefreshReplayed { .. })), "{refused:?}");
        assert_eq!(streams.token_ids(), []);
    }

    /// Nobody stole it, and the access token lives on.
    #[test]
    fn r3_a_token_that_expired_is_not_taken_for_a_spent_one() {
        let mut streams = TestStreams::installation([]);
        streams.run(&grant(1), NOW).unwrap();
        let rules = TokenRules { lifetime: Some(Duration::from_secs(30 * 86400)), ..rules() };
        streams.run(&super::super::ExchangeCode { rules, ..exchange(1) }, NOW).unwrap();
        // With later grants, what has expired is dropped.
        (2..=9).for_each(|n| streams.run(&grant(n), NOW + 4 * DAY).unwrap());
        assert_eq!(refusal(&streams, &refresh(1, 1, 2), NOW + 4 * DAY), InstallationRefusal::RefreshExpired);
    }

    #[test]
    fn r3_a_lost_reply_is_sent_again_within_the_grace_and_nothing_ends() {
        let mut streams = installed(10);
        let first = streams.run(&refresh(1, 1, 2), NOW).unwrap();
        let again = streams.decide(&refresh(1, 1, 2), NOW + 10 * SECOND - 1);
        assert_eq!(again, Decision::already(first));
        let off = RefreshToken { grace: Duration::ZERO, ..refresh(1, 1, 2) };
        assert!(matches!(streams.decide(&off, NOW).answer, Err(InstallationRefusal::RefreshReplayed { .. })));
        // By other keys, for other scopes, or when the pair is not whole any more: refused, and still nothing ends.
        assert_eq!(refusal(&streams, &refresh(1, 1, 3), NOW), InstallationRefusal::RefreshSpent);
        let narrowed = RefreshToken { scopes: Some(vec!["faqs".to_owned()]), ..refresh(1, 1, 2) };
        assert_eq!(refusal(&streams, &narrowed, NOW), InstallationRefusal::RefreshedOtherwise);
        let revoke = RevokeToken {
            installation_id: exchange(1).installation_id,
            token: WhichToken::Id(pair(2)[0]),
            holder: TokenHolder::App(testing::client_id(1)),
            reason: RevocationReason::App,
            note: None,
        };
        streams.run(&revoke, NOW).unwrap();
        assert_eq!(refusal(&streams, &refresh(1, 1, 2), NOW), InstallationRefusal::RefreshSpent);
        // Only the last one can be a lost reply.
        streams.run(&refresh(1, 2, 3), NOW).unwrap();
        let older = streams.decide(&refresh(1, 1, 2), NOW).answer;
        assert!(matches!(older, Err(InstallationRefusal::RefreshReplayed { .. })), "{older:?}");
    }

    #[test]
    fn r4_scope_narrows_for_the_access_token_and_never_widens() {
        let mut streams = installed(10);
        let narrowed = RefreshToken { scopes: Some(vec!["faqs".to_owned()]), ..refresh(1, 1, 2) };
        assert_eq!(streams.run(&narrowed, NOW).unwrap().scopes, ["faqs"]);
        let whole = streams.run(&refresh(1, 2, 3), NOW).unwrap();
        assert_eq!(whole.scopes, ["widgets", "faqs"], "the refresh token keeps what was granted");
        let wider = RefreshToken { scopes: Some(vec!["contacts".to_owned()]), ..refresh(1, 3, 4) };
        let granted = "widgets faqs".to_owned();
        assert_eq!(refusal(&streams, &wider, NOW), InstallationRefusal::ScopeNotGranted { granted });
    }

    #[test]
    fn u1_resources_narrow_for_the_access_token_and_never_widen() {
        let [one, two] = ["https://one.example/", "https://two.example/"].map(str::to_owned);
        let mut streams = TestStreams::installation([]);
        let granted = super::super::GrantAccess { resources: vec![one, two.clone()], ..grant(1) };
        streams.run(&granted, NOW).unwrap();
        streams.run(&super::super::ExchangeCode { rules: rules(), ..exchange(1) }, NOW).unwrap();
        let narrowed = RefreshToken { resources: vec![two.clone()], ..refresh(1, 1, 2) };
        let decision = streams.decide(&narrowed, NOW);
        assert_eq!(refreshed(&decision.events[0]).resources, [two]);
        streams.run(&narrowed, NOW).unwrap();
        let decision = streams.decide(&refresh(1, 2, 3), NOW);
        assert_eq!(refreshed(&decision.events[0]).resources.len(), 2);
        let other = RefreshToken { resources: vec!["https://three.example/".to_owned()], ..refresh(1, 2, 3) };
        assert_eq!(refusal(&streams, &other, NOW), InstallationRefusal::ResourceNotGranted);
    }

    #[test]
    fn r5_another_clients_refresh_token_is_unknown_and_stays_good() {
        let mut streams = installed(10);
        let other = RefreshToken { client_id: testing::client_id(9), ..refresh(1, 1, 2) };
        assert_eq!(refusal(&streams, &other, NOW), InstallationRefusal::RefreshUnknown);
        streams.run(&refresh(1, 1, 2), NOW).unwrap();
        // Nor may it end the grant by one that is spent.
        let spent = RefreshToken { client_id: testing::client_id(9), ..refresh(1, 1, 3) };
        assert_eq!(refusal(&streams, &spent, NOW + DAY), InstallationRefusal::RefreshUnknown);
        streams.run(&refresh(1, 2, 3), NOW).unwrap();
    }

    #[test]
    fn r1_a_refresh_token_ends_when_it_is_not_used_and_when_its_grant_is_too_old() {
        let mut streams = installed(10);
        assert!(streams.decide(&refresh(1, 1, 2), NOW + 3 * DAY - 1).answer.is_ok());
        assert_eq!(refusal(&streams, &refresh(1, 1, 2), NOW + 3 * DAY), InstallationRefusal::RefreshExpired);
        for n in 1..=3 {
            streams.run(&refresh(1, n, n + 1), NOW + i64::from(n) * 2 * DAY).unwrap();
        }
        let last = streams.decide(&refresh(1, 4, 5), NOW + 7 * DAY - 1);
        assert_eq!(
            refreshed(&last.events[0]).refresh.expires_at,
            Some(Timestamp::from_micros(NOW + 7 * DAY))
        );
        assert_eq!(refusal(&streams, &refresh(1, 4, 5), NOW + 7 * DAY), InstallationRefusal::RefreshExpired);
    }

    #[test]
    fn r1_an_app_without_refresh_tokens_gets_none_and_goes_on_with_those_it_has() {
        let mut streams = installed(10);
        let rules = TokenRules { refresh: None, lifetime: None, ..rules() };
        let issued = streams.run(&RefreshToken { rules, ..refresh(1, 1, 2) }, NOW).unwrap();
        assert_eq!(issued.expires_at, Some(Timestamp::from_micros(NOW + 60 * SECOND)));
        streams.run(&grant(7), NOW).unwrap();
        let issued = streams.run(&super::super::ExchangeCode { rules, ..exchange(7) }, NOW).unwrap();
        assert!(!issued.has_refresh && issued.expires_at.is_none());
    }

    #[test]
    fn c5_a_refresh_token_dies_with_an_uninstall_and_a_replayed_code() {
        let mut streams = installed(10);
        streams.run(&exchange(1), NOW + SECOND).unwrap_err();
        assert_eq!(refusal(&streams, &refresh(1, 1, 2), NOW + SECOND), InstallationRefusal::RefreshUnknown);
        let mut streams = installed(10);
        assert_eq!(streams.run(&uninstall(), NOW).unwrap().token_ids, pair(1));
        assert_eq!(refusal(&streams, &refresh(1, 1, 2), NOW), InstallationRefusal::RefreshUnknown);
    }

    #[test]
    fn k1_the_grants_and_access_tokens_of_one_user_stay_few() {
        let mut streams = installed(2);
        install(&mut streams, 11, 2);
        // The first is used later than the second, so the second is the one used longest ago.
        let rules = TokenRules { max_live_per_user: 2, ..rules() };
        streams.run(&RefreshToken { rules, ..refresh(1, 1, 2) }, NOW + SECOND).unwrap();
        assert_eq!(streams.token_ids(), [pair(11)[0], pair(11)[1], pair(2)[0], pair(2)[1]]);
        streams.run(&grant(12), NOW + 2 * SECOND).unwrap();
        let third = super::super::ExchangeCode { rules, ..exchange(12) };
        let events = streams.decide(&third, NOW + 2 * SECOND).events;
        assert!(
            matches!(&events[1..], [Event::Installation(InstallationEvent::GrantRevoked(ended))]
                if ended.grant_id == testing::grant_id(11) && ended.reason == RevocationReason::Superseded),
            "{events:?}"
        );
        streams.run(&third, NOW + 2 * SECOND).unwrap();
        assert_eq!(streams.token_ids(), [pair(2), pair(12)].concat());
    }

    #[test]
    fn r7_a_refresh_token_and_a_user_end_the_grant_and_an_access_token_ends_alone() {
        let app = || TokenHolder::App(testing::client_id(1));
        let user = || TokenHolder::User(grant(1).user_id);
        let spent = testing::new_refresh(1).family_digest;
        let access = WhichToken::Digest(exchange(1).token_digest);
        let whole = [pair(1)[0], pair(2)[0], pair(2)[1]];
        for (token, holder, ended) in [
            (access, app(), &whole[..1]),
            (WhichToken::Id(pair(1)[0]), TokenHolder::Operator, &whole[..1]),
            (WhichToken::Id(pair(2)[1]), TokenHolder::Operator, &whole[..]),
            (WhichToken::Family(spent), app(), &whole[..]),
            (WhichToken::Id(pair(2)[0]), user(), &whole[..]),
            (WhichToken::Id(pair(2)[1]), user(), &whole[..]),
        ] {
            let mut streams = installed(10);
            streams.run(&refresh(1, 1, 2), NOW).unwrap();
            let installation_id = exchange(1).installation_id;
            let revoke =
                RevokeToken { installation_id, token, holder, reason: RevocationReason::User, note: None };
            streams.run(&revoke, NOW).unwrap();
            let left = streams.token_ids();
            assert!(whole.iter().all(|id| ended.contains(id) != left.contains(id)), "{revoke:?}: {left:?}");
        }
    }
}
