//! Bits that flip in `heads.db`, which says where each stream ends and is only derived from the ledger: no
//! stream is lost for it, and none is begun twice.

use std::fs;

use grantbook_events::{AccountId, ClientId, InstallationId, StreamKind, StreamName};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::process::Serving;
use crate::site::Site;
use crate::wanted::App;

const SEED: u64 = 0x6772_616e_7462_6f6f;
/// How many bits are flipped anywhere in the file, each in a copy of its own.
const FLIPS: usize = 16;

/// A ledger with an installation whose stream only `heads.db` can find, left by a server that was killed.
struct Killed {
    site: Site,
    app: App,
    token: String,
}

impl Killed {
    fn new() -> Self {
        let site = Site::new();
        let serving = site.serve();
        let app = serving.app();
        let token = serving.token(&app);
        // A stop writes every head to the file; of the next start none is in memory.
        serving.stop();
        site.serve().kill();
        Self { site, app, token }
    }

    fn installation(&self) -> InstallationId {
        let account: AccountId = "acme".parse().unwrap();
        InstallationId::of(&self.app.client_id.parse::<ClientId>().unwrap(), &account)
    }

    /// Names the installation's row in `heads.db`.
    fn key(&self) -> Vec<u8> {
        let stream = StreamName::from(StreamKind::Installation(self.installation()));
        Sha256::digest(stream.as_str().as_bytes())[..16].to_vec()
    }

    fn revoke(&self, serving: &Serving) {
        let form = self.app.form(&[("token", &self.token)]);
        serving.http.post_raw("/oauth/revoke", &[], &form).expect(200);
        assert!(!serving.is_active(&self.token), "the revocation was lost: {}", serving.log());
    }

    /// The stream goes on where it ended, and everything about it is in order.
    #[track_caller]
    fn assert_goes_on(&self, site: &Site, serving: Serving) {
        self.revoke(&serving);
        assert!(serving.is_active(&serving.token(&self.app)));
        serving.kill();
        let verified = site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(0), "{} {}", verified.stdout, verified.stderr);
    }
}

#[test]
fn a_flipped_bit_in_the_name_of_a_stream_is_noticed_after_a_kill() {
    let killed = Killed::new();
    let heads = killed.site.file("heads.db");
    let mut bytes = fs::read(&heads).unwrap();
    let key = killed.key();
    let at = bytes.windows(16).position(|window| window == key).expect("the row of the installation");
    bytes[at + 7] ^= 0x10;
    fs::write(&heads, bytes).unwrap();
    let serving = killed.site.serve();
    assert!(serving.log().contains("rebuilding the index of streams"), "{}", serving.log());
    killed.assert_goes_on(&killed.site, serving);
}

#[test]
fn no_flipped_bit_loses_a_revocation_after_a_kill() {
    let killed = Killed::new();
    let mut random = StdRng::seed_from_u64(SEED);
    for flip in 0..FLIPS {
        let site = killed.site.copy();
        let mut bytes = fs::read(site.file("heads.db")).unwrap();
        // Most of a small file is empty: half of the flips are where the rows are.
        let rows = bytes.windows(16).position(|window| window == killed.key()).unwrap();
        let reach = if flip % 2 == 0 { 0..bytes.len() } else { rows.saturating_sub(100)..rows + 100 };
        let (byte, bit) = (random.random_range(reach), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        fs::write(site.file("heads.db"), bytes).unwrap();
        println!("bit {bit} of byte {byte}");
        let serving = site.serve();
        killed.assert_goes_on(&site, serving);
    }
}

/// Changes the file as a disk would that gives back other bytes than it was given.
fn forget(killed: &Killed) {
    let conn = Connection::open(killed.site.file("heads.db")).unwrap();
    assert_eq!(conn.execute("DELETE FROM heads WHERE stream = ?1", [killed.key()]).unwrap(), 1);
}

#[test]
fn a_stream_that_goes_from_the_index_of_a_running_server_is_found_in_the_ledger() {
    let killed = Killed::new();
    let serving = killed.site.serve();
    forget(&killed);
    let path = format!("/installations/{}", killed.installation());
    let events = serving.ask("GET", &format!("{path}/events"), None).expect(200).json();
    assert_eq!(events["items"].as_array().map(Vec::len), Some(2), "{events}");
    serving.until_it_says("the index of streams does not have a stream that the ledger has");
    killed.revoke(&serving);
    // A stop vouches for the file only if it is whole.
    serving.stop();
    let serving = killed.site.serve();
    assert!(!serving.is_active(&killed.token));
    killed.assert_goes_on(&killed.site, serving);
}

#[test]
fn an_operator_uninstalls_what_the_index_does_not_have() {
    let killed = Killed::new();
    let serving = killed.site.serve();
    forget(&killed);
    serving.ask("DELETE", &format!("/installations/{}", killed.installation()), None).expect(200);
    assert!(!serving.is_active(&killed.token));
    serving.stop();
    // The next start makes the index again.
    killed.site.serve().stop();
    assert_eq!(killed.site.run(&["replay", "verify"]).code, Some(0));
}

#[test]
fn a_row_that_goes_bad_under_a_running_server_is_read_from_the_ledger() {
    let killed = Killed::new();
    let serving = killed.site.serve();
    let conn = Connection::open(killed.site.file("heads.db")).unwrap();
    let sql = "UPDATE heads SET revision = 0 WHERE stream = ?1";
    assert_eq!(conn.execute(sql, [killed.key()]).unwrap(), 1);
    conn.close().unwrap();
    killed.revoke(&serving);
    serving.until_it_says("the index of streams is damaged");
    assert!(serving.is_active(&serving.token(&killed.app)));
    serving.stop();
    // The row was written again, or the file is made again.
    assert_eq!(killed.site.run(&["replay", "verify"]).code, Some(0));
    let serving = killed.site.serve();
    killed.assert_goes_on(&killed.site, serving);
}

#[test]
fn a_verification_names_an_index_that_does_not_agree_with_the_ledger() {
    for (harm, said) in [
        ("DELETE FROM heads WHERE stream = ?1", "heads.db"),
        ("UPDATE heads SET revision = 0 WHERE stream = ?1", "heads.db"),
    ] {
        let killed = Killed::new();
        let conn = Connection::open(killed.site.file("heads.db")).unwrap();
        assert_eq!(conn.execute(harm, [killed.key()]).unwrap(), 1);
        conn.close().unwrap();
        let verified = killed.site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(1), "{}", verified.stdout);
        assert!(verified.stdout.contains(said), "{}", verified.stdout);
        // The next start makes it again.
        killed.site.serve().stop();
        let verified = killed.site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
        assert!(verified.stdout.contains("the index of streams"), "{}", verified.stdout);
    }
}
