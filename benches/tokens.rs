//! A token check in process beside SHA-256 plus one hash-map look-up, and the memory of an installation.
//!
//! `cargo bench --bench tokens [-- --installations 1000000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::expect_used, reason = "a benchmark ends at the first surprise")]

mod measure;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use grantbook::secrets::{self, PlainSecret};
use grantbook_events::{
    AccessGranted, Actor, ActorKind, AppEvent, AppRegistered, AppSource, ClientId, ClientKeys, CodeExchanged,
    Envelope, Event, EventId, GrantId, InstallationEvent, InstallationId, Position, Recorded, Revision,
    SecretDigest, StreamKind, StreamName, Timestamp, TokenPolicy,
};
use grantbook_projections::live::Live;
use uuid::Uuid;

const ROUNDS: usize = 9;
const CHECKS: usize = 1_000_000;

/// A digest is its own hash.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(word) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*word);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

fn main() {
    let installations = measure::argument("--installations", 1_000_000);
    let before = measure::resident_bytes();
    let mut tokens: Vec<PlainSecret> = Vec::with_capacity(installations);
    let ids: Vec<_> = (0..installations).map(|n| account_and_installation(n).1).collect();
    tokens.extend(ids.iter().map(|&id| secrets::mint_token(id)));
    let inputs = measure::resident_bytes();
    let live = build(&tokens);
    let bytes = (measure::resident_bytes() - inputs) as f64 / installations as f64;
    println!(
        "live projection of {installations} installations with one token each (inputs {} MiB)",
        (inputs - before) >> 20
    );
    measure::at_most("memory per installation, bytes", bytes, 550.0);

    let plain: HashMap<[u8; 32], u32, BuildHasherDefault<DigestHasher>> =
        tokens.iter().zip(0..).map(|(token, n)| (*token.digest().as_bytes(), n)).collect();
    let order: Vec<usize> = (0..CHECKS).map(|n| n.wrapping_mul(2_654_435_761) % tokens.len()).collect();
    let now = Timestamp::from_micros(1);
    let (mut checks, mut looks) = (Vec::new(), Vec::new());
    let (mut ratios, mut described) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let presented = || order.iter().map(|&at| tokens[at].expose());
        let (plain_time, found) = measure::time(|| {
            presented()
                .filter(|token| plain.contains_key(black_box(secrets::digest(token).as_bytes())))
                .count()
        });
        let (check_time, valid) =
            measure::time(|| presented().filter(|token| live.is_valid(&secrets::digest(token), now)).count());
        let (facts_time, facts) = measure::time(|| {
            presented().filter_map(|token| live.token(&secrets::digest(token), now)).count()
        });
        assert_eq!((found, valid, facts), (CHECKS, CHECKS, CHECKS));
        ratios.push(plain_time.as_secs_f64() / check_time.as_secs_f64());
        described.push(plain_time.as_secs_f64() / facts_time.as_secs_f64());
        checks.push(check_time.as_nanos() as f64 / CHECKS as f64);
        looks.push(plain_time.as_nanos() as f64 / CHECKS as f64);
    }
    println!(
        "SHA-256 and one look-up {:.0} ns, token check {:.0} ns",
        measure::median(looks),
        measure::median(checks)
    );
    measure::at_least("token check / SHA-256 and one look-up", measure::median(ratios), 0.8);
    println!("with everything introspection says of it = {:.2}", measure::median(described));
}

fn client() -> ClientId {
    ClientId::new(Uuid::from_u128(1))
}

fn account_and_installation(n: usize) -> (grantbook_events::AccountId, InstallationId) {
    let account = format!("account-{n:08}").parse().expect("visible");
    let installation = InstallationId::of(&client(), &account);
    (account, installation)
}

fn build(tokens: &[PlainSecret]) -> Live {
    let live = Live::new();
    let registered = AppRegistered {
        client_id: client(),
        name: "Bench".to_owned(),
        owner: "Bench".to_owned(),
        homepage: None,
        redirect_uris: vec!["https://bench.example/".to_owned()],
        scopes: vec!["widgets".to_owned()],
        secret: None,
        token_policy: TokenPolicy::default(),
        default_scopes: Vec::new(),
        keys: ClientKeys::None,
        requires_pushed_requests: false,
        source: AppSource::Operator,
        registration_digest: None,
    };
    let apply = |position: u64, stream: StreamKind, event: Event| {
        live.apply(&recorded(position, stream.into(), event)).expect("it follows");
    };
    apply(1, StreamKind::App(client()), AppEvent::Registered(registered).into());
    for (n, token) in tokens.iter().enumerate() {
        let (account_id, installation_id) = account_and_installation(n);
        let stream = StreamKind::Installation(installation_id);
        let grant_id = GrantId::new(Uuid::from_u128(n as u128));
        let user_id: grantbook_events::UserId = format!("user-{n:08}").parse().expect("visible");
        let granted = AccessGranted {
            grant_id,
            client_id: client(),
            account_id,
            user_id: user_id.clone(),
            scopes: vec!["widgets".to_owned()],
            redirect_uri: "https://bench.example/".to_owned(),
            redirect_uri_sent: false,
            code_digest: SecretDigest::new([0; 32]),
            code_expires_at: Timestamp::EPOCH,
            code_challenge: None,
            resources: Vec::new(),
        };
        let exchanged = CodeExchanged {
            grant_id,
            client_id: client(),
            account_id: account_and_installation(n).0,
            granted_at: Timestamp::EPOCH,
            token_id: secrets::new_token_id(Timestamp::EPOCH),
            token_digest: token.digest(),
            user_id,
            scopes: vec!["widgets".to_owned()],
            expires_at: None,
            secret_id: None,
            resources: Vec::new(),
            refresh: None,
        };
        let position = 2 + 2 * n as u64;
        apply(position, stream, InstallationEvent::AccessGranted(granted).into());
        apply(position + 1, stream, InstallationEvent::CodeExchanged(exchanged).into());
    }
    live
}

fn recorded(position: u64, stream: StreamName, event: Event) -> Recorded {
    let envelope = Envelope {
        event_id: EventId::new(Uuid::from_u128(u128::from(position))),
        stream,
        revision: Revision::FIRST,
        position: Position::new(position),
        recorded_at: Timestamp::EPOCH,
        actor: Actor { kind: ActorKind::System, id: "bench".to_owned() },
        request_id: "bench".parse().expect("visible"),
        caused_by: None,
    };
    Recorded { envelope, event }
}
