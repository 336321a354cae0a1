//! The state of one app on one account: the fold of stream `installation-{installation_id}`.
//!
//! The state stays bounded however long the stream grows: it keeps live tokens, codes that can still be
//! exchanged or whose replay still has a token to revoke, and the ids of recent grants.

use std::time::Duration;

use grantbook_events::{
    AccessGranted, AccountId, ClientId, CodeExchanged, EndedToken, Event, GrantId, InstallationEvent,
    InstallationId, Position, Recorded, SecretDigest, Timestamp, TokenId, UserId,
};

use crate::app::RegisteredApp;
use crate::fold::{FoldError, StreamState};
use crate::live::TokenFacts;

/// How long a grant is remembered although nothing can come of it any more: twice as long as any code or consent
/// form lives, so that the same form cannot be sent twice, also where clocks differ by as much. Each decision
/// pays for what is remembered, so it is not longer.
pub const GRANT_MEMORY: Duration = Duration::from_secs(20 * 60);

/// How many codes of one user can wait for their exchange. One more ends the oldest, so that who approves again and again
/// holds at most that many.
pub const MAX_PENDING_PER_USER: usize = 10;

/// One app on one account, or the absence of any approval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Installation {
    /// No user of the account ever approved the app.
    #[default]
    Absent,
    /// Somebody did.
    Present(InstalledApp),
}

/// What decisions need to know of one app on one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledApp {
    /// The app.
    pub client_id: ClientId,
    /// The account.
    pub account_id: AccountId,
    /// Counts uninstalls; codes of an earlier epoch are dead.
    pub epoch: u32,
    /// Recent grants and those with live tokens, oldest first.
    pub grants: Vec<Grant>,
    /// Tokens that were neither revoked nor ended by an uninstall, oldest first.
    pub tokens: Vec<LiveToken>,
    /// When the last event was recorded.
    pub changed_at: Timestamp,
}

/// One approval by one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Names the approval.
    pub grant_id: GrantId,
    /// Who approved.
    pub user_id: UserId,
    /// What was approved.
    pub scopes: Vec<String>,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// Whether the exchange must name the redirect URI.
    pub redirect_uri_sent: bool,
    /// SHA-256 of the code.
    pub code_digest: SecretDigest,
    /// From when on the code is refused.
    pub code_expires_at: Timestamp,
    /// The S256 code challenge, if one was sent.
    pub code_challenge: Option<String>,
    /// When it was approved.
    pub granted_at: Timestamp,
    /// What became of the code.
    pub code: CodeState,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeState {
    /// It can be exchanged until it expires.
    Pending,
    /// It was exchanged.
    Spent,
    /// It was ended before it was exchanged: by an uninstall, or because later ones of the same user wait.
    Ended,
}

/// A token that was neither revoked nor ended by an uninstall. It may have expired, and it only counts
/// while its app is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveToken {
    /// Names the token.
    pub token_id: TokenId,
    /// The approval it came from.
    pub grant_id: GrantId,
    /// When that was recorded.
    pub granted_at: Timestamp,
    /// Where the event is that issued it.
    pub position: Position,
    /// SHA-256 of the token.
    pub digest: SecretDigest,
    /// Whose token it is.
    pub user_id: UserId,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused; `None` never.
    pub expires_at: Option<Timestamp>,
}

impl LiveToken {
    /// As an event that ends it lists it.
    pub fn as_ended(&self) -> EndedToken {
        EndedToken { token_id: self.token_id, user_id: self.user_id.clone() }
    }

    /// Whether the token has not expired.
    pub fn is_unexpired(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

impl Installation {
    /// The installation, if anybody ever approved it.
    pub fn present(&self) -> Option<&InstalledApp> {
        match self {
            Self::Absent => None,
            Self::Present(installed) => Some(installed),
        }
    }
}

impl InstalledApp {
    /// The grant whose code has this digest.
    pub fn grant_of_code(&self, digest: &SecretDigest) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.code_digest == *digest)
    }

    /// Whether a token with this digest was neither revoked nor ended by an uninstall.
    pub fn has_token(&self, digest: &SecretDigest) -> bool {
        self.tokens.iter().any(|token| token.digest == *digest)
    }

    /// What is true of the token with this digest, if it is valid: what the live projection says once it has
    /// folded this installation and its app.
    pub fn token_facts(
        &self,
        installation_id: InstallationId,
        app: &RegisteredApp,
        digest: &SecretDigest,
        now: Timestamp,
    ) -> Option<TokenFacts> {
        let token = self.tokens.iter().find(|token| token.digest == *digest)?;
        let counts = app.is_active() && !app.had_ended(token.granted_at, token.position);
        (counts && token.is_unexpired(now)).then(|| TokenFacts {
            token_id: token.token_id,
            client_id: self.client_id,
            installation_id,
            account_id: self.account_id.clone(),
            user_id: token.user_id.clone(),
            scopes: token.scopes.as_slice().into(),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        })
    }

