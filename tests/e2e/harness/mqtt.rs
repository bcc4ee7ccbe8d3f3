//! MQTT 3.1.1 and 5 by hand: packets as bytes, so that a test sees exactly what is answered and when.
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// A packet as it came: the first byte, and what follows its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn is_puback(&self) -> bool {
        self.first == 0x40
    }

    /// PUBACK: packet id and reason code.
    #[track_caller]
    pub fn puback(&self) -> (u16, u8) {
        assert!(self.is_puback(), "no PUBACK: {self:x?}");
        (u16::from_be_bytes([self.body[0], self.body[1]]), self.body.get(2).copied().unwrap_or(0))
    }
}

/// One client.
pub struct Client {
    stream: TcpStream,
    version: u8,
    next_id: u16,
    read: Vec<u8>,
}

fn text(into: &mut Vec<u8>, value: &str) {
    into.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    into.extend(value.as_bytes());
}

fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { low | 128 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(length(body.len()));
    bytes.extend(body);
    bytes
}

/// What a PUBLISH says beside topic and payload (MQTT 5).
#[derive(Default, Clone, Debug)]
pub struct Said<'a> {
    pub content_type: Option<&'a str>,
    pub user: &'a [(&'a str, &'a str)],
}

impl Client {
    /// Connects with a clean session; the CONNACK's code comes back. `version` 4 is 3.1.1.
    pub fn connect(port: u16, id: &str, version: u8) -> Client {
        let (client, code) = Client::connect_as(port, id, version, None);
        assert_eq!(code, Some(0), "CONNACK");
        client
    }

    /// The same with user name and password. No code: the connection closed.
    pub fn connect_as(port: u16, id: &str, version: u8, user: Option<(&str, &str)>) -> (Client, Option<u8>) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client { stream, version, next_id: 1, read: Vec::new() };
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        body.push(version);
        body.push(if user.is_some() { 0b1100_0010 } else { 2 });
        body.extend([0, 60]);
        if version == 5 {
            body.push(0);
        }
        text(&mut body, id);
        if let Some((name, password)) = user {
            text(&mut body, name);
            text(&mut body, password);
        }
        client.write(&packet(0x10, &body));
        let code = client.next(10).map(|connack| {
            assert_eq!(connack.first, 0x20, "{connack:x?}");
            connack.body[1]
        });
        (client, code)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // A peer that has closed is seen when it is read from.
        let _closed = self.stream.write_all(bytes);
    }

    /// PUBLISH with QoS 1; its packet id.
    pub fn publish(&mut self, topic: &str, payload: &[u8], said: &Said<'_>) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        let mut body = Vec::new();
        text(&mut body, topic);
        body.extend(id.to_be_bytes());
        if self.version == 5 {
            let mut properties = Vec::new();
            if let Some(content_type) = said.content_type {
                properties.push(3);
                text(&mut properties, content_type);
            }
            for (name, value) in said.user {
                properties.push(38);
                text(&mut properties, name);
                text(&mut properties, value);
            }
            body.extend(length(properties.len()));
            body.extend(properties);
        }
        body.extend(payload);
        self.write(&packet(0x32, &body));
        id
    }

    pub fn ping(&mut self) {
        self.write(&[0xc0, 0]);
    }

    pub fn disconnect(mut self) {
        self.write(&[0xe0, 0]);
    }

    /// The next packet; `None`: the connection ended. Panics when neither came in time.
    #[track_caller]
    pub fn next(&mut self, seconds: u64) -> Option<Packet> {
        self.within(Duration::from_secs(seconds)).unwrap_or_else(|| panic!("no packet within {seconds} s"))
    }

    /// The next packet in this time: outer `None` nothing came, inner `None` the connection ended.
    #[expect(clippy::option_option, reason = "nothing yet and the end are two things")]
    pub fn within(&mut self, time: Duration) -> Option<Option<Packet>> {
        let until = Instant::now() + time;
        loop {
            if let Some(found) = self.parse() {
                return Some(Some(found));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(None),
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(_) => return Some(None),
            }
        }
    }

    fn parse(&mut self) -> Option<Packet> {
        let (mut size, mut at) = (0usize, 1);
        loop {
            let byte = usize::from(*self.read.get(at)?);
            size |= (byte & 127) << (7 * (at - 1));
            at += 1;
            if byte < 128 {
                break;
            }
        }
        if self.read.len() < at + size {
            return None;
        }
        let whole: Vec<u8> = self.read.drain(..at + size).collect();
        Some(Packet { first: whole[0], body: whole[at..].to_vec() })
    }
}
