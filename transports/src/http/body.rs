//! Reading a request's body: room before bytes, a limit, a pace, and one copy at most.
//!
//! A body that arrives in one frame is passed on as it is. hyper answers `Expect: 100-continue` when the body is polled for
//! the first time, which happens here and so after room was reserved.
use super::{coding::overloaded, guard::Fault, problem::Problem, seat::Timer, settings::HttpSettings};
use crate::Room;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use hyper::body::Incoming;
use schemas::{Refusal, Word};
use std::{error::Error, future::poll_fn, io, pin::Pin, task::Poll, time::Duration};
use tokio::time::Instant;

/// Room is taken for this much of a body at first; a larger one gets the rest as it arrives (design rule 4).
const ROOM_FIRST: usize = 64 * 1024;
/// Room of a chunked body grows by this much at least.
const ROOM_STEP: usize = 16 * 1024;
/// A refused body up to this size is read away so that the connection can go on, if it is already there.
const DRAIN_MAX: usize = 64 * 1024;

/// The declared length (`Content-Length`), if there is one.
pub(super) fn declared(body: &Incoming) -> Option<usize> {
    body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX))
}

/// What to reserve before the first byte is read.
///
/// # Errors
/// `too_large` when the declared length is above `max`, or above what one sender can ever have of the byte budget.
pub(super) fn first_room(declared: Option<usize>, max: usize, share: usize) -> Result<usize, Problem> {
    let Some(length) = declared else { return Ok(ROOM_STEP.min(max)) };
    if length > max {
        return Err(too_large(max));
    }
    if length > share {
        return Err(Problem::new(Word::TooLarge, format!("one sender may hold {share} bytes of the byte budget")));
    }
    Ok(length.min(ROOM_FIRST))
}

/// A body on its way in.
pub(super) struct Reader<'a> {
    pub(super) body: &'a mut Incoming,
    pub(super) timer: &'a mut Timer,
    pub(super) settings: &'a HttpSettings,
    began: Instant,
    received: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a mut Incoming, timer: &'a mut Timer, settings: &'a HttpSettings) -> Self {
        Reader { body, timer, settings, began: Instant::now(), received: 0 }
    }

    /// The whole body.
    ///
    /// # Errors
    /// 408 when it is too slow, `too_large`, `overloaded`, `protocol_error` when it breaks off or is badly chunked.
    pub(super) async fn read(mut self, room: &mut Room) -> Result<Bytes, Problem> {
        let expected = declared(self.body);
        let Some(first) = self.next(room).await? else { return Ok(Bytes::new()) };
        if self.body.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.next(room).await? else { return Ok(first) };
        let capacity = expected.unwrap_or(2 * (first.len() + second.len())).min(self.settings.max_body);
        let mut whole = BytesMut::with_capacity(capacity);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        drop((first, second));
        while let Some(more) = self.next(room).await? {
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }

    async fn next(&mut self, room: &mut Room) -> Result<Option<Bytes>, Problem> {
        let Some(data) = self.next_frame().await? else { return Ok(None) };
        self.received += data.len();
        if self.received > self.settings.max_body {
            return Err(too_large(self.settings.max_body));
        }
        let missing = self.received.saturating_sub(room.bytes());
        if missing > 0 && !room.try_grow(missing.max(ROOM_STEP)) {
            return Err(overloaded());
        }
        Ok(Some(data))
    }

    async fn next_frame(&mut self) -> Result<Option<Bytes>, Problem> {
        let deadline = self.deadline();
        loop {
            let frame = poll_fn(|cx| match Pin::new(&mut *self.body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => self.timer.poll(cx, deadline).map(|()| Err(too_slow())),
            })
            .await?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                // Trailers are no data, and nothing here asks for them.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    fn deadline(&self) -> Instant {
        let rate = u64::from(self.settings.body_rate_min.max(1));
        let earned = u64::try_from(self.received).unwrap_or(u64::MAX).saturating_mul(1000) / rate;
        self.began + self.settings.body_timeout + Duration::from_millis(earned)
    }
}

/// Reads away what has already arrived of a refused body. Returns whether that was all of it.
pub(super) async fn drain(body: &mut Incoming) -> bool {
    let mut drained = 0;
    poll_fn(|cx| {
        while !body.is_end_stream() && drained <= DRAIN_MAX {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => drained += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return Poll::Ready(false),
            }
        }
        Poll::Ready(body.is_end_stream())
    })
    .await
}

/// The guard's own words where it found the fault; else the body broke off.
fn broken(error: &hyper::Error) -> Problem {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::get_ref);
    match cause.and_then(|cause| cause.downcast_ref::<Fault>()) {
        Some(fault) => Problem::from(*fault),
        None => Problem::protocol(format!("the body cannot be read: {error}")),
    }
}

fn too_large(max: usize) -> Problem {
    Refusal::new(Word::TooLarge, format!("the body has more than {max} bytes")).into()
}

/// RFC 9110, section 15.5.9. Nothing was kept, so the word does not make it *unknown*.
fn too_slow() -> Problem {
    let detail = "the body did not arrive in time; nothing was kept";
    Problem::with_status(Word::Timeout, StatusCode::REQUEST_TIMEOUT, detail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn room_before_the_first_byte() {
        assert_eq!(first_room(Some(10), 100, 1000).unwrap(), 10);
        assert_eq!(first_room(Some(100), 100, 1000).unwrap(), 100);
        assert_eq!(first_room(Some(101), 100, 1000).unwrap_err().word, Word::TooLarge);
        assert_eq!(first_room(Some(101), 1000, 100).unwrap_err().word, Word::TooLarge);
        assert_eq!(first_room(Some(1 << 20), 1 << 20, 1 << 26).unwrap(), ROOM_FIRST);
        assert_eq!(first_room(None, 1 << 20, 1 << 26).unwrap(), ROOM_STEP);
    }
}
