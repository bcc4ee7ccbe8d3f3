//! A byte stream with the guard in front: what hyper reads has been looked at.
//!
//! Bytes go straight into hyper's buffer and are looked at there. Only half a head, and a pipeline above its limit, is kept
//! here until the rest has come. In the place of a head that is refused, hyper gets a request that stands for it, so that the
//! refusal leaves after the answers of all requests before it; a broken body ends with an error.
use super::{
    activity::Activity,
    guard::{Guard, Next},
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What stands for a refused request. No HTTP/1.1 request without a Host passes the guard, so that nobody else can send it.
const STAND_IN: &[u8] = b"POST / HTTP/1.1\r\n\r\n";
const STAND_IN_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";
/// Bytes that are read at once behind half a head.
const READ: usize = 4 * 1024;

/// See the module's documentation.
pub(super) struct Guarded<S> {
    stream: S,
    guard: Guard,
    activity: Arc<Activity>,
    /// Bytes that were read and are not given yet. The first `cleared` of them may pass.
    held: Vec<u8>,
    given: usize,
    cleared: usize,
    next: Next,
    /// The stand-in was put into `held`.
    refused: bool,
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    pub(super) fn new(stream: S, guard: Guard, activity: Arc<Activity>) -> Self {
        Guarded { stream, guard, activity, held: Vec::new(), given: 0, cleared: 0, next: Next::More, refused: false }
    }

    /// Looks at what is held, without what was given.
    fn look(&mut self) {
        let fed = self.guard.feed(&self.held);
        (self.cleared, self.next) = (fed.pass, fed.next);
        self.activity.holds_half_head(fed.next == Next::More && fed.pass < self.held.len());
    }

    /// Forgets what was given.
    fn forget_given(&mut self) {
        self.held.drain(..self.given);
        if self.held.is_empty() {
            // Idle connections keep nothing.
            self.held = Vec::new();
        }
        (self.given, self.cleared) = (0, 0);
    }

    /// Straight into `buf`. Ready: it holds bytes that may pass, or the peer is done.
    fn poll_straight(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if came.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let fed = self.guard.feed(came);
        self.next = fed.next;
        if fed.pass < came.len() {
            if matches!(fed.next, Next::More | Next::Full) {
                self.held.extend_from_slice(&came[fed.pass..]);
                self.activity.holds_half_head(fed.next == Next::More);
            }
            buf.set_filled(before + fed.pass);
        }
        Poll::Ready(Ok(fed.pass > 0))
    }

    /// Behind what is held. Ready: whether something came.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; READ];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.cleared {
                let end = this.cleared.min(this.given + buf.remaining());
                buf.put_slice(&this.held[this.given..end]);
                this.given = end;
                return Poll::Ready(Ok(()));
            }
            if this.given > 0 {
                this.forget_given();
            }
            match this.next {
                Next::More if this.held.is_empty() => {
                    if ready!(this.poll_straight(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Next::More => {
                    if !ready!(this.poll_behind(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                    this.look();
                }
                Next::Full => this.look(),
                Next::Head(..) if this.refused => return Poll::Ready(Ok(())),
                Next::Head(fault, is_head) => {
                    this.refused = true;
                    this.activity.refuse(fault);
                    this.held = if is_head { STAND_IN_HEAD } else { STAND_IN }.to_vec();
                    this.cleared = this.held.len();
                }
                Next::Body(fault) => {
                    this.activity.leaves_unread();
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
