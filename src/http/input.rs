//! What comes in: bodies, values of a query, and which answer is preferred. Knows: bytes and headers. Must
//! not know: what a request is for.

use std::cmp::Reverse;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::error::PathError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, Accept, Header as _, Quality};
use actix_web::web::{Bytes, BytesMut, PathConfig};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_core::Stream as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::openapi::describe::{Input, Operation};
use super::problem::Problem;
use super::reason::concealed;

/// The longest body of a management request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSON body. No body at all counts as `{}`.
#[derive(Debug, Clone)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let has_type = request.headers().contains_key(header::CONTENT_TYPE);
        let is_json = request.content_type().eq_ignore_ascii_case("application/json");
        // Nothing is read before this is polled, which is after the key was looked at.
        let payload = payload.take();
        Box::pin(async move {
            if has_type && !is_json {
                return Err(wrong_type());
            }
            let bytes = read_whole(payload, MAX_BODY_BYTES, "body").await?;
            match (bytes.is_empty(), has_type) {
                (true, false) => parse(b"{}"),
                (false, false) => Err(wrong_type()),
                (true | false, true) => parse(&bytes),
            }
            .map(Self)
        })
    }
}

impl<T: DeserializeOwned + ToSchema> Input for Body<T> {
    fn describe(operation: &mut Operation) {
        let is_required = serde_json::from_str::<T>("{}").is_err();
        operation.takes_body::<T>("application/json", is_required);
    }
}

/// The whole body, of at most so many bytes. `name` is what a refusal calls it.
pub async fn read_whole(mut payload: Payload, limit: usize, name: &str) -> Result<Bytes, Problem> {
    let mut next = async |room: usize| match poll_fn(|task| Pin::new(&mut payload).poll_next(task)).await {
        None => Ok(None),
        Some(Err(_)) => Err(Problem::bad_request(format!("the {name} could not be read to its end"))),
        Some(Ok(piece)) if piece.len() > room => {
            let detail = format!("the {name} may have at most {limit} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        }
        Some(Ok(piece)) => Ok(Some(piece)),
    };
    let Some(first) = next(limit).await? else { return Ok(Bytes::new()) };
    // Nearly every body comes in one piece, which is then not copied.
    let Some(second) = next(limit - first.len()).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next(limit - whole.len()).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let detail = error.into_inner();
        // serde_json says the line and the column; the path says the field.
        if field == "." {
            Problem::bad_request(concealed(&detail.to_string()))
        } else {
            Problem::bad_request(concealed(&format!("{field}: {detail}")))
        }
    })?;
    json.end().map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(value)
}

fn wrong_type() -> Problem {
    let detail = "the body must be JSON, sent with Content-Type: application/json";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// A value of a query, read through its `FromStr`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String", bound(deserialize = "T: FromStr, T::Err: Display"))]
pub struct Text<T>(pub T);

impl<T: FromStr> TryFrom<String> for Text<T> {
    type Error = T::Err;

    fn try_from(text: String) -> Result<Self, T::Err> {
        text.parse().map(Self)
    }
}

/// Which of these media types the caller prefers (RFC 9110 section 12.5.1); the first if none is accepted. Of two with
/// the same quality, the one that is named more precisely, and then the one that is named first.
pub fn accepted(request: &HttpRequest, media_types: &[&str]) -> usize {
    let Ok(accept) = Accept::parse(request) else { return 0 };
    // The quality of one, how precisely it is named, and where. Of several ranges that name it, the most precise counts.
    let preference = |media_type: &str| {
        let named = accept.iter().enumerate().filter_map(|(at, range)| {
            let precision = match range.item.essence_str() {
                "*/*" => 0,
                essence if essence == media_type => 2,
                essence => {
                    essence.strip_suffix('*').filter(|kind| media_type.starts_with(kind)).map(|_| 1)?
                }
            };
            Some((precision, Reverse(at), range.quality))
        });
        let (precision, at, quality) = named.max()?;
        (quality > Quality::ZERO).then_some((quality, precision, at))
    };
    let accepted =
        media_types.iter().enumerate().filter_map(|(at, media_type)| Some((preference(media_type)?, at)));
    // The last of equals is the greatest.
    accepted.rev().max_by_key(|(preference, _)| *preference).map_or(0, |(_, at)| at)
}

/// Makes what actix refuses of a path a problem. Put it into the app's data.
pub fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|error, _| match &error {
        PathError::Deserialize(error) => Problem::bad_request(format!("path: {error}")).into(),
        other => Problem::bad_request(format!("path: {other}")).into(),
    })
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use actix_web::error::PayloadError;
    use futures_core::Stream;

    use super::*;

    struct Pieces(Vec<&'static str>);

    impl Stream for Pieces {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(next.map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
        }
    }

    async fn read_pieces(pieces: &[&'static str], limit: usize) -> Result<Bytes, Problem> {
        let payload: Pin<Box<dyn Stream<Item = _>>> = Box::pin(Pieces(pieces.to_vec()));
        read_whole(Payload::Stream { payload }, limit, "body").await
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
            let refused = read_pieces(pieces, 4).await.unwrap_err();
            assert_eq!((refused.status, refused.code), (413, "too_large"), "{pieces:?}");
        }
    }
}
