//! Runs one raw sequence and judges it by the OASIS specifications, not by what mosquitto answers.
//!
//! The rules, beside "the same bytes":
//! * any successful CONNACK will do, whatever its properties;
//! * an expected DISCONNECT may have any other reason of 0x80 and above, or not be there at all; but then the connection must
//!   be closed (MQTT-4.13.1-1). A refused CONNECT of MQTT 5 may be told so by a CONNACK or not (section 3.1.4);
//! * an acknowledgement may have any reason below 0x80 (0x10, *no matching subscribers*, is a choice), and PUBREL and PUBCOMP of an
//!   unknown packet identifier may say so (0x92);
//! * SUBACK may grant less than was asked for (MQTT-3.8.4-7), but not refuse;
//! * a connection that is to stay open answers PINGREQ, and sends nothing else in between;
//! * where the specification leaves a choice ([`choice`]) both are right, and where mosquitto takes what the specification
//!   forbids ([`is_forbidden`]) the connection must be closed.
use super::{
    encode::{Connect, publish},
    sequences::{Case, Step},
    wire::{Connection, Packet, Seen, Version, hex},
};
use crate::{cut::Cut, suite::Endpoint};
use std::borrow::Cow;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the case asks for.
    pub expected: String,
    /// What came.
    pub seen: String,
}

impl Difference {
    pub(super) fn new(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Difference { expected: expected.into(), seen: seen.into() }
    }
}

/// What the connection must be in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Closed,
    Open,
    Either,
}

/// Where the specification leaves it to the server whether the packet is malformed: control characters in a string
/// (MQTT 5 section 1.5.4, 3.1.1 section 1.5.3: a receiver MAY close the connection).
pub fn choice(case: &Case) -> bool {
    ["U+0001", "U+001F", "U+007F", "U+009F", "0x0001", "0x001F", "0x007F", "0x009F"]
        .iter()
        .any(|character| case.title.ends_with(&format!("with {character}")))
}

/// What mosquitto takes although the specification forbids it: a client's PUBLISH with a subscription identifier
/// (MQTT-3.3.4-6).
pub fn is_forbidden(case: &Case) -> bool {
    case.title.contains("PUBLISH ALLOWED PROPERTIES · subscription-identifier")
}

/// Runs the case. The endpoint's cut is one of the bytes that the case itself sends.
///
/// # Errors
/// The first difference.
pub fn run(case: &Case, endpoint: &Endpoint) -> Result<(), Difference> {
    let mut connection = Connection::open(endpoint).map_err(|why| Difference::new("a connection", why))?;
    let mut alias_max = 0;
    if let Some(version) = case.connect {
        let connected = connection.connect(&Connect::new(version, endpoint));
        let connack = connected.map_err(|seen| Difference::new("CONNACK 0x00", seen))?;
        alias_max = connack.connack_property(0x22).map_or(0, |value| u16::from_be_bytes([value[0], value[1]]));
    }
    let mut run = Run {
        endpoint,
        connection,
        version: version_of(case),
        greeted: case.connect.is_some(),
        alias_max,
        closed: false,
    };
    let forbidden = is_forbidden(case);
    for step in &case.steps {
        match step {
            Step::Send(bytes) => run.connection.send(&run.alias_above_maximum(case, bytes)),
            Step::Receive(_) if forbidden || choice(case) => {}
            Step::Receive(bytes) => run.receive(bytes)?,
            Step::Publish { topic, qos } => run.publish_beside(topic, *qos)?,
        }
        if run.closed {
            break;
        }
    }
    match (case.closes || forbidden, choice(case)) {
        (_, true) => run.end(Ending::Either),
        (true, false) => run.end(Ending::Closed),
        (false, false) if run.closed => Ok(()),
        (false, false) => run.end(Ending::Open),
    }
}

/// The version of the packets that the server may send: 5 only when a CONNECT says so.
fn version_of(case: &Case) -> Version {
    let own = case.steps.first().is_some_and(|step| matches!(step, Step::Send(bytes) if says_5(bytes)));
    if own { Version::V5 } else { case.connect.unwrap_or(Version::V311) }
}

fn says_5(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x10) && bytes.windows(7).any(|window| window == b"\0\x04MQTT\x05")
}

struct Run<'a> {
    endpoint: &'a Endpoint,
    connection: Connection,
    version: Version,
    /// Whether a CONNACK has come.
    greeted: bool,
    /// The Topic Alias Maximum that the server announced.
    alias_max: u16,
    /// Whether the connection ended where that is one of the right answers.
    closed: bool,
}

