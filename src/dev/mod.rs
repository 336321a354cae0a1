//! The sample app of `grantbook serve --dev`: somebody else's app, as its developer would write it. Knows:
//! grantbook's URLs, a file of its own, and the browser in front of it. Must not know: anything inside
//! grantbook; all it learns comes over HTTP.
//!
//! It is the client of the flow: it keeps a client secret, sends people to the authorization endpoint with
//! `state` and PKCE, and exchanges the code they come back with. Beside that it looks at itself with an
//! operator key, to show what grantbook knows of it.
//!
//! | file | what it is for |
//! |---|---|
//! | `grantbook` | what the app and its operator ask grantbook |
//! | `kept`, `visits` | what outlives a restart, and what does not |
//! | `sample` | what the app does |
//! | `web`, `pages`, `refused` | what browsers ask and see |

mod grantbook;
mod kept;
mod pages;
mod refused;
mod sample;
mod visits;
mod web;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

pub use grantbook::CallError;

use crate::secrets::PlainSecret;
use grantbook::Grantbook;
use kept::Keeper;
use sample::{Places, Sample};

/// What the app is called.
const NAME: &str = "Sample App";
/// Who answers for it.
const OWNER: &str = "grantbook";
/// What it keeps, in grantbook's data directory because that is where a developer looks.
const FILE: &str = "sample-app.json";
/// Where people come back to.
const CALLBACK: &str = "/callback";
/// The same as it is registered. The port may be another one each time (RFC 8252 section 7.3).
const REGISTERED_CALLBACK: &str = "http://127.0.0.1/callback";

/// What the sample app is started with.
#[derive(Debug)]
pub struct SampleOptions {
    /// Where this machine reaches grantbook, without a trailing slash.
    pub grantbook: String,
    /// The issuer that answers must come from (RFC 9207).
    pub issuer: String,
    /// An operator key of role `admin`.
    pub key: PlainSecret,
    /// Where the app keeps its file.
    pub data_dir: PathBuf,
    /// Every scope that there is.
    pub scopes: Vec<String>,
    /// The port to listen on, so that the address is the same after a restart; any other if it is taken.
    pub port: u16,
}

/// Why there is no sample app.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The ledger is somebody's, and the app is not in it.
    #[error(
        "no sample app: the ledger holds apps, and {0} names none of them; to see the sample app, start on an \
         empty directory, as in --data DIR"
    )]
    NotMine(PathBuf),
    /// Its file cannot be used.
    #[error("the sample app keeps its client secret in {path}: {source}; repair it or move it away")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// grantbook did not answer as it should.
    #[error("the sample app cannot start: {0}")]
    Call(#[from] CallError),
    /// It cannot be served.
    #[error("the sample app cannot be served on loopback: {0}")]
    Serve(io::Error),
}

/// A sample app that is running.
#[derive(Debug)]
pub struct SampleApp {
    url: String,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl SampleApp {
    /// Registers the app if the ledger is empty, and serves it. Must be called within a Tokio runtime, when
    /// grantbook answers.
    ///
    /// # Errors
    /// If there is no sample app for this ledger, or it cannot be served.
    pub async fn start(options: SampleOptions) -> Result<Self, SampleError> {
        let SampleOptions { grantbook: at, issuer, key, data_dir, scopes, port } = options;
        let client = Grantbook::new(at.clone(), key);
        let asked = scopes.join(" ");
        let opening = tokio::task::spawn_blocking(move || {
            let keeper = keeper(&client, &data_dir.join(FILE), &scopes)?;
            Ok::<_, SampleError>((client, keeper))
        });
        let (client, keeper) = opening.await.map_err(|broke| SampleError::Serve(broke.into()))??;
        let listener = listen(port).map_err(SampleError::Serve)?;
        let address = listener.local_addr().map_err(SampleError::Serve)?;
        let places = Places { grantbook: at, issuer, app: format!("http://{address}") };
        let url = places.app.clone();
        let server = web::serve(Sample::new(client, keeper, places, asked), listener);
        let server = server.map_err(SampleError::Serve)?;
        Ok(Self { url, handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Its first page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops serving; requests under way finish, so that no token is lost between its issue and the file.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(%error, "the sample app ended with an error");
        }
    }
}

/// Loopback, whatever grantbook listens on: nobody else has any business here.
fn listen(port: u16) -> io::Result<TcpListener> {
    let at = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    at(port).or_else(|error| {
        tracing::info!(port, %error, "the sample app's own port cannot be had, so it is at another");
        at(0)
    })
}

/// What the app kept, if grantbook still knows it; a new registration if grantbook knows no app at all.
fn keeper(grantbook: &Grantbook, path: &Path, scopes: &[String]) -> Result<Keeper, SampleError> {
    let file = |source| SampleError::File { path: path.into(), source };
    if let Some(keeper) = Keeper::load(path).map_err(file)? {
        let client_id = keeper.credentials().client_id;
        match grantbook.app(&client_id) {
            Ok(app) => {
                // The catalogue may be another one since; an app may ask only for what is in it.
                if app.is_active() && !app.may_ask_for(scopes) {
                    grantbook.change_scopes(&client_id, scopes)?;
                }
                return Ok(keeper);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if grantbook.has_apps()? {
        return Err(SampleError::NotMine(path.into()));
    }
    let credentials = grantbook.register(&[REGISTERED_CALLBACK], scopes)?;
    tracing::info!(client_id = %credentials.client_id, "the sample app is registered");
    Keeper::create(path, credentials).map_err(file)
}
