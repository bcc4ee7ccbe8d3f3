//! An HTTP/1.1 client for one gateway: POST, and the answer as it is read by `send` and by the demo's services.
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{io, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Longest answer that is read.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// One kept-alive connection.
#[derive(Debug)]
pub struct HttpClient {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// The status.
    pub status: StatusCode,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// `Retry-After`, if there is one.
    pub retry_after: Option<String>,
}

impl HttpReply {
    /// A text member of the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    /// Whether the gateway does not know what became of the message.
    pub fn is_unknown(&self) -> bool {
        self.text("outcome") == Some("unknown")
    }
}

impl HttpClient {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// No connection.
    pub async fn connect(host: &str) -> io::Result<HttpClient> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let stream = timeout(CONNECT_TIME, TcpStream::connect(host)).await.map_err(|_| late())??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its end is seen by the sender as a failed request.
        tokio::spawn(async move { connection.await.ok() });
        Ok(HttpClient { sender, host: host.to_owned() })
    }

    /// Posts a body and waits for the answer, at most for `patience`.
    ///
    /// # Errors
    /// A header that cannot be written, or no answer: then whether the message was kept is not known.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
        patience: Duration,
    ) -> Result<HttpReply, PostFault> {
        let mut request = Request::post(path).header(header::HOST, &self.host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| PostFault::Request(error.to_string()))?;
        let asking = async {
            let reply =
                self.sender.send_request(request).await.map_err(|error| PostFault::NoAnswer(error.to_string()))?;
            let status = reply.status();
            let retry_after =
                reply.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = Limited::new(reply.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(|error| PostFault::NoAnswer(error.to_string()))?.to_bytes();
            Ok(HttpReply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), retry_after })
        };
        let none = || PostFault::NoAnswer(format!("no answer within {} s", patience.as_secs()));
        timeout(patience, asking).await.unwrap_or_else(|_| Err(none()))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostFault {
    /// The request cannot be written: nothing was sent.
    Request(String),
    /// No answer came.
    NoAnswer(String),
}
