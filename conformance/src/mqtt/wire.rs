//! A client that speaks bytes: packets as they come.
//!
//! It shares no code with any server: a mistake here cannot hide the same mistake there.
use super::encode::Connect;
use crate::{cut::Pen, suite::Endpoint};
use std::{
    fmt::{self, Write as _},
    io::{ErrorKind, Read},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

/// The largest packet that is read: no server has to send more to these cases.
const PACKET_MAX: usize = 1024 * 1024;

/// A version of the protocol, by its level in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5, level 5.
    V5,
}

impl Version {
    /// The protocol level.
    pub fn level(self) -> u8 {
        match self {
            Version::V311 => 4,
            Version::V5 => 5,
        }
    }
}

/// A packet as it came: its first byte, and what follows its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Everything after the fixed header.
    pub body: Vec<u8>,
}

impl Packet {
    /// Packets that are written after each other; `None` when they are not whole.
    pub fn all(mut bytes: &[u8]) -> Option<Vec<Packet>> {
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            let (packet, used) = Packet::first_of(bytes)?.ok()?;
            packets.push(packet);
            bytes = &bytes[used..];
        }
        Some(packets)
    }

    /// The packet at the start of `bytes` and its size; `None` while it is not whole, an error when it never can be.
    fn first_of(bytes: &[u8]) -> Option<Result<(Packet, usize), String>> {
        let (first, rest) = bytes.split_first()?;
        let mut length = 0usize;
        for (at, byte) in rest.iter().take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if length > PACKET_MAX {
                    return Some(Err(format!("a packet of {length} bytes")));
                }
                let start = 2 + at;
                let body = bytes.get(start..start + length)?.to_vec();
                return Some(Ok((Packet { first: *first, body }, start + length)));
            }
        }
        (rest.len() >= 4).then(|| Err("a remaining length without an end".to_owned()))
    }

    /// The type, 1 to 15.
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The packet identifier of an acknowledgement.
    pub fn id(&self) -> Option<u16> {
        Some(u16::from_be_bytes([*self.body.first()?, *self.body.get(1)?]))
    }

    /// The reason or return code: of CONNACK, DISCONNECT, and PUBACK to PUBCOMP. What is left out means success.
    pub fn code(&self) -> u8 {
        let at = match self.kind() {
            2 => 1,
            14 => 0,
            _ => 2,
        };
        self.body.get(at).copied().unwrap_or(0)
    }

    /// The value of a property in a CONNACK of MQTT 5: what follows its identifier.
    pub fn connack_property(&self, id: u8) -> Option<&[u8]> {
        let mut rest = self.body.get(3..)?;
        while let Some((&found, value)) = rest.split_first() {
            let size = match found {
                0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
                0x13 | 0x21 | 0x22 => 2,
                0x11 | 0x27 => 4,
                0x26 => text_size(value)? + text_size(value.get(text_size(value)?..)?)?,
                _ => text_size(value)?,
            };
            let value = value.get(..size)?;
            if found == id {
                return Some(value);
            }
            rest = &rest[1 + size..];
        }
        None
    }
}

fn text_size(value: &[u8]) -> Option<usize> {
    Some(2 + usize::from(u16::from_be_bytes([*value.first()?, *value.get(1)?])))
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "type 0",
            "CONNECT",
            "CONNACK",
            "PUBLISH",
            "PUBACK",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "SUBSCRIBE",
            "SUBACK",
            "UNSUBSCRIBE",
            "UNSUBACK",
            "PINGREQ",
            "PINGRESP",
            "DISCONNECT",
            "AUTH",
        ];
        f.write_str(NAMES[usize::from(self.kind())])?;
        match self.kind() {
            2 | 14 => write!(f, " 0x{:02x}", self.code())?,
            4..=7 => write!(f, " {} 0x{:02x}", self.id().unwrap_or_default(), self.code())?,
            _ => {}
        }
        write!(f, " [{}]", hex(&[&[self.first], &self.body[..]].concat()))
    }
}

