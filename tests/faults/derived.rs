//! What is derived from the ledger survives a kill at any moment, or is built again: a snapshot on its way to
//! the disk, a history that is rebuilt, a rebuild of what is served.

use serde_json::json;

use crate::process::Serving;
use crate::site::Site;

const ROUNDS: usize = 6;

fn begin_everything(serving: &Serving) {
    // Whether a rebuild begins or one is under way is all the same here.
    for path in ["/projections/history/rebuild", "/projections/live/rebuild", "/projections/live/snapshots"] {
        let _ = serving.ask("POST", path, Some(&json!({})));
    }
}

#[test]
fn a_kill_leaves_a_ledger_that_is_proven_sound_and_served_as_it_was() {
    let site = Site::new();
    let serving = site.serve();
    let app = serving.app();
    let mut tokens = vec![serving.token(&app)];
    serving.kill();
    for round in 0..ROUNDS {
        let serving = site.serve();
        tokens.push(serving.token(&app));
        begin_everything(&serving);
        if round % 2 == 0 {
            // In the midst of it, or shortly after.
            tokens.push(serving.token(&app));
        }
        serving.kill();
        let verified = site.run(&["replay", "verify"]);
        // The history follows in its own time, so it may end before the ledger does; what is there is right.
        assert_eq!(verified.code, Some(0), "round {round}: {} {}", verified.stdout, verified.stderr);
        assert!(verified.stdout.contains("the ledger is sound"), "{}", verified.stdout);
    }
    let serving = site.serve();
    assert!(tokens.iter().all(|token| serving.is_active(token)));
    // Asking waits until the history has caught up.
    let issued = serving.ask("GET", "/audit/events?type=code-exchanged&limit=200", None).expect(200).json();
    assert_eq!(issued["items"].as_array().unwrap().len(), tokens.len());
    let verified = site.run(&["replay", "verify"]);
    for what in ["the live projection of the running server", "snapshot live-", "the history, row by row"] {
        assert!(verified.stdout.contains(what), "{what}: {}", verified.stdout);
    }
    serving.stop();
    let left = std::fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> = left.map(|name| name.into_string().unwrap()).collect();
    let of_history = left.iter().filter(|name| name.starts_with("history") && name.ends_with(".db")).count();
    assert_eq!((of_history, left.iter().any(|name| name.contains("building"))), (1, false), "{left:?}");
}
