//! From an accepted connection to a session: CONNECT within its deadline and size, who it is, CONNACK.
//!
//! Until the sender has been authenticated nothing is kept for it but one CONNECT of bounded size.
use super::{
    connect::{Connect, Refused, Will},
    fault::{Fault, code},
    fields::{FixedHeader, Version},
    link::{Link, Start},
    message,
    registry::Registry,
    session::{Session, Testament},
    settings::MqttSettings,
    stream::{Output, Stream},
    write::{Peer, Welcome, connack, connack_refusal},
};
use crate::{Answers, Credentials, Gate, Intake, Origin, Principal, net::Shutdown};
use bytes::{Buf, Bytes, BytesMut};
use schemas::{ByteStr, Refusal, Word};
use std::{
    future::poll_fn,
    hash::{BuildHasher, Hasher, RandomState},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};

/// How long a refused client has to read its CONNACK.
const REFUSAL_LINGER: Duration = Duration::from_millis(500);
/// A connection as young as this has its CONNECT on the way: a listener that ends still waits for it that long. It is answered:
/// with a refusal when the gateway stops, else as always, and then it hears what the other connections hear.
const NEWCOMER: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
pub struct Shared {
    /// The settings.
    pub settings: Arc<MqttSettings>,
    /// The gateway.
    pub gate: Arc<dyn Gate>,
    /// Client identifiers in use.
    pub registry: Arc<Registry>,
}

/// Serves one connection from its first byte to its last.
pub async fn serve<S: Stream>(stream: S, peer: SocketAddr, shared: Arc<Shared>, shutdown: Shutdown) {
    // Boxed, so that what CONNECT needs is gone when it is over.
    if let Some(session) = Box::pin(begin(stream, peer, shared, shutdown)).await {
        session.run().await;
    }
}

async fn begin<S: Stream>(
    mut stream: S,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut shutdown: Shutdown,
) -> Option<Box<Session<S>>> {
    let mut input = BytesMut::new();
    let newcomer = Instant::now() + NEWCOMER.min(shared.settings.drain_timeout);
    let stopped = async {
        shutdown.fired().await;
        sleep_until(newcomer).await;
    };
    let packet = tokio::select! {
        // In this order: a CONNECT that has come is answered.
        biased;
        packet = timeout(shared.settings.connect_timeout, read_connect(&mut stream, &mut input, &shared.settings)) => packet,
        () = stopped => return None,
    };
    let silent = |fault| Rejected { refused: Refused { version: None, fault }, login: false };
    let rejected = match packet {
        Ok(Ok(Some(packet))) => match greet(&packet, peer, &shared) {
            Ok(greeting) => return open(stream, &input, greeting, &shared, shutdown).await,
            Err(rejected) => rejected,
        },
        // It closed by itself.
        Ok(Ok(None)) => return None,
        Ok(Err(fault)) => silent(fault),
        Err(_) => silent(Fault::new(code::KEEP_ALIVE, "no CONNECT in time")),
    };
    reject(stream, peer, &shared, rejected).await;
    None
}

/// A CONNECT that is not taken, and whether it showed credentials.
struct Rejected {
    refused: Refused,
    login: bool,
}

/// A CONNECT that is taken.
struct Greeting {
    peer: Peer,
    intake: Intake,
    keep_alive: u16,
    asked: u16,
    client: ByteStr,
    assigned: bool,
    session_kept: bool,
    will: Option<Box<Testament>>,
}

