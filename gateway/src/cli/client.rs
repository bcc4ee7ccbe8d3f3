//! Asks a running gateway over its admin address: one small HTTP client for all commands, and how they talk on the terminal.
//!
//! Plain HTTP to an address that is loopback by default; data goes to stdout, hints to stderr.
use super::Exit;
use crate::admin::fault::FaultBody;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};
use tokio::runtime::Runtime;

/// Where the gateway is asked unless `--admin` or `ANYGATE_ADMIN` says otherwise.
pub const DEFAULT_ADMIN: &str = "http://127.0.0.1:8700";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the head of an answer may take: a scan of a large journal takes a while.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest line of an answer: an event with its attributes and its data in base64.
const LINE_MAX: usize = 64 * 1024 * 1024;

/// Which gateway to ask.
#[derive(Clone, Debug, Args)]
pub struct Admin {
    /// The gateway's admin address
    #[arg(long, value_name = "URL", env = "ANYGATE_ADMIN", default_value = DEFAULT_ADMIN)]
    pub admin: String,
    /// A file that holds the admin token
    #[arg(long, value_name = "FILE", env = "ANYGATE_ADMIN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

impl Admin {
    /// The gateway at this URL, asked without a token.
    pub fn at(url: impl Into<String>) -> Self {
        Admin { admin: url.into(), token_file: None }
    }

    /// A client for it.
    ///
    /// # Errors
    /// The URL or the token file cannot be used.
    pub fn client(&self) -> Result<Client, AskFault> {
        let uri: Uri =
            self.admin.parse().map_err(|error| AskFault::Usage(format!("--admin {:?}: {error}", self.admin)))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            let help = format!("--admin {:?} is no address of a gateway: write {DEFAULT_ADMIN}", self.admin);
            return Err(AskFault::Usage(help));
        }
        let token = match &self.token_file {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| AskFault::Usage(format!("--token-file {}: {error}", file.display())))?;
                Some(text.trim_end().to_owned())
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| AskFault::Usage(format!("no runtime: {error}")))?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Ok(Client { base: self.admin.trim_end_matches('/').to_owned(), token, pool, runtime })
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum AskFault {
    /// It could not even be asked.
    Usage(String),
    /// Nothing answers there.
    Unreachable {
        /// The URL.
        base: String,
        /// The system's word.
        error: String,
    },
    /// The gateway says no.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The failure word and its detail.
        fault: FaultBody,
    },
    /// The answer is not what a gateway of this version says.
    Broken(String),
}

impl AskFault {
    /// Tells it on stderr; the command's exit code.
    pub fn tell(&self) -> Exit {
        match self {
            AskFault::Usage(what) => {
                eprintln!("error: {what}");
                Exit::Usage
            }
            AskFault::Unreachable { base, error } => {
                eprintln!("error: no gateway answers at {base}: {error}");
                eprintln!(
                    "  = help: start one with `anygate run`, or name its admin address: --admin URL or ANYGATE_ADMIN"
                );
                Exit::Unreachable
            }
            AskFault::Refused { status, fault } => {
                eprintln!("error[{}]: {}", fault.failure, fault.detail);
                if *status == StatusCode::UNAUTHORIZED {
                    eprintln!("  = help: this gateway wants its admin token: --token-file FILE");
                }
                Exit::Faults
            }
            AskFault::Broken(what) => {
                eprintln!("error: {what}");
                eprintln!(
                    "  = help: is it a gateway of another version ({} here), or another program?",
                    env!("CARGO_PKG_VERSION")
                );
                Exit::Faults
            }
        }
    }
}

/// A connection to one gateway's admin address.
pub struct Client {
    base: String,
    token: Option<String>,
    pool: Pool<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
}

