//! What a caller still has to say when it has its answer. Knows: bodies in chunks. Must not know: what a
//! body means.
//!
//! actix-http reads the rest of a chunked body that is not read any more, for as long as the caller sends
//! it or is silent, and no timeout holds meanwhile: a caller could keep its connection for ever. While
//! something still holds the body, it closes the connection instead, once the answer is sent. So the answer
//! holds it here.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpResponse};
use futures_core::Stream;

/// The body of a request that comes in chunks.
#[derive(Clone)]
pub(super) struct Unread(Rc<RefCell<Payload>>);

impl Unread {
    /// Shares the body with its reader, if it comes in chunks. The length of any other is known, and actix-http closes
    /// the connection if it was not read to its end.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.chunked().unwrap_or(true) {
            return None;
        }
        let body = Self(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Some(body)
    }

    /// An answer that holds the body until it is sent.
    pub(super) fn held_by(self, response: HttpResponse) -> HttpResponse {
        response.map_body(|_, answer| BoxBody::new(Holding { answer, _unread: self }))
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
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
