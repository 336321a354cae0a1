//! What the ledger promises, over stores that behave and stores that lie. Knows: commands, to have
//! something to settle. Must not know: how the ledger keeps its promises.

#[cfg(feature = "eventstore")]
mod cluster;
mod consistent;
mod follow;
mod loss;
pub(crate) mod poison;
mod settle;
pub(crate) mod simulation;

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{
    AccountId, Actor, ActorKind, ClientId, InstallationId, NewSecret, Position, Recorded, RequestId,
    RevocationReason, SecretDigest, StreamName, Timestamp, TokenId,
};

use super::{Ledger, LedgerError, LedgerOptions, Origin};
use crate::clock::{Clock as _, ManualClock};
use crate::decisions::scopes::ScopeCatalogue;
use crate::decisions::{
    Command, ExchangeCode, GrantAccess, NewRefresh, RefreshRules, RefreshToken, RegisterApp, Registration,
    RevokeToken, TokenHolder, TokenRules, WhichToken,
};
use crate::secrets::{self, CodeKey, MintedRefresh};
use crate::store::Store;

pub(crate) const START: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const HOUR: Duration = Duration::from_secs(3600);
/// A day if it is not used, and a month in all.
const REFRESH: RefreshRules = RefreshRules {
    idle: Some(Duration::from_secs(24 * 3600)),
    lifetime: Some(Duration::from_secs(30 * 24 * 3600)),
};
const CALLBACK: &str = "https://app.example/callback";

fn origin(request_id: &RequestId) -> Origin {
    Origin { actor: Actor { kind: ActorKind::System, id: "test".to_owned() }, request_id: request_id.clone() }
}

/// A ledger over a store, and its clock.
pub(crate) struct TestLedger {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<ManualClock>,
}

impl TestLedger {
    pub async fn over(store: Arc<dyn Store>) -> Self {
        Self::with(store, LedgerOptions::default()).await
    }

    pub async fn with(store: Arc<dyn Store>, options: LedgerOptions) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let ledger = Ledger::open_with(store, Arc::clone(&clock) as _, options);
        ledger.caught_up().await.unwrap();
        Self { ledger, clock }
    }

    /// Settles a command through a request of its own.
    pub async fn settle<C: Command>(
        &self,
        command: &C,
    ) -> Result<Result<C::Answer, C::Refusal>, LedgerError> {
        self.ledger.settle(&origin(&secrets::new_request_id()), command).await
    }

    /// An app that is registered.
    pub async fn app(&self) -> ClientId {
        let client_id = secrets::new_client_id();
        self.settle(&register(client_id)).await.unwrap().unwrap();
        client_id
    }

    pub fn is_valid(&self, token: SecretDigest) -> bool {
        self.ledger.live().is_valid(&token, START)
    }
}

fn register(client_id: ClientId) -> RegisterApp {
    let registration = Registration {
        name: "App".to_owned(),
        owner: "Owner".to_owned(),
        redirect_uris: vec![CALLBACK.to_owned()],
        scopes: vec!["faqs".to_owned()],
        ..Registration::default()
    };
    let digest = secrets::mint_client_secret().digest();
    let secret = NewSecret { secret_id: secrets::new_secret_id(START), digest };
    RegisterApp::new(client_id, Some(secret), &registration, &ScopeCatalogue::default()).unwrap()
}

pub(crate) fn installation(client_id: ClientId, account: &AccountId) -> InstallationId {
    InstallationId::of(&client_id, account)
}

pub(crate) fn grant(client_id: ClientId, account: &AccountId) -> GrantAccess {
    let grant_id = secrets::new_grant_id(START);
    let code = CodeKey::random().code(installation(client_id, account), grant_id, "session");
    GrantAccess {
        grant_id,
        client_id,
        account_id: account.clone(),
        user_id: "ana".parse().unwrap(),
        scopes: vec!["faqs".to_owned()],
        redirect_uri: CALLBACK.to_owned(),
        redirect_uri_sent: false,
        resources: Vec::new(),
        code_challenge: None,
        code_digest: code.digest(),
        code_lifetime: Duration::from_secs(60),
        codes_dead_until: None,
        approved_at: START,
        not_before: Timestamp::EPOCH,
    }
}

/// The exchange of the code of a grant, for a token that nobody has seen.
pub(crate) fn exchange(grant: &GrantAccess) -> ExchangeCode {
    let installation_id = installation(grant.client_id, &grant.account_id);
    ExchangeCode {
        installation_id,
        client_id: grant.client_id,
        secret_id: None,
        codes_dead_until: None,
        code_digest: grant.code_digest,
        redirect_uri: None,
        verifier_challenge: None,
        presented_at: START,
        code_lifetime: Duration::from_secs(60),
        token_id: secrets::new_token_id(START),
        token_digest: secrets::mint_token(installation_id).digest(),
        refresh: new_refresh(&MintedRefresh::first(installation_id)),
        resources: Vec::new(),
        rules: TokenRules { lifetime: None, refresh: None, max_live_per_user: 10 },
    }
}

/// The same, for an access token that lives for an hour, and a refresh token.
pub(crate) fn exchange_for_refresh(grant: &GrantAccess) -> ExchangeCode {
    let rules = TokenRules { lifetime: Some(HOUR), refresh: Some(REFRESH), max_live_per_user: 10 };
    ExchangeCode { rules, ..exchange(grant) }
}

/// The use of the refresh token of an exchange, or of a later one in its place, for tokens that nobody has seen.
pub(crate) fn refresh(exchange: &ExchangeCode, spent: NewRefresh) -> RefreshToken {
    let installation_id = exchange.installation_id;
    let next = new_refresh(&MintedRefresh::first(installation_id));
    RefreshToken {
        installation_id,
        client_id: exchange.client_id,
        secret_id: None,
        digest: spent.digest,
        scopes: None,
        resources: Vec::new(),
        token_id: secrets::new_token_id(START),
        token_digest: secrets::mint_token(installation_id).digest(),
        refresh: NewRefresh { family_digest: spent.family_digest, ..next },
        rules: exchange.rules,
        default_lifetime: HOUR,
        default_refresh: REFRESH,
        grace: Duration::ZERO,
    }
}

/// A refresh token that was minted, as the ledger may know it.
pub(crate) fn new_refresh(minted: &MintedRefresh) -> NewRefresh {
    NewRefresh {
        token_id: secrets::new_token_id(START),
        digest: minted.plain.digest(),
        family_digest: minted.family_digest,
    }
}

pub(crate) fn revoke(installation_id: InstallationId, token_id: TokenId) -> RevokeToken {
    RevokeToken {
        installation_id,
        token: WhichToken::Id(token_id),
        holder: TokenHolder::Operator,
        reason: RevocationReason::Operator,
        note: None,
    }
}

/// Everything in a store.
async fn all(store: &dyn Store) -> Vec<Recorded> {
    let records = store.read_all(Position::START, usize::MAX).await.unwrap();
    records.iter().map(|record| super::read(record).unwrap()).collect()
}

fn stream(installation_id: InstallationId) -> StreamName {
    grantbook_events::StreamKind::Installation(installation_id).into()
}
