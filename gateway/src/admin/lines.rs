//! JSON lines as a response: written while they are found, bounded by what the reader takes.
use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// Lines that wait for a slow reader before their writer waits.
const WAITING_MAX: usize = 64;

/// Where a writer puts its lines. When the reader is gone, sending fails and the writer stops.
#[derive(Clone, Debug)]
pub struct Lines(mpsc::Sender<Bytes>);

/// The reader is gone.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

impl Lines {
    /// The writing end, and the response that carries what is written.
    pub fn open() -> (Lines, Response) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
        let stream =
            futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>)));
        let response = ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response();
        (Lines(sender), response)
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send(&self, mut line: Vec<u8>) -> Result<(), Gone> {
        line.push(b'\n');
        self.0.send(line.into()).await.map_err(|_| Gone)
    }

    /// Writes one line from a thread that may block.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send_blocking(&self, mut line: Vec<u8>) -> Result<(), Gone> {
        line.push(b'\n');
        self.0.blocking_send(line.into()).map_err(|_| Gone)
    }

    /// Ready when the reader is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// One object as a line.
pub fn json_line(value: &impl serde::Serialize) -> Vec<u8> {
    // Our own types with string keys: writing them to memory cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}
