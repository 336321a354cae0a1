//! The sample app of `grantbook serve --dev`: somebody else's app, as its developer would write it. Knows:
//! grantbook's URLs, a file of its own, and the browser in front of it. Must not know: anything inside
//! grantbook; all it learns comes over HTTP.
//!
//! It is the client of the flow: it keeps a client secret, sends people to the authorization endpoint with
//! `state` and PKCE, and exchanges the code they come back with. Beside that it looks at itself with an
//! operator key, to show what grantbook knows of it.

mod grantbook;
mod kept;
mod pages;
mod visits;
mod web;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::secrets::PlainSecret;
use grantbook::{CallError, Grantbook};
use kept::{Credentials, Keeper};
use web::Sample;

/// What the app is called.
const NAME: &str = "Sample App";
/// Who answers for it.
const OWNER: &str = "grantbook";
/// What it keeps, in grantbook's data directory because that is where a developer looks.
const FILE: &str = "sample-app.json";
/// Where people come back to. The port may be another one each time (RFC 8252 section 7.3).
const REGISTERED_CALLBACK: &str = "http://127.0.0.1/callback";
/// Where the app listens if it can, so that its address is the same after a restart.
const PORT: u16 = 8701;

/// What the sample app is started with.
#[derive(Debug)]
pub struct SampleOptions {
    /// Where grantbook is reached on this machine, without a trailing slash.
    pub url: String,
    /// grantbook's issuer: where browsers are sent, and what they must come back from (RFC 9207).
    pub issuer: String,
    /// An operator key of role `admin`.
    pub key: PlainSecret,
    /// Where the app keeps its file.
    pub data_dir: PathBuf,
    /// Every scope that there is.
    pub scopes: Vec<String>,
}

/// Why there is no sample app.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// It is not for this ledger.
    #[error(
        "the ledger is not empty and {0} holds no app of it, so no sample app is registered; \
         to see it, use an empty directory: --data DIR"
    )]
    NotMine(PathBuf),
    /// Its file cannot be used.
    #[error("{path}: {source}; the sample app keeps its client secret there, and will not overwrite it")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// grantbook did not answer as it should.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot listen.
    #[error("the sample app cannot listen on loopback: {0}")]
    Listen(io::Error),
}

/// Registers the app if the ledger is empty, and serves it for as long as the process runs. To be called
/// within a Tokio runtime, when grantbook answers. Gives the URL of its first page.
///
/// # Errors
/// If there is no sample app for this ledger, or it cannot be served.
pub async fn start(options: SampleOptions) -> Result<String, SampleError> {
    let SampleOptions { url, issuer, key, data_dir, scopes } = options;
    let known = scopes.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let grantbook = Grantbook::new(url, key);
        let keeper = keeper(&grantbook, &data_dir.join(FILE), &known)?;
        Ok::<_, SampleError>((grantbook, keeper))
    });
    let (grantbook, keeper) =
        opening.await.map_err(|broke| SampleError::Listen(io::Error::other(broke)))??;
    let listener = listen().map_err(SampleError::Listen)?;
    let url = format!("http://{}", listener.local_addr().map_err(SampleError::Listen)?);
    let sample = Sample::new(grantbook, keeper, issuer, &url, scopes);
    let server = web::serve(sample, listener).map_err(SampleError::Listen)?;
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::warn!(%error, "the sample app ended with an error");
        }
    });
    Ok(url)
}

fn listen() -> io::Result<TcpListener> {
    let at = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    at(PORT).or_else(|_| at(0))
}

/// What the app kept, if grantbook still knows it; a new registration if grantbook knows no app at all.
fn keeper(grantbook: &Grantbook, path: &Path, scopes: &[String]) -> Result<Keeper, SampleError> {
    let file = |source| SampleError::File { path: path.into(), source };
    if let Some(keeper) = Keeper::load(path).map_err(file)? {
        match grantbook.app(&keeper.credentials().client_id) {
            Ok(app) => {
                // The scopes that there are may be others since; an app may not ask for one that is none.
                if app.state() == "active" && !app.scopes.iter().all(|scope| scopes.contains(scope)) {
                    grantbook.change_scopes(&keeper.credentials().client_id, scopes)?;
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
    let credentials: Credentials = grantbook.register(&[REGISTERED_CALLBACK], scopes)?;
    Keeper::create(path, credentials).map_err(file)
}