impl Run<'_> {
    /// The case that uses an alias above mosquitto's maximum uses one above this server's.
    fn alias_above_maximum<'b>(&self, case: &Case, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        const MOSQUITTO: &[u8] = &[0x23, 0, 11];
        let place = bytes.windows(3).position(|window| window == MOSQUITTO);
        match place {
            Some(place) if case.title.ends_with("topic alias > max topic alias") => {
                let mut bytes = bytes.to_vec();
                bytes[place + 1..place + 3].copy_from_slice(&self.alias_max.saturating_add(1).to_be_bytes());
                Cow::Owned(bytes)
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Difference> {
        let packets = Packet::all(bytes).unwrap_or_default();
        if packets.is_empty() {
            return Err(Difference::new(hex(bytes), "a case that expects no whole packet"));
        }
        for expected in packets {
            let seen = self.connection.receive();
            if !self.matches(&expected, &seen) {
                return Err(Difference::new(expected.to_string(), seen));
            }
        }
        Ok(())
    }

    fn matches(&mut self, expected: &Packet, seen: &Seen) -> bool {
        let got = match seen {
            Seen::Packet(got) => got,
            // A refusal need not be told by MQTT 5, and a name that is not MQTT's need not be answered at all (MQTT-3.1.2-1).
            Seen::Closed => {
                self.closed = expected.kind() == 14 || (expected.kind() == 2 && expected.code() >= 0x80);
                return self.closed;
            }
            Seen::Silence | Seen::Garbage(_) => return false,
        };
        if got.kind() != expected.kind() {
            return false;
        }
        match expected.kind() {
            2 => self.greeting_matches(expected, got),
            4 | 5 => got.id() == expected.id() && got.code() < 0x80,
            6 | 7 => got.id() == expected.id() && matches!(got.code(), 0 | 0x92),
            9 => self.grants(expected, got),
            11 if self.version == Version::V5 => {
                got.id() == expected.id()
                    && got.body.len() >= expected.body.len()
                    && got.body[got.body.len() - (expected.body.len() - 3)..].iter().all(|code| *code < 0x80)
            }
            14 => got.code() >= 0x80,
            _ => got == expected,
        }
    }

    fn greeting_matches(&mut self, expected: &Packet, got: &Packet) -> bool {
        self.greeted = true;
        match expected.code() {
            0 => got.code() == 0,
            // "Unsupported protocol version" by either specification: 3.1.1 says 1, MQTT 5 says 0x84.
            1 => matches!(got.code(), 1 | 0x84),
            code if code < 0x80 => got.code() == code,
            _ => got.code() >= 0x80,
        }
    }

    fn grants(&self, expected: &Packet, got: &Packet) -> bool {
        let fixed = if self.version == Version::V5 { 3 } else { 2 };
        let codes = |packet: &Packet| packet.body.get(fixed..).map(<[u8]>::to_vec).unwrap_or_default();
        let (wanted, granted) = (codes(expected), codes(got));
        got.id() == expected.id()
            && wanted.len() == granted.len()
            && granted.iter().zip(&wanted).all(|(granted, wanted)| granted <= wanted)
    }

    fn publish_beside(&self, topic: &str, qos: u8) -> Result<(), Difference> {
        let fault = |seen: String| Difference::new("another client's PUBLISH taken", seen);
        let whole = Endpoint { cut: Cut::default(), ..self.endpoint.clone() };
        let mut other = Connection::open(&whole).map_err(fault)?;
        other.connect(&Connect::new(Version::V311, self.endpoint)).map_err(fault)?;
        other.send(&publish(Version::V311, qos << 1, topic, 1, &[], b"message"));
        for (answer, then) in match qos {
            0 => &[][..],
            1 => &[(0x40, None)][..],
            _ => &[(0x50, Some(b"\x62\x02\0\x01")), (0x70, None)][..],
        } {
            match other.receive() {
                Seen::Packet(packet) if packet.first == *answer && packet.id() == Some(1) => {}
                seen => return Err(fault(seen.to_string())),
            }
            if let Some(then) = then {
                other.send(*then);
            }
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), Difference> {
        if ending != Ending::Closed {
            self.connection.send_whole(&[0xc0, 0]);
            let mut seen = self.connection.receive();
            // Where both are right, what was sent may have been taken and answered.
            while ending == Ending::Either && matches!(&seen, Seen::Packet(packet) if is_taken(packet)) {
                seen = self.connection.receive();
            }
            match seen {
                Seen::Packet(packet) if packet.first == 0xd0 && packet.body.is_empty() => return Ok(()),
                seen if ending == Ending::Open => return Err(Difference::new("PINGRESP to a PINGREQ", seen)),
                Seen::Packet(packet) if self.may_say(&packet) => {}
                Seen::Closed => return Ok(()),
                seen => return Err(Difference::new("PINGRESP to a PINGREQ, or the connection closed", seen)),
            }
        }
        loop {
            match self.connection.receive() {
                Seen::Closed => return Ok(()),
                Seen::Packet(packet) if self.may_say(&packet) => {}
                seen => return Err(Difference::new("the connection closed", seen)),
            }
        }
    }

    /// What a server may say before it closes: why.
    fn may_say(&self, packet: &Packet) -> bool {
        let refusal = packet.kind() == 2 && !self.greeted && packet.code() > 0;
        refusal || (self.version == Version::V5 && packet.kind() == 14 && packet.code() >= 0x80)
    }
}

/// An acknowledgement that refuses no whole packet.
fn is_taken(packet: &Packet) -> bool {
    matches!(packet.kind(), 4 | 5 | 9 | 11) || (packet.kind() == 2 && packet.code() == 0)
}

/// Whether the case is about MQTT 3.1, which is no OASIS standard. A server that does not speak it answers as for every
/// protocol level that it does not know.
fn is_31(case: &Case) -> bool {
    matches!(case.steps.first(), Some(Step::Send(bytes)) if bytes.windows(6).any(|window| window == b"MQIsdp"))
}

/// Whether a server that does not speak MQTT 3.1 is right about this case: no answer or CONNACK 1, then closed (MQTT-3.1.2-1,
/// MQTT-3.1.2-2).
pub fn refuses_31(case: &Case, endpoint: &Endpoint) -> bool {
    let Some(Step::Send(bytes)) = case.steps.first() else { return false };
    if !is_31(case) {
        return false;
    }
    let Ok(mut connection) = Connection::open(endpoint) else { return false };
    connection.send(bytes);
    let (packets, end) = connection.rest();
    end == Seen::Closed && packets.iter().all(|packet| packet.kind() == 2 && matches!(packet.code(), 1 | 0x84))
}
