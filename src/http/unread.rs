//! What a caller still has to say. Knows: bodies, and since when nobody waits for more of one. Must not know: what a body
//! means.
//!
//! actix-http reads the rest of a chunked body that is not read any more, for as long as the caller sends
//! it or is silent, and no timeout holds meanwhile: a caller could keep its connection for ever. While
//! something still holds the body, it closes the connection instead, once the answer is sent. So the answer
//! holds it here.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpResponse};
use futures_core::Stream;
use tokio::time::Instant;

/// The body of a request.
#[derive(Clone)]
pub(super) struct Unread(Rc<Body>);

struct Body {
    payload: RefCell<Payload>,
    is_chunked: bool,
    /// Since when nobody waits for the caller to send more of it; `None` while somebody does.
    unawaited: Cell<Option<Instant>>,
}

impl Unread {
    /// Shares the body with its reader; `None` if there is no body.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        let payload = match request.take_payload() {
            Payload::None => return None,
            payload => RefCell::new(payload),
        };
        let (is_chunked, unawaited) = (request.chunked().unwrap_or(true), Cell::new(Some(Instant::now())));
        let body = Self(Rc::new(Body { payload, is_chunked, unawaited }));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Some(body)
    }

    /// Since when nobody waits for the caller; `None` while somebody does.
    pub(super) fn unawaited(&self) -> Option<Instant> {
        self.0.unawaited.get()
    }

    /// An answer that holds the body until it is sent, if it comes in chunks. The length of any other is known, and
    /// actix-http closes the connection if it was not read to its end.
    pub(super) fn held_by(self, response: HttpResponse) -> HttpResponse {
        if !self.0.is_chunked {
            return response;
        }
        response.map_body(|_, answer| BoxBody::new(Holding { answer, _unread: self }))
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = Pin::new(&mut *self.0.payload.borrow_mut()).poll_next(context);
        let unawaited = piece.is_ready().then(|| self.unawaited().unwrap_or_else(Instant::now));
        self.0.unawaited.set(unawaited);
        piece
    }
}

struct Holding {
    answer: BoxBody,
    _unread: Unread,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
