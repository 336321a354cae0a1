//! What is known of a request from its start. Knows: its name, which is in its logs, in the events it causes and in its
//! reply; where our own paths begin for it; who asks; and whether it may have changed something. Must not know: what is asked.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderName;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use grantbook_events::{Actor, ActorKind, ClientId, RequestId};

use super::service::{KeyName, Service};
use crate::decisions::Command;
use crate::ledger::{LedgerError, Origin};
use crate::pages::Prefix;
use crate::secrets;
use crate::telemetry::Metrics;

/// The header that carries the request id, in and out.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id taken from a caller, in characters.
const REQUEST_ID_MAX: usize = 64;

/// What is known of a request from its start. One allocation, because each token check makes one.
#[derive(Debug, Clone)]
pub struct Context(Arc<Facts>);

#[derive(Debug)]
pub struct Facts {
    /// The request's name. Taken from the caller (a proxy, usually) if it sent a plain one, else minted.
    pub request_id: RequestId,
    /// Where our own paths begin for the browser that asks.
    pub prefix: Prefix,
    caller: OnceLock<Caller>,
    /// Set once a command of this request is before the ledger.
    settles: OnceLock<()>,
}

/// Counts a command at its end, also if nobody waits for it any more.
struct Counted<'a> {
    metrics: &'a Metrics,
    command: &'static str,
    outcome: &'static str,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.decision(self.command, self.outcome);
    }
}

impl Deref for Context {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

/// Who asks, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The app that the request names, whether or not it proved to be that app.
    App(ClientId),
    /// The operator key that it came with.
    Operator(KeyName),
}

impl Context {
    /// The context of a request, the same however often it is asked for.
    pub fn of(request: &HttpRequest) -> Self {
        if let Some(context) = request.extensions().get::<Self>() {
            return context.clone();
        }
        let context = Self::name(request);
        request.extensions_mut().insert(context.clone());
        context
    }

    /// Says who asks. Only the first call counts.
    pub fn is_from(&self, caller: Caller) {
        let _ = self.caller.set(caller);
    }

    /// Who asks, if that is known.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// Settles a command of this request and counts how it went. From here on the request may have changed something.
    ///
    /// # Errors
    /// As [`Ledger::settle`](crate::ledger::Ledger::settle).
    pub async fn settle<C: Command>(
        &self,
        service: &Service,
        origin: &Origin,
        command: &C,
    ) -> Result<Result<C::Answer, C::Refusal>, LedgerError> {
        let _ = self.settles.set(());
        let mut counted = Counted { metrics: &service.metrics, command: C::NAME, outcome: "failed" };
        let settled = service.ledger.settle(origin, command).await;
        match &settled {
            Ok(Ok(_)) => counted.outcome = "granted",
            Ok(Err(_)) => counted.outcome = "refused",
            Err(_) => {}
        }
        settled
    }

    /// Whether the request may have changed something.
    pub fn may_have_changed(&self) -> bool {
        self.settles.get().is_some()
    }

    fn name(request: &HttpRequest) -> Self {
        let sent = request.headers().get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
        let plain = |text: &&str| {
            text.len() <= REQUEST_ID_MAX
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let request_id = sent.filter(plain).and_then(|text| text.parse().ok());
        let prefix = request.app_data::<web::Data<Service>>().map(|service| service.prefix.clone());
        Self(Arc::new(Facts {
            request_id: request_id.unwrap_or_else(secrets::new_request_id),
            prefix: prefix.unwrap_or_default(),
            caller: OnceLock::new(),
            settles: OnceLock::new(),
        }))
    }

    /// Who asks, through this request.
    pub fn origin(&self, kind: ActorKind, id: impl Into<String>) -> Origin {
        Origin { actor: Actor { kind, id: id.into() }, request_id: self.request_id.clone() }
    }
}

impl FromRequest for Context {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}