    /// The live tokens that came from one grant.
    pub fn tokens_of(&self, grant_id: GrantId) -> impl Iterator<Item = &LiveToken> {
        self.tokens.iter().filter(move |token| token.grant_id == grant_id)
    }

    fn grant(&mut self, event: &AccessGranted, at: Timestamp) -> Result<(), &'static str> {
        if self.grants.iter().any(|grant| grant.grant_id == event.grant_id) {
            return Err("the grant was recorded before");
        }
        self.forget(at);
        self.grants.push(Grant {
            grant_id: event.grant_id,
            user_id: event.user_id.clone(),
            scopes: event.scopes.clone(),
            redirect_uri: event.redirect_uri.clone(),
            redirect_uri_sent: event.redirect_uri_sent,
            code_digest: event.code_digest,
            code_expires_at: event.code_expires_at,
            code_challenge: event.code_challenge.clone(),
            granted_at: at,
            code: CodeState::Pending,
        });
        self.end_oldest_pending(&event.user_id);
        Ok(())
    }

    fn end_oldest_pending(&mut self, user: &UserId) {
        let of_user = |grant: &&mut Grant| grant.code == CodeState::Pending && grant.user_id == *user;
        let pending = self.grants.iter_mut().filter(of_user).count();
        if pending > MAX_PENDING_PER_USER
            && let Some(oldest) = self.grants.iter_mut().find(of_user)
        {
            oldest.code = CodeState::Ended;
        }
    }

    /// Drops what can no longer matter to any decision, judged by recorded time only, so that every
    /// replay drops the same.
    fn forget(&mut self, at: Timestamp) {
        self.tokens.retain(|token| token.is_unexpired(at));
        let tokens = &self.tokens;
        self.grants.retain(|grant| {
            grant.granted_at.plus(GRANT_MEMORY) > at
                || (grant.code == CodeState::Spent
                    && tokens.iter().any(|token| token.grant_id == grant.grant_id))
        });
    }

    fn exchange(
        &mut self,
        event: &CodeExchanged,
        at: Timestamp,
        position: Position,
    ) -> Result<(), &'static str> {
        let grant = self.grants.iter_mut().find(|grant| grant.grant_id == event.grant_id);
        let grant = grant.ok_or("the grant does not exist")?;
        if grant.code != CodeState::Pending {
            return Err("the code was spent or ended before");
        }
        grant.code = CodeState::Spent;
        self.tokens.push(LiveToken {
            token_id: event.token_id,
            grant_id: event.grant_id,
            granted_at: event.granted_at,
            position,
            digest: event.token_digest,
            user_id: event.user_id.clone(),
            scopes: event.scopes.clone(),
            issued_at: at,
            expires_at: event.expires_at,
        });
        Ok(())
    }

    fn uninstall(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.tokens.clear();
        for grant in &mut self.grants {
            if grant.code == CodeState::Pending {
                grant.code = CodeState::Ended;
            }
        }
    }

    fn apply(
        &mut self,
        event: &InstallationEvent,
        at: Timestamp,
        position: Position,
    ) -> Result<(), &'static str> {
        if event.installation() != (self.client_id, &self.account_id) {
            return Err("it names another app or account than the stream");
        }
        match event {
            InstallationEvent::AccessGranted(event) => self.grant(event, at)?,
            InstallationEvent::CodeExchanged(event) => self.exchange(event, at, position)?,
            InstallationEvent::CodeReplayed(_) | InstallationEvent::TokenRevoked(_) => {
                let ended = event.ended_tokens();
                self.tokens.retain(|token| !ended.iter().any(|(ended, _)| *ended == token.token_id));
            }
            InstallationEvent::Uninstalled(event) => {
                if event.epoch != self.epoch {
                    return Err("it ends another epoch than the current one");
                }
                self.uninstall();
            }
        }
        self.changed_at = at;
        Ok(())
    }
}

impl StreamState for Installation {
    fn apply(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let (at, position) = (recorded.envelope.recorded_at, recorded.envelope.position);
        let wrong = |detail| FoldError::new(recorded, detail);
        let event = match &recorded.event {
            Event::Installation(event) => event,
            Event::App(_) | Event::OperatorKey(_) => {
                return Err(wrong("it does not belong in an installation's stream"));
            }
        };
        match self {
            Self::Present(installed) => installed.apply(event, at, position).map_err(wrong),
            Self::Absent => match event {
                InstallationEvent::AccessGranted(first) => {
                    let mut installed = InstalledApp {
                        client_id: first.client_id,
                        account_id: first.account_id.clone(),
                        epoch: 0,
                        grants: Vec::new(),
                        tokens: Vec::new(),
                        changed_at: at,
                    };
                    installed.apply(event, at, position).map_err(wrong)?;
                    *self = Self::Present(installed);
                    Ok(())
                }
                InstallationEvent::CodeExchanged(_)
                | InstallationEvent::CodeReplayed(_)
                | InstallationEvent::TokenRevoked(_)
                | InstallationEvent::Uninstalled(_) => Err(wrong("access was not granted before")),
            },
        }
    }
}