/// Reads the first packet: its body, or `None` when the peer has gone.
async fn read_connect<S: Stream>(
    stream: &mut S,
    input: &mut BytesMut,
    settings: &MqttSettings,
) -> Result<Option<Bytes>, Fault> {
    let mut wanted = 64;
    loop {
        if input.first().is_some_and(|first| *first != 0x10) {
            return Err(Fault::protocol("the first packet is not CONNECT"));
        }
        if let Some(header) = FixedHeader::read(input)? {
            if header.total() > settings.connect_max {
                let detail =
                    format!("a CONNECT of {} bytes, at most {} are taken", header.total(), settings.connect_max);
                return Err(Fault::new(code::TOO_LARGE, detail));
            }
            if input.len() >= header.total() {
                let mut packet = input.split_to(header.total()).freeze();
                packet.advance(header.size);
                return Ok(Some(packet));
            }
            wanted = header.total() - input.len();
        }
        // No buffer while nothing comes.
        if poll_fn(|cx| stream.poll_readable(cx)).await.is_err() {
            return Ok(None);
        }
        input.reserve(wanted);
        match stream.read_buf(input).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

fn greet(packet: &Bytes, peer: SocketAddr, shared: &Shared) -> Result<Greeting, Rejected> {
    let Shared { settings, gate, .. } = shared;
    let connect = Connect::read(packet, settings)
        .map_err(|refused| Rejected { login: refused.fault.code == code::BAD_LOGIN, refused })?;
    let login = connect.user.is_some() || connect.password.is_some();
    let reject = |fault| Rejected { refused: Refused { version: Some(connect.version), fault }, login };
    if gate.is_stopping() {
        return Err(reject(Fault::new(code::UNAVAILABLE, "the gateway is stopping")));
    }
    let keep_alive = settings.keep_alive(connect.keep_alive);
    let origin = Origin {
        listener: settings.name.clone(),
        principal: Principal::default(),
        protocol: "mqtt",
        version: connect.version.as_str(),
        peer,
        client: ByteStr::EMPTY,
    };
    let mut intake = Intake::new(Arc::clone(gate), origin, settings.hold(keep_alive));
    let password = connect.password.unwrap_or_default();
    let credentials = if login {
        Credentials::Password { user: connect.user.unwrap_or_default(), password }
    } else {
        Credentials::None
    };
    intake.authenticate(credentials).map_err(|refusal| reject(fault_of(&refusal)))?;
    let assigned = connect.client_id.is_empty();
    let client = if assigned { ByteStr::from(new_client_id()) } else { ByteStr::from(connect.client_id) };
    intake.describe(connect.version.as_str(), client.clone());
    let will =
        connect.will.as_ref().map(|will| testament(will, connect.version, settings)).transpose().map_err(reject)?;
    Ok(Greeting {
        peer: Peer {
            version: connect.version,
            max_packet: connect.max_packet.unwrap_or(u32::MAX),
            problem_info: connect.problem_info,
        },
        intake,
        keep_alive,
        asked: connect.keep_alive,
        client,
        assigned,
        session_kept: connect.session_kept,
        will,
    })
}

fn testament(will: &Will<'_>, version: Version, settings: &MqttSettings) -> Result<Box<Testament>, Fault> {
    let message = message::of_will(will, version, settings)
        .map_err(|refusal| Fault::new(code::PAYLOAD_FORMAT, format!("the will: {}", refusal.detail)))?;
    Ok(Box::new(Testament { message, expiry: will.said.expiry }))
}

/// The CONNACK code of a refusal by the gateway.
fn fault_of(refusal: &Refusal) -> Fault {
    let code = match refusal.word {
        Word::Unauthenticated => code::BAD_LOGIN,
        Word::Forbidden => code::NOT_AUTHORIZED,
        Word::ShuttingDown => code::UNAVAILABLE,
        word if word.retryable() => code::BUSY,
        _ => code::IMPLEMENTATION,
    };
    Fault::new(code, refusal.detail.clone())
}

/// Enters the registry and says CONNACK; `None` when the client takes no packet as large as that.
async fn open<S: Stream>(
    stream: S,
    input: &[u8],
    greeting: Greeting,
    shared: &Shared,
    shutdown: Shutdown,
) -> Option<Box<Session<S>>> {
    let Greeting { peer, intake, keep_alive, asked, client, assigned, session_kept, will } = greeting;
    let Shared { settings, gate, registry } = shared;
    let principal = intake.origin().principal.name.clone();
    let place = registry.enter(principal.clone(), client.clone(), settings.connect_timeout).await;
    let mut output = Output::default();
    let assigned = assigned.then_some(client.as_str());
    let keep_alive_changed = keep_alive != asked;
    let welcome = Welcome { keep_alive, keep_alive_changed, assigned, session_asked: session_kept };
    if !connack(output.bytes(), peer, settings, welcome) {
        return None;
    }
    let start = Start {
        stream,
        // A copy: the buffer that held CONNECT goes.
        input: BytesMut::from(input),
        output,
        peer,
        settings: Arc::clone(settings),
        gate: Arc::clone(gate),
        share: gate.budget().share(&principal),
        answers: Answers::new(intake.durable_wait()),
        place,
        keep_alive,
        session_kept,
    };
    let counted = Counted::new(Arc::clone(gate), peer.version);
    Some(Box::new(Session { link: Link::new(start), intake, will, shutdown, counted }))
}

/// Counts an open connection.
pub struct Counted {
    gate: Arc<dyn Gate>,
    version: Version,
}

impl Counted {
    fn new(gate: Arc<dyn Gate>, version: Version) -> Self {
        gate.connection(version.as_str(), true);
        Counted { gate, version }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gate.connection(self.version.as_str(), false);
    }
}

async fn reject<S: Stream>(mut stream: S, peer: SocketAddr, shared: &Shared, rejected: Rejected) {
    let Refused { version, fault } = rejected.refused;
    tracing::debug!(%peer, failure = %fault.word(), detail = %fault.detail, "mqtt connection refused");
    shared.gate.refused(fault.word());
    let Some(version) = version else { return };
    let mut bytes = Vec::new();
    connack_refusal(&mut bytes, version, &fault, rejected.login);
    let say = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        let mut sink = [0; 256];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _closed = timeout(REFUSAL_LINGER, say).await;
}

/// A client identifier that nobody else has: a random start per process, and a count.
fn new_client_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("auto-{start:016x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
