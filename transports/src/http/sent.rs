//! An answer's body on its way out. Over HTTP/2 it is known how long it waits for the peer's window.
use super::activity::Unsent;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// See the module's documentation.
pub(super) struct Sent {
    pub(super) body: Full<Bytes>,
    /// Dropped with the body, when all of it was handed over.
    pub(super) _unsent: Option<Unsent>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
