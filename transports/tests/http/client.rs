//! A listener to talk to, and a client that knows only bytes.
use crate::support::FakeGate;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use transports::{
    Gate,
    http::{HttpListener, HttpSettings},
    net::Shutdown,
};

/// No test waits longer for a byte.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub struct Server {
    pub address: SocketAddr,
    pub gate: Arc<FakeGate>,
    pub stop: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

/// Limits that tests can wait for.
pub fn settings() -> HttpSettings {
    HttpSettings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), max_body: 10_000, ..HttpSettings::default() }
}

pub async fn start() -> Server {
    start_with(FakeGate::new(), settings()).await
}

pub async fn start_with(gate: Arc<FakeGate>, settings: HttpSettings) -> Server {
    let listener = HttpListener::bind("test", settings).await.unwrap();
    let address = listener.address();
    let (stop, shutdown) = Shutdown::channel();
    let task = tokio::spawn(listener.serve(Arc::clone(&gate) as Arc<dyn Gate>, shutdown));
    Server { address, gate, stop, task }
}

impl Server {
    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// One request on its own connection.
    pub async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// POST /events with these header lines (each with CRLF) and this body.
    pub async fn post(&self, headers: &str, body: &str) -> String {
        self.ask(&post("/events", headers, body)).await
    }
}

pub fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer, without its `date` line.
    pub async fn answer(&mut self) -> String {
        self.answer_to("").await
    }

    /// The next answer; to HEAD it has no body.
    pub async fn answer_to(&mut self, method: &str) -> String {
        let head_end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await > 0, "closed in the middle of {:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read[..head_end].to_vec()).unwrap();
        let length: usize = if method == "HEAD" { "" } else { &head }
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while self.read.len() < head_end + length {
            assert!(self.more().await > 0, "closed in a body");
        }
        let body = String::from_utf8(self.read[head_end..head_end + length].to_vec()).unwrap();
        self.read.drain(..head_end + length);
        let head: String = head.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        head + &body
    }

    /// Whether the server closes now, having sent nothing more.
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more().await == 0
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        self.read.is_empty() && timeout(Duration::from_millis(150), self.stream.peek(&mut byte)).await.is_err()
    }

    /// Whether nothing has come until now.
    pub async fn is_silent_now(&self) -> bool {
        let mut byte = [0];
        self.read.is_empty() && timeout(Duration::from_millis(1), self.stream.peek(&mut byte)).await.is_err()
    }

    async fn more(&mut self) -> usize {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("an answer in time");
        // A reset is an end too.
        read.unwrap_or_default()
    }
}

/// An answer with a body, as the listener writes it.
pub fn expected(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// A JSON answer.
pub fn json(status: &str, body: &str) -> String {
    expected(status, "content-type: application/json\r\n", body)
}

/// A problem, with more headers and more members (with the comma before).
pub fn problem(status: &str, headers: &str, word: &str, detail: &str, members: &str) -> String {
    let title = word.parse::<schemas::Word>().unwrap().entry().title;
    let code = &status[..3];
    let body = format!(
        "{{\"type\":\"urn:anygate:error:{word}\",\"title\":\"{title}\",\"status\":{code},\"detail\":\"{detail}\",\"failure\":\"{word}\"{members}}}"
    );
    expected(status, &format!("content-type: application/problem+json\r\n{headers}"), &body)
}

pub fn status(answer: &str) -> &str {
    &answer[9..12]
}
