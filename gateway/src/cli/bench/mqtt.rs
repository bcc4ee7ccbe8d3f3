//! One MQTT connection under load: PUBLISH bytes made once, everything that is due in one write, PUBACKs read in bulk.
use super::{
    Load,
    pace::Pace,
    tally::{Live, Tally},
};
use crate::cli::send::wire::{self, Hello, Publish, Version};
use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, sleep_until, timeout},
};

/// A pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one write; more is written in several.
const WRITE_MAX: usize = 256 * 1024;

/// What every connection publishes.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The version.
    pub version: Version,
    /// 0 or 1.
    pub qos: u8,
    /// QoS 1 messages without their PUBACK, at most.
    pub window: usize,
    /// The topic.
    pub topic: String,
    /// Bytes of payload.
    pub size: usize,
}

/// A message that waits for its PUBACK.
struct Open {
    id: u16,
    from: Instant,
}

struct Connection {
    load: Load,
    pace: Pace,
    shape: Shape,
    tally: Tally,
    packet: Vec<u8>,
    id_at: Option<usize>,
    next_id: u16,
    open: VecDeque<Open>,
    write: Vec<u8>,
    read: Vec<u8>,
}

/// Publishes until the time is over; opens the connection again when it is lost.
pub async fn connection(load: Load, pace: Pace, shape: Shape, number: usize) -> Tally {
    let payload = super::http::data(shape.size);
    let mut packet = Vec::new();
    let topic = shape.topic.replace("{n}", &number.to_string());
    let message =
        Publish { topic: &topic, qos: shape.qos, content_type: None, properties: &[], payload: payload.as_bytes() };
    let id_at = wire::publish(&mut packet, shape.version, 1, &message);
    let mut connection = Connection {
        load,
        pace,
        shape,
        tally: Tally::default(),
        packet,
        id_at,
        next_id: 0,
        open: VecDeque::new(),
        write: Vec::new(),
        read: Vec::new(),
    };
    while !connection.pace.is_over() {
        let Ok((mut stream, window)) = connection.connect(number).await else {
            sleep(PAUSE).await;
            continue;
        };
        connection.tally.connections += 1;
        if let Err(_gone) = connection.drive(&mut stream, window).await {
            connection.lose();
        }
    }
    connection.tally.behind = connection.pace.behind();
    connection.tally
}

impl Connection {
    /// The connection, and how many messages it may have in flight: not more than the gateway says.
    async fn connect(&mut self, number: usize) -> io::Result<(TcpStream, usize)> {
        let mut stream = self.load.connect().await?;
        let client_id = format!("anygate-bench-{number}-{:08x}", crate::random::u32());
        let hello = Hello { version: self.shape.version, client_id: &client_id, user: None };
        stream.write_all(&wire::connect(&hello)).await?;
        self.read.clear();
        let hearing = async {
            loop {
                if let Some(packet) = wire::next(&self.read).map_err(|_| broken())? {
                    let said = wire::said(packet.first, packet.body, self.shape.version);
                    let size = packet.size;
                    self.read.drain(..size);
                    return if said.code == 0 { Ok(said) } else { Err(io::ErrorKind::ConnectionRefused.into()) };
                }
                if stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let said = timeout(self.load.patience, hearing).await.unwrap_or_else(|_| Err(late()))?;
        let most = said.receive_max.map_or(self.shape.window, usize::from);
        Ok((stream, self.shape.window.min(most)))
    }

    /// Publishes what is due and reads answers, until the time is over and every answer is here, or the patience ends.
    async fn drive(&mut self, stream: &mut TcpStream, window: usize) -> io::Result<()> {
        let mut slept = false;
        loop {
            self.fill(window, slept);
            if !self.write.is_empty() {
                stream.write_all(&self.write).await?;
                self.write.clear();
            }
            let over = self.pace.is_over();
            if over && self.open.is_empty() {
                stream.write_all(&wire::DISCONNECT).await?;
                return Ok(());
            }
            // Full or over: only answers are waited for, and not for ever.
            let waits = over || self.open.len() >= window;
            let until = if waits {
                self.open.front().map_or(self.load.end, |open| open.from.max(self.load.start)) + self.load.patience
            } else {
                self.pace.due()
            };
            let until = until.max(Instant::now());
            slept = false;
            tokio::select! {
                biased;
                read = stream.read_buf(&mut self.read) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.answers()?;
                }
                () = sleep_until(until.into()) => {
                    if waits && self.open.front().is_some_and(|open| open.from.elapsed() >= self.load.patience) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    slept = true;
                }
            }
        }
    }

    /// Takes what is due, as far as the window and one write allow.
    fn fill(&mut self, window: usize, slept: bool) {
        while self.open.len() < window && self.write.len() < WRITE_MAX {
            let Some(from) = self.pace.take_due(slept) else { return };
            self.tally.sent += 1;
            Live::add(&self.load.live.sent, 1);
            if let Some(at) = self.id_at {
                self.next_id = self.next_id.checked_add(1).unwrap_or(1);
                self.packet[at..at + 2].copy_from_slice(&self.next_id.to_be_bytes());
                self.open.push_back(Open { id: self.next_id, from });
            }
            self.write.extend_from_slice(&self.packet);
        }
    }

    /// Reads all whole packets.
    fn answers(&mut self) -> io::Result<()> {
        let mut used = 0;
        let now = Instant::now();
        while let Some(packet) = wire::next(&self.read[used..]).map_err(|_| broken())? {
            used += packet.size;
            if packet.first & 0xf0 == wire::SERVER_DISCONNECT {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let Some(id) = wire::packet_id(packet.body).filter(|_| packet.first & 0xf0 == wire::PUBACK) else {
                continue;
            };
            let code = packet.body.get(2).copied().unwrap_or(0);
            let Some(place) = self.open.iter().position(|open| open.id == id) else {
                self.tally.duplicated += 1;
                continue;
            };
            self.tally.out_of_order += u64::from(place > 0);
            let Some(open) = self.open.remove(place) else { continue };
            self.tally.times.add(now.saturating_duration_since(open.from));
            if code < 0x80 {
                self.tally.acked += 1;
                Live::add(&self.load.live.acked, 1);
            } else {
                self.tally.refuse(format!("puback 0x{code:02x}"), 1);
                Live::add(&self.load.live.bad, 1);
            }
        }
        self.read.drain(..used);
        Ok(())
    }

    /// Nobody knows what became of the messages in flight.
    fn lose(&mut self) {
        let lost = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        self.tally.lost += lost;
        Live::add(&self.load.live.bad, lost);
        self.open.clear();
        self.write.clear();
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came is no MQTT")
}
