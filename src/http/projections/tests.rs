//! What takes long keeps nobody from being answered. Knows: one thread, on which all requests are. Must not know:
//! how a digest is made.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use grantbook_events::Role;

use crate::http::testing::TestServer;

/// How long a digest is held open at the most.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn others_are_answered_while_the_whole_state_is_digested() {
    let server = TestServer::start().await;
    server.register("One").await;
    let live = Arc::clone(&server.service.ledger.live());
    let ((holds, held), (release, released)) = (mpsc::channel(), mpsc::channel());
    let holder = thread::spawn(move || {
        // A digest waits until this goes.
        let _image = live.image();
        holds.send(()).unwrap();
        released.recv_timeout(PATIENCE).is_ok()
    });
    held.recv().unwrap();
    server.ask(Role::Admin, "POST", "/projections/live/rebuild", None).await.json(202);
    let others = async {
        for _ in 0..3 {
            server.get("/apps").await.json(200);
            tokio::task::yield_now().await;
        }
        // Nobody is there any more to be told if this fails.
        let _ = release.send(());
    };
    let (digests, ()) = tokio::join!(server.get("/projections"), others);
    assert!(holder.join().unwrap(), "nobody was answered for {PATIENCE:?}");
    assert!(digests.json(200)["items"][0]["digest"].is_string());
    let state = async || server.get("/projections/live/rebuild").await.json(200)["state"].clone();
    while state().await == "running" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(state().await, "same");
}
