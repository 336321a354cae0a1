//! Damage to `ledger.heads`, which says where each stream ends and is only derived from the ledger: no stream is lost
//! for it, and none is begun twice.

use std::fs;

use grantbook_events::{AccountId, ClientId, InstallationId, StreamKind, StreamName};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::process::Serving;
use crate::site::Site;
use crate::wanted::App;

const SEED: u64 = 0x6772_616e_7462_6f6f;
/// How many bits are flipped anywhere in the file, each in a copy of its own.
const FLIPS: usize = 16;

/// A ledger with an installation whose stream only `ledger.heads` can find, left by a server that was killed.
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

    /// Names the installation's row in `ledger.heads`.
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
    let heads = killed.site.file("ledger.heads");
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
        let mut bytes = fs::read(site.file("ledger.heads")).unwrap();
        // Half of the flips are about the row of the installation.
        let rows = bytes.windows(16).position(|window| window == killed.key()).unwrap();
        let reach = if flip % 2 == 0 { 0..bytes.len() } else { rows - 24..bytes.len().min(rows + 48) };
        let (byte, bit) = (random.random_range(reach), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        fs::write(site.file("ledger.heads"), bytes).unwrap();
        println!("bit {bit} of byte {byte}");
        let serving = site.serve();
        killed.assert_goes_on(&site, serving);
    }
}

#[test]
fn a_file_that_goes_bad_under_a_running_server_changes_nothing() {
    let killed = Killed::new();
    let serving = killed.site.serve();
    fs::write(killed.site.file("ledger.heads"), b"").unwrap();
    let path = format!("/installations/{}", killed.installation());
    let events = serving.ask("GET", &format!("{path}/events"), None).expect(200).json();
    assert_eq!(events["items"].as_array().map(Vec::len), Some(2), "{events}");
    serving.ask("DELETE", &path, None).expect(200);
    assert!(!serving.is_active(&killed.token));
    serving.stop();
    // The stop wrote it again.
    assert_eq!(killed.site.run(&["replay", "verify"]).code, Some(0));
    let serving = killed.site.serve();
    assert!(!serving.log().contains("rebuilding"), "{}", serving.log());
    assert!(!serving.is_active(&killed.token));
    killed.assert_goes_on(&killed.site, serving);
}

/// Changes the row of the installation, and the checksum of the file with it.
fn falsify(killed: &Killed, harm: impl FnOnce(&mut Vec<u8>, usize)) {
    let heads = killed.site.file("ledger.heads");
    let mut bytes = fs::read(&heads).unwrap();
    let row = bytes.windows(16).position(|window| window == killed.key()).unwrap();
    bytes.truncate(bytes.len() - 4);
    harm(&mut bytes, row);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    fs::write(&heads, bytes).unwrap();
}

#[test]
fn a_verification_names_an_index_that_does_not_agree_with_the_ledger() {
    type Harm = fn(&mut Vec<u8>, usize);
    let harms: [(Harm, &str); 4] = [
        (|bytes, _| bytes.truncate(bytes.len() - 1), "ledger.heads: it is not what was written"),
        (
            |bytes, row| drop(bytes.drain(row..row + 24)),
            "the index of streams does not have stream installation-",
        ),
        (|bytes, row| bytes[row + 16] = 2, "end otherwise, at position 2"),
        (|bytes, row| bytes[row] ^= 1, "the index of streams has 1 streams that the ledger does not have"),
    ];
    for (harm, said) in harms {
        let killed = Killed::new();
        falsify(&killed, harm);
        let verified = killed.site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(1), "{}", verified.stdout);
        assert!(verified.stdout.contains(said), "{}", verified.stdout);
        // The next start makes it again.
        fs::remove_file(killed.site.file("ledger.heads")).unwrap();
        killed.site.serve().stop();
        let verified = killed.site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
        assert!(verified.stdout.contains("the index of streams"), "{}", verified.stdout);
    }
}