/// Bytes for people, cut where they become many.
pub fn hex(bytes: &[u8]) -> String {
    const MOST: usize = 24;
    let mut text = String::new();
    for (at, byte) in bytes.iter().take(MOST).enumerate() {
        let _infallible = write!(text, "{}{byte:02x}", if at > 0 { " " } else { "" });
    }
    if bytes.len() > MOST {
        let _infallible = write!(text, " … {} bytes", bytes.len());
    }
    text
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A packet.
    Packet(Packet),
    /// The server closed the connection.
    Closed,
    /// Nothing came while there was patience.
    Silence,
    /// Bytes that are no packet: why.
    Garbage(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Packet(packet) => packet.fmt(f),
            Seen::Closed => f.write_str("the connection closed"),
            Seen::Silence => f.write_str("nothing, and the connection is open"),
            Seen::Garbage(why) => f.write_str(why),
        }
    }
}

impl From<Seen> for String {
    fn from(seen: Seen) -> Self {
        seen.to_string()
    }
}

impl From<&Seen> for String {
    fn from(seen: &Seen) -> Self {
        seen.to_string()
    }
}

/// One connection to the endpoint.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    patience: Duration,
    pen: Pen,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&endpoint.address, endpoint.patience)
            .map_err(|error| format!("no connection to {}: {error}", endpoint.host))?;
        let prepared = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(endpoint.patience)));
        prepared.map_err(|error| error.to_string())?;
        let pen = Pen::new(stream.try_clone().map_err(|error| error.to_string())?, &endpoint.cut);
        Ok(Connection { stream, input: Vec::new(), patience: endpoint.patience, pen })
    }

    /// Sends all of it, cut where the endpoint says. A server that closes meanwhile is seen by what is read next.
    pub fn send(&mut self, bytes: &[u8]) {
        let _seen_by_the_next_read = self.pen.write(bytes);
    }

    /// Sends what is no part of the case, and never cut: what leads to it, or looks at what it left behind.
    pub fn send_whole(&mut self, bytes: &[u8]) {
        let _seen_by_the_next_read = self.pen.write_whole(bytes);
    }

    /// Ends the sending side.
    pub fn finish(&mut self) {
        let _seen_by_the_next_read = self.stream.shutdown(Shutdown::Write);
    }

    /// What comes next, within the endpoint's patience.
    pub fn receive(&mut self) -> Seen {
        self.next_within(self.patience)
    }

    /// What comes next, within this time.
    pub fn next_within(&mut self, patience: Duration) -> Seen {
        let until = Instant::now() + patience;
        loop {
            match Packet::first_of(&self.input) {
                Some(Ok((packet, used))) => {
                    self.input.drain(..used);
                    return Seen::Packet(packet);
                }
                Some(Err(why)) => return Seen::Garbage(why),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let mut chunk = [0; 4096];
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => return Seen::Closed,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= until {
                        return Seen::Silence;
                    }
                }
                // A reset is an end too: the server closed while bytes of ours were unread.
                Err(_) => return Seen::Closed,
            }
        }
    }

    /// All packets until the connection ends, or `None` for the end when it does not.
    pub fn rest(&mut self) -> (Vec<Packet>, Seen) {
        let mut packets = Vec::new();
        loop {
            match self.receive() {
                Seen::Packet(packet) => packets.push(packet),
                end => return (packets, end),
            }
        }
    }

    /// Sends CONNECT and wants a success.
    ///
    /// # Errors
    /// What came instead, for people.
    pub fn connect(&mut self, connect: &Connect) -> Result<Packet, String> {
        self.send_whole(&connect.bytes());
        match self.receive() {
            Seen::Packet(packet) if packet.kind() == 2 && packet.code() == 0 => Ok(packet),
            other => Err(format!("after a plain CONNECT: {other}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_and_named() {
        let packets = Packet::all(b"\x20\x02\0\0\x40\x03\0\x07\x99\xd0\0").unwrap();
        let named: Vec<String> = packets.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["CONNACK 0x00 [20 00 00]", "PUBACK 7 0x99 [40 00 07 99]", "PINGRESP [d0]"]);
        assert!(Packet::all(b"\x20\x02\0").is_none());
        let connack = Packet { first: 0x20, body: b"\0\0\x08\x26\0\x01a\0\x01b\x21\0\x05".to_vec() };
        assert_eq!(connack.connack_property(0x21), Some(&[0, 5][..]));
        assert_eq!(connack.connack_property(0x22), None);
    }
}
