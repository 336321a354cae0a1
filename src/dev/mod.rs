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
//! | `grantbook` | how requests are sent to it, and how they fail |
//! | `kept` | the file with the client secret and the tokens |
//! | `web`, `refused` | the app's URLs, what they show, and the cookie |
//!
//! This file starts the app and registers it.

mod client;
mod grantbook;
mod kept;
mod refused;
mod web;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use actix_web::dev::ServerHandle;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::json;

use crate::secrets::PlainSecret;
use client::{Client, MAX_ATTEMPTS};
use grantbook::{CallError, Server};
use kept::{Credentials, Kept};
use web::{CALLBACK, NAME, Sample};

/// In grantbook's data directory, because that is where a developer looks.
const FILE: &str = "sample-app.json";
/// The redirect URI as it is registered: the port of a loopback address may differ (RFC 8252 section 7.3).
const REGISTERED_CALLBACK: &str = "http://127.0.0.1/callback";

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
}

impl SampleApp {
    /// Registers the app if the ledger is empty, and serves it. Call it within a Tokio runtime, once grantbook
    /// answers.
    pub async fn start(options: SampleOptions) -> Result<Self, SampleError> {
        let listener = listen(options.port)?;
        let url = format!("http://{}", listener.local_addr()?);
        let redirect_uri = format!("{url}{CALLBACK}");
        let opening = tokio::task::spawn_blocking(move || open(options, redirect_uri));
        let sample = opening.await.map_err(io::Error::from)??;
        let server = web::serve(sample, listener)?;
        let handle = server.handle();
        tokio::spawn(async {
            server.await.inspect_err(|error| tracing::warn!(%error, "the sample app ended with an error"))
        });
        Ok(Self { url, handle })
    }

    /// Stops serving. Requests in progress finish, so that no token is lost between its issue and the file.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

/// Always on loopback, also if grantbook listens elsewhere: the app is for this machine.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|error| {
        tracing::info!(port, %error, "the sample app cannot have its usual port, so it takes another");
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    })
}

fn open(options: SampleOptions, redirect_uri: String) -> Result<Sample, SampleError> {
    let SampleOptions { grantbook, issuer, key, data_dir, scopes, .. } = options;
    let operator = Server::new(&grantbook, format!("Bearer {}", key.expose()));
    let kept = kept(&operator, &data_dir.join(FILE), &scopes)?;
    let Credentials { client_id, client_secret } = &kept.credentials;
    // HTTP Basic (RFC 6749 section 2.3.1). grantbook's ids and secrets are the same before and after form-encoding.
    let basic = BASE64_STANDARD.encode(format!("{client_id}:{client_secret}"));
    let client = Client {
        server: Server::new(&grantbook, format!("Basic {basic}")),
        client_id: client_id.clone(),
        redirect_uri,
        scope: scopes.join(" "),
        issuer,
        attempts: Mutex::new(LruCache::new(MAX_ATTEMPTS)),
    };
    Ok(Sample { client, operator, kept: Mutex::new(kept) })
}

/// What the app kept, if grantbook still knows the app. If grantbook knows no app at all, the app is
/// registered and starts with a new file.
fn kept(operator: &Server, path: &Path, scopes: &[String]) -> Result<Kept, SampleError> {
    let file = |source| SampleError::File { path: path.into(), source };
    if let Some(kept) = Kept::load(path).map_err(file)? {
        let app_path = format!("/apps/{}", kept.credentials.client_id);
        match operator.get("read the app", &app_path) {
            Ok(app) => {
                // The catalogue may have changed, and an app may ask only for scopes it is registered for.
                if app["status"]["state"] == "active" && app["scopes"] != json!(scopes) {
                    operator.patch("change the app", &app_path, json!({ "scopes": scopes }))?;
                }
                return Ok(kept);
            }
            Err(CallError(Some(404), _)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if operator.get("list apps", "/apps?limit=1")?["items"] != json!([]) {
        return Err(SampleError::NotMine(path.into()));
    }
    let app = json!({
        "name": NAME,
        "owner": "grantbook",
        "redirect_uris": [REGISTERED_CALLBACK],
        "scopes": scopes,
    });
    // The reply holds the client secret. grantbook shows it only this once and keeps a digest.
    let credentials: Credentials = operator.post("register the app", "/apps", app)?;
    tracing::info!(client_id = %credentials.client_id, "the sample app is registered");
    let kept = Kept { path: path.into(), credentials, tokens: Vec::new() };
    kept.write().map_err(file)?;
    Ok(kept)
}
