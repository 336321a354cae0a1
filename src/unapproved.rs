//! Apps that registered themselves and that nobody approved: they are deleted after a while, so that nobody can fill the ledger with them
//! (D2). Knows: the ledger, and how long an app may wait. Must not know: how apps register.
//!
//! Every node does this. It does not matter which is first: an app is deleted once.

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{Actor, ActorKind, AppSource};
use grantbook_projections::App;
use tokio::task::JoinHandle;

use crate::decisions::{Command as _, DeleteApp};
use crate::ledger::{Ledger, Origin};
use crate::secrets;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;

/// How often it looks, after the first time, which is at the start.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// The actor of its events, and the name of its task.
const NAME: &str = "unapproved-apps";

/// The task that deletes them.
#[derive(Debug)]
pub struct Unapproved {
    tasks: Arc<Tasks>,
    handle: JoinHandle<()>,
}

impl Unapproved {
    /// Begins to delete apps that nobody approved within this time. Must be called within a Tokio runtime.
    pub fn start(ledger: &Arc<Ledger>, metrics: &Arc<Metrics>, lifetime: Duration) -> Self {
        let tasks = Arc::<Tasks>::default();
        let running = tasks.begin(NAME);
        let (ledger, metrics) = (Arc::clone(ledger), Arc::clone(metrics));
        let handle = tokio::spawn(async move {
            let _running = running;
            // If it cannot catch up, nothing is known of any app.
            let _ = ledger.caught_up().await;
            loop {
                delete(&ledger, &metrics, lifetime).await;
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { tasks, handle }
    }

    /// Whether it runs.
    pub fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// Ends it.
    pub fn stop(&self) {
        self.tasks.stop();
        self.handle.abort();
    }
}

async fn delete(ledger: &Arc<Ledger>, metrics: &Metrics, lifetime: Duration) {
    // What another node recorded of an app counts.
    if let Err(error) = ledger.become_current().await {
        tracing::warn!(%error, "apps that nobody approved were not looked for: the ledger could not be read");
        return;
    }
    let now = ledger.recorded_now();
    let is_due = |app: &App| {
        let is_self_registered = matches!(app.source, AppSource::Open | AppSource::InitialAccessToken(_));
        is_self_registered && !app.is_deleted() && app.registered_at.plus(lifetime) <= now
    };
    let is_unapproved = |app: &App| ledger.live().installations_of_app(&app.client_id, 0, 1, now).is_empty();
    let due = ledger.live().apps(0, usize::MAX).into_iter().filter(|app| is_due(app) && is_unapproved(app));
    for app in due.collect::<Vec<_>>() {
        let client_id = app.client_id;
        let reason = "it registered itself, and nobody approved it in time".to_owned();
        let actor = Actor { kind: ActorKind::System, id: NAME.to_owned() };
        let origin = Origin { actor, request_id: secrets::new_request_id() };
        let outcome = match ledger.settle(&origin, &DeleteApp { client_id, reason }).await {
            Ok(Ok(())) => "granted",
            // Another node was first.
            Ok(Err(_)) => "refused",
            Err(error) => {
                tracing::warn!(%client_id, %error, "an app that nobody approved could not be deleted: this is tried again");
                "failed"
            }
        };
        metrics.decision(DeleteApp::NAME, outcome);
    }
}