impl Client {
    /// Asks for one JSON object.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskFault> {
        let body = self.get_bytes(path)?;
        serde_json::from_slice(&body)
            .map_err(|error| AskFault::Broken(format!("the answer to {path} cannot be read: {error}")))
    }

    /// Asks for a whole answer, as it is.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn get_bytes(&self, path: &str) -> Result<Bytes, AskFault> {
        self.runtime.block_on(async {
            let body = self.ask(Method::GET, path, Bytes::new()).await?;
            collect(body).await
        })
    }

    /// Asks for JSON lines and calls `each` for every one, until it says `false`. Empty lines are left out.
    ///
    /// # Errors
    /// [`AskFault`]; what came before was handed out.
    pub fn get_lines(&self, path: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), AskFault> {
        self.runtime.block_on(async {
            let body = self.ask(Method::GET, path, Bytes::new()).await?;
            lines(body, each).await
        })
    }

    /// Sends a JSON object and reads JSON lines.
    ///
    /// # Errors
    /// As [`Client::get_lines`].
    pub fn post_lines(
        &self,
        path: &str,
        what: &impl Serialize,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), AskFault> {
        let body = serde_json::to_vec(what).map_err(|error| AskFault::Usage(error.to_string()))?;
        self.runtime.block_on(async {
            let body = self.ask(Method::POST, path, body.into()).await?;
            lines(body, each).await
        })
    }

    /// Asks for something to be done with `what`, and reads one JSON object.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, what: &impl Serialize) -> Result<T, AskFault> {
        let body = serde_json::to_vec(what).map_err(|error| AskFault::Usage(error.to_string()))?;
        let text = self.runtime.block_on(async { collect(self.ask(Method::POST, path, body.into()).await?).await })?;
        serde_json::from_slice(&text)
            .map_err(|error| AskFault::Broken(format!("the answer to {path} cannot be read: {error}")))
    }

    /// Asks for something to be done and reads one JSON object, also from an answer with one of these statuses.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn post_for<T: DeserializeOwned>(&self, path: &str, also: &[u16]) -> Result<T, AskFault> {
        let body = self.runtime.block_on(async {
            let (status, body) = self.answer(Method::POST, path, Bytes::new()).await?;
            let text = collect(body).await?;
            if status.is_success() || also.contains(&status.as_u16()) {
                Ok(text)
            } else {
                Err(self.refused(status, &text))
            }
        })?;
        serde_json::from_slice(&body)
            .map_err(|error| AskFault::Broken(format!("the answer to {path} cannot be read: {error}")))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, AskFault> {
        let (status, body) = self.answer(method, path, body).await?;
        if status.is_success() {
            return Ok(body);
        }
        let text = collect(body).await?;
        Err(self.refused(status, &text))
    }

    fn refused(&self, status: StatusCode, text: &[u8]) -> AskFault {
        match serde_json::from_slice(text) {
            Ok(fault) => AskFault::Refused { status, fault },
            Err(_) => AskFault::Broken(format!("{} answers {status} and no failure word", self.base)),
        }
    }

    async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Incoming), AskFault> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| AskFault::Usage(error.to_string()))?;
        let unreachable = |error: String| AskFault::Unreachable { base: self.base.clone(), error };
        let answer = match tokio::time::timeout(ANSWER, self.pool.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(root_cause(&error))),
            Err(_) => return Err(unreachable(format!("no answer within {} s", ANSWER.as_secs()))),
        };
        Ok((answer.status(), answer.into_body()))
    }
}

/// The innermost cause: "Connection refused" says more than "client error (Connect)".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn collect(body: Incoming) -> Result<Bytes, AskFault> {
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(AskFault::Broken(format!("the answer broke off: {}", root_cause(&error)))),
    }
}

async fn lines(mut body: Incoming, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), AskFault> {
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| AskFault::Broken(format!("the answer broke off: {}", root_cause(&error))))?;
        let Some(data) = frame.data_ref() else { continue };
        rest.extend_from_slice(data);
        let mut start = 0;
        while let Some(length) = rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = &rest[start..start + length];
            start += length + 1;
            if !line.is_empty() && !each(line) {
                return Ok(());
            }
        }
        rest.drain(..start);
        if rest.len() > LINE_MAX {
            return Err(AskFault::Broken("a line of the answer is longer than 64 MiB".to_owned()));
        }
    }
    Ok(())
}

/// A path or query part with everything escaped that could mean something else.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A query string of the parts that are set, with its `?`.
pub fn query(parts: &[(&str, Option<String>)]) -> String {
    let set = parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_ref()?))));
    let joined = set.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

/// Writes one line to stdout; `false` when nobody reads any more (`| head`).
pub fn say(line: &[u8]) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok()
}

/// How text is made to stand out: on a terminal only, and not with `NO_COLOR`.
#[derive(Clone, Copy, Debug)]
pub struct Style(bool);

impl Style {
    /// For stdout.
    pub fn of_stdout() -> Self {
        Style(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// Never any colour.
    pub const fn plain() -> Self {
        Style(false)
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What is wrong.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// What is well.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// What is beside the point.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text of a sender for the terminal: control characters would let a sender write to it.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(
            query(&[("where", Some("type LIKE 'a%' AND x = 1".to_owned())), ("limit", None)]),
            "?where=type%20LIKE%20%27a%25%27%20AND%20x%20%3D%201"
        );
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(escaped("a/b?ü"), "a%2Fb%3F%C3%BC");
    }

    #[test]
    fn nobody_there_is_exit_3_and_nonsense_is_exit_2() {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Admin::at(format!("http://{free}")).client().unwrap();
        let fault = client.get::<serde_json::Value>("/api/status").unwrap_err();
        assert_eq!(fault.tell(), Exit::Unreachable);
        for wrong in ["127.0.0.1:8700", "https://127.0.0.1", "not a url", "ftp://x"] {
            assert_eq!(Admin::at(wrong).client().err().unwrap().tell(), Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(safe("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
