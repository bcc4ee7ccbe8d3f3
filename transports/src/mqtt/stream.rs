//! The byte stream under a session: input that holds a buffer only while there is something in it, output that leaves in one
//! write.
use bytes::BytesMut;
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

/// Bytes read at once when nothing larger is announced.
pub const CHUNK: usize = 8 * 1024;
/// What is left of an incomplete packet below this size is moved to a buffer of its own size.
const SMALL: usize = 512;

/// A byte stream that can carry MQTT.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready when a read may find something, so that no buffer is needed while it would not. A stream that cannot tell is
    /// always ready.
    ///
    /// # Errors
    /// The stream's.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Stream for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Stream for tokio::io::DuplexStream {
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads into `buffer` with room for at least `more` bytes; ready with the count, 0 at the end of the stream. While nothing
/// comes an empty buffer is given back, and a nearly empty one is made small.
pub fn poll_fill<S: Stream>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    more: usize,
) -> Poll<io::Result<usize>> {
    let polled = match stream.poll_readable(cx) {
        Poll::Ready(Ok(())) => {
            buffer.reserve(more);
            pin!(stream.read_buf(buffer)).poll(cx)
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    };
    if polled.is_pending() {
        if buffer.is_empty() {
            *buffer = BytesMut::new();
        } else if buffer.len() < SMALL && buffer.capacity() > 2 * SMALL && more <= CHUNK {
            *buffer = BytesMut::from(&buffer[..]);
        }
    }
    polled
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    written: usize,
    since: Option<Instant>,
}

impl Output {
    /// Where to put packets.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that have not left.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Since when the peer has not taken what there is.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.since
    }

    /// Writes all there is; ready when nothing is left, and then holds no buffer.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_flush<S: Stream>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let polled = Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.written..]);
            if polled.is_pending() && self.since.is_none() {
                self.since = Some(Instant::now());
            }
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.since = None;
                }
            }
        }
        *self = Output::default();
        Pin::new(stream).poll_flush(cx)
    }
}
