//! The sample app of `grantbook serve --dev`: a third-party app, as its developer would write it. Knows:
//! grantbook's URLs, a file of its own, and the browser in front of it. Must not know: anything inside
//! grantbook; all it learns comes over HTTP.
//!
//! Read `client` first: it is the part that every app has. It sends the person to the authorization endpoint
//! with `state` and PKCE, checks the answer, exchanges the code and, at the end, revokes the token. A real app
//! gets its client id and secret from the operator of grantbook. This one plays the operator too: it registers
//! itself, introspects its tokens as an API would, and shows what grantbook knows about its installations.
//!
//! | file | what it is for |
//! |---|---|
//! | `client` | what every app does: authorize, exchange, revoke |
//! | `grantbook` | how it is reached, and what operators and APIs ask: register, introspect, read, uninstall |
//! | `session` | who is in front of the app, and which `state` they left with |
//! | `kept` | the file with the client secret and the tokens |
//! | `web`, `refused` | the app's URLs and what they show |

mod client;
mod grantbook;
mod kept;
mod refused;
mod session;
mod web;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use actix_web::dev::ServerHandle;
use serde_json::json;
use tokio::task::JoinHandle;

pub use grantbook::CallError;

use crate::secrets::PlainSecret;
use client::Client;
use grantbook::{Operator, Server};
use kept::Kept;
use session::Pending;
use web::{CALLBACK, Sample};

/// In grantbook's data directory, because that is where a developer looks.
const FILE: &str = "sample-app.json";

#[derive(Debug)]
pub struct SampleOptions {
    /// Where this machine reaches grantbook, without a trailing slash.
    pub grantbook: String,
    /// The issuer that answers must come from (RFC 9207).
    pub issuer: String,
    /// An operator key of role `admin`.
    pub key: PlainSecret,
    pub data_dir: PathBuf,
    /// The whole catalogue of scopes; the app asks for all of them.
    pub scopes: Vec<String>,
    /// The port to listen on, so that the address is the same after a restart. If it is taken, any other.
    pub port: u16,
}

/// Why there is no sample app.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error(
        "no sample app: the ledger holds apps, and {0} names none of them; to see the sample app, start on an \
         empty directory, as in --data DIR"
    )]
    NotMine(PathBuf),
    #[error("the sample app keeps its client secret in {path}: {source}; repair it or move it away")]
    File { path: PathBuf, source: io::Error },
    #[error("the sample app cannot start: {0}")]
    Call(#[from] CallError),
    #[error("the sample app cannot be served on loopback: {0}")]
    Serve(#[from] io::Error),
}

/// A sample app that is running.
#[derive(Debug)]
pub struct SampleApp {
    /// Its first page.
    pub url: String,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl SampleApp {
    /// Registers the app if the ledger is empty, and serves it. Call it within a Tokio runtime, once grantbook
    /// answers.
    pub async fn start(options: SampleOptions) -> Result<Self, SampleError> {
        let listener = listen(options.port)?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = url.clone();
        let opening = tokio::task::spawn_blocking(move || open(options, app));
        let sample = opening.await.map_err(io::Error::from)??;
        let server = web::serve(sample, listener)?;
        Ok(Self { url, handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Stops serving. Requests in progress finish, so that no token is lost between its issue and the file.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(%error, "the sample app ended with an error");
        }
    }
}

/// Always on loopback, also if grantbook listens elsewhere: the app is for this machine.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|error| {
        tracing::info!(port, %error, "the sample app cannot have its usual port, so it takes another");
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    })
}

fn open(options: SampleOptions, url: String) -> Result<Sample, SampleError> {
    let SampleOptions { grantbook, issuer, key, data_dir, scopes, .. } = options;
    let operator = Operator(Server::new(&grantbook, format!("Bearer {}", key.expose())));
    let kept = kept(&operator, &data_dir.join(FILE), &scopes)?;
    let client = Client {
        server: Server::new(&grantbook, kept.credentials.basic()),
        client_id: kept.credentials.client_id.clone(),
        redirect_uri: format!("{url}{CALLBACK}"),
        scope: scopes.join(" "),
        issuer,
    };
    Ok(Sample { url, client, operator, kept, pending: Pending::default() })
}

/// What the app kept, if grantbook still knows the app. If grantbook knows no app at all, the app is
/// registered and starts with a new file.
fn kept(operator: &Operator, path: &Path, scopes: &[String]) -> Result<Kept, SampleError> {
    let file = |source| SampleError::File { path: path.into(), source };
    if let Some(kept) = Kept::load(path).map_err(file)? {
        let client_id = &kept.credentials.client_id;
        match operator.app(client_id) {
            Ok(app) => {
                // The catalogue may have changed, and an app may ask only for scopes it is registered for.
                if app["status"]["state"] == "active" && app["scopes"] != json!(scopes) {
                    operator.change_scopes(client_id, scopes)?;
                }
                return Ok(kept);
            }
            Err(CallError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if operator.has_apps()? {
        return Err(SampleError::NotMine(path.into()));
    }
    let credentials = operator.register(scopes)?;
    tracing::info!(client_id = %credentials.client_id, "the sample app is registered");
    Kept::create(path, credentials).map_err(file)
}
