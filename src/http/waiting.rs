//! How long a request may take to come, and how long its caller waits for the answer. Knows: the two limits, and whose turn
//! it is. Must not know: what is answered.
//!
//! While a body is awaited, it is the caller's turn. The caller waits only once nobody waits for the caller, so a slow
//! caller does not use up the time of the ledger.

use std::pin::pin;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use tokio::time::{Instant, timeout_at};

use super::endpoints::may_take_long;
use super::service::Service;
use super::unread::Unread;

/// How long a request may take, and its answer.
pub(super) struct Waiting {
    began: Instant,
    request: Duration,
    answer: Duration,
    unread: Option<Unread>,
}

/// What took longer than it may.
pub(super) enum TooLate {
    Request(Duration),
    Answer(Duration),
}

impl Waiting {
    pub(super) fn of(service: &Service, request: &ServiceRequest, unread: Option<Unread>) -> Self {
        let (complete, answered) = (service.config.limits.request_timeout, service.config.answer_within);
        let answer = if may_take_long(request.path()) { complete } else { answered };
        Self { began: Instant::now(), request: complete, answer, unread }
    }

    /// Waits for an answer as long as it may take.
    pub(super) async fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Result<T, TooLate> {
        let mut answer = pin!(answer);
        let complete_by = self.began + self.request;
        loop {
            let answered_by = self.since().unwrap_or_else(Instant::now) + self.answer;
            if let Ok(answer) = timeout_at(answered_by.min(complete_by), answer.as_mut()).await {
                return Ok(answer);
            }
            let now = Instant::now();
            match self.since() {
                None if complete_by <= now => return Err(TooLate::Request(self.request)),
                Some(since) if complete_by.min(since + self.answer) <= now => {
                    return Err(TooLate::Answer(self.answer));
                }
                // Meanwhile the caller was waited for.
                None | Some(_) => {}
            }
        }
    }

    /// Since when the caller waits for us; `None` while we wait for the caller.
    fn since(&self) -> Option<Instant> {
        self.unread.as_ref().map_or(Some(self.began), Unread::unawaited)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, poll_fn};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use actix_web::HttpMessage as _;
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use actix_web::web::Bytes;
    use futures_core::Stream;
    use tokio::time::{Sleep, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body of pieces that come one by one, each after a pause.
    struct Pieces {
        left: usize,
        pause: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl Stream for Pieces {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.next.as_mut().poll(context));
            (self.left, self.next) = (self.left - 1, Box::pin(sleep(self.pause)));
            Poll::Ready(Some(Ok(Bytes::from_static(b"piece"))))
        }
    }

    /// A request with such a body, of 30 s at most, that is answered within 5 s.
    fn given(left: usize, pause: Duration) -> (ServiceRequest, Waiting) {
        let mut request = TestRequest::default().to_srv_request();
        request.set_payload(Payload::Stream {
            payload: Box::pin(Pieces { left, pause, next: Box::pin(sleep(pause)) }),
        });
        let unread = Unread::of(&mut request);
        assert!(unread.is_some());
        let waiting = Waiting { began: Instant::now(), request: 30 * SECOND, answer: 5 * SECOND, unread };
        (request, waiting)
    }

    async fn read(request: &mut ServiceRequest) {
        let mut body = request.take_payload();
        while poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_caller_uses_up_none_of_the_time_for_the_answer() {
        let (mut request, waiting) = given(3, 4 * SECOND);
        let answered = waiting.wait_for(async {
            read(&mut request).await;
            sleep(4 * SECOND).await;
        });
        assert!(answered.await.is_ok());
        let (mut request, waiting) = given(3, 4 * SECOND);
        let late = waiting.wait_for(async {
            read(&mut request).await;
            pending::<Infallible>().await
        });
        assert!(matches!(late.await, Err(TooLate::Answer(within)) if within == 5 * SECOND));
        assert_eq!(waiting.began.elapsed(), 17 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_come_whole_is_too_late_and_not_its_answer() {
        let (mut request, waiting) = given(100, 4 * SECOND);
        assert!(matches!(waiting.wait_for(read(&mut request)).await, Err(TooLate::Request(_))));
        assert_eq!(waiting.began.elapsed(), 30 * SECOND);
    }

    /// What comes before the body is read is the time of the answer.
    #[tokio::test(start_paused = true)]
    async fn an_answer_is_late_also_if_the_body_was_not_looked_at() {
        let (_request, waiting) = given(1, SECOND);
        assert!(matches!(waiting.wait_for(pending::<Infallible>()).await, Err(TooLate::Answer(_))));
        assert_eq!(waiting.began.elapsed(), 5 * SECOND);
    }
}
