//! Reads a body to its end. Knows: bytes and how many there may be. Must not know: what they say, or how
//! a refusal is spelt.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use actix_web::body::{BodyStream, MessageBody};
use actix_web::web::{Bytes, BytesMut, Payload};

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than it may have. The rest was not read.
    #[error("the body is too large")]
    TooLarge,
    /// It ended before it was complete.
    #[error("the body ended before it was complete")]
    Incomplete,
}

/// The whole body, of at most `limit` bytes.
pub async fn read(payload: Payload, limit: usize) -> Result<Bytes, BodyError> {
    let mut body = pin!(BodyStream::new(payload));
    let Some(first) = next(body.as_mut(), limit).await? else { return Ok(Bytes::new()) };
    // Nearly every body comes in one piece, which is then not copied.
    let Some(second) = next(body.as_mut(), limit - first.len()).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next(body.as_mut(), limit - whole.len()).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece, of at most `room` bytes.
async fn next(mut body: Pin<&mut impl MessageBody>, room: usize) -> Result<Option<Bytes>, BodyError> {
    match poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        None => Ok(None),
        Some(Err(_)) => Err(BodyError::Incomplete),
        Some(Ok(piece)) if piece.len() > room => Err(BodyError::TooLarge),
        Some(Ok(piece)) => Ok(Some(piece)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::error::PayloadError;
    use actix_web::{FromRequest, dev, test};
    use futures_core::Stream;
    use std::task::{Context, Poll};

    struct Pieces(Vec<&'static str>);

    impl Stream for Pieces {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(next.map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
        }
    }

    async fn read_pieces(pieces: &[&'static str], limit: usize) -> Result<Bytes, BodyError> {
        let pieces = Pieces(pieces.to_vec());
        let request = test::TestRequest::default().to_http_request();
        let pieces: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(pieces);
        let mut payload = dev::Payload::Stream { payload: pieces };
        read(Payload::from_request(&request, &mut payload).await.unwrap(), limit).await
    }

    #[tokio::test]
    async fn a_body_in_any_number_of_pieces_is_read_whole() {
        for pieces in [&[][..], &["whole"], &["in ", "two"], &["in", " ", "three", " pieces"]] {
            assert_eq!(read_pieces(pieces, 64).await.unwrap(), pieces.concat(), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn the_limit_holds_over_all_pieces() {
        for pieces in [&["12345"][..], &["123", "45"], &["1", "2", "345"], &["1", "2", "3", "45"]] {
            assert_eq!(read_pieces(pieces, 5).await.unwrap(), "12345", "{pieces:?}");
            assert_eq!(read_pieces(pieces, 4).await, Err(BodyError::TooLarge), "{pieces:?}");
        }
    }
}
