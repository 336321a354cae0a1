//! What a caller still has to say when it has its answer. Knows: bodies in chunks. Must not know: what a
//! body means.
//!
//! actix-http reads the rest of a chunked body that nobody reads any more, for as long as the caller sends
//! it or is silent, and no timeout holds meanwhile: a caller could keep its connection for ever. While
//! somebody still holds the body, it closes the connection instead, once the answer is sent. So the answer
//! holds it here.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError};
use futures_core::Stream;

/// The body of a request, if it comes in chunks. The length of any other is known, and actix-http closes
/// the connection if it was not read to its end.
#[derive(Clone)]
pub(super) struct Unread(Option<Body>);

#[derive(Clone)]
struct Body(Rc<RefCell<Payload>>);

impl Unread {
    /// Shares the body with whoever reads it.
    pub(super) fn of(request: &mut ServiceRequest) -> Self {
        if !request.chunked().unwrap_or(true) {
            return Self(None);
        }
        let body = Body(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Self(Some(body))
    }

    /// An answer that holds the body until it is sent.
    pub(super) fn held_by(self, response: ServiceResponse) -> ServiceResponse {
        match self.0 {
            None => response,
            Some(unread) => response.map_body(|_, answer| BoxBody::new(Holding { answer, _unread: unread })),
        }
    }

    /// An error whose answer holds the body until it is sent.
    pub(super) fn held_by_error(self, error: Error) -> Error {
        match self.0 {
            None => error,
            Some(unread) => HoldingError { error, unread }.into(),
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct Holding {
    answer: BoxBody,
    _unread: Body,
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

struct HoldingError {
    error: Error,
    unread: Body,
}

impl fmt::Debug for HoldingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for HoldingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for HoldingError {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let unread = self.unread.clone();
        self.error.error_response().map_body(|_, answer| BoxBody::new(Holding { answer, _unread: unread }))
    }
}
