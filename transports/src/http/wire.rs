//! The byte stream under hyper: it gives back the bytes that were read to tell the protocol's version, notes activity, and
//! closes so that the peer can still read the last answer.
use super::activity::Activity;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113, section 3.4); no HTTP/1 method begins so.
const PREFACE: &[u8; 3] = b"PRI";
/// After the last answer, bytes that nobody needs are read away for this long at most (RFC 9112, section 9.6) …
const LINGER_TIME: Duration = Duration::from_secs(1);
/// … and this many of them.
const LINGER_BYTES: usize = 1024 * 1024;

/// The bytes that told the version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sniffed {
    bytes: [u8; PREFACE.len()],
    len: usize,
}

impl Sniffed {
    /// Whether it is HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.bytes == *PREFACE
    }
}

/// Reads until it is known which HTTP it is; `None` when the peer closed before.
pub(super) async fn sniff(stream: &mut TcpStream) -> io::Result<Option<Sniffed>> {
    let mut sniffed = Sniffed { bytes: [0; PREFACE.len()], len: 0 };
    while sniffed.len < PREFACE.len() && sniffed.bytes[..sniffed.len] == PREFACE[..sniffed.len] {
        match stream.read(&mut sniffed.bytes[sniffed.len..]).await? {
            0 => return Ok(None),
            read => sniffed.len += read,
        }
    }
    Ok(Some(sniffed))
}

/// See the module's documentation.
pub(super) struct Wire {
    stream: TcpStream,
    sniffed: Sniffed,
    given: usize,
    activity: Arc<Activity>,
    lingering: Option<Linger>,
}

struct Linger {
    end: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, sniffed: Sniffed, activity: Arc<Activity>) -> Self {
        Wire { stream, sniffed, given: 0, activity, lingering: None }
    }

    /// After a write: whether the peer takes bytes.
    fn note(&self, sticks: bool) {
        if sticks {
            self.activity.writing_sticks();
        } else {
            self.activity.writing_moves();
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger =
            self.lingering.get_or_insert_with(|| Linger { end: Box::pin(tokio::time::sleep(LINGER_TIME)), bytes: 0 });
        let mut space = [0; 4096];
        while linger.bytes < LINGER_BYTES && linger.end.as_mut().poll(cx).is_pending() {
            let mut away = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut away)) {
                Ok(()) if !away.filled().is_empty() => linger.bytes += away.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.given < self.sniffed.len {
            let end = self.sniffed.len.min(self.given + buf.remaining());
            buf.put_slice(&self.sniffed.bytes[self.given..end]);
            self.given = end;
        }
        // Together with what came behind them, so that a head that came whole is seen whole.
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => read?,
            Poll::Pending if buf.filled().len() == before => return Poll::Pending,
            Poll::Pending => {}
        }
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.activity.must_linger() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
