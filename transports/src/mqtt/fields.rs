//! The data types of MQTT (version 5, section 1.5; the same in 3.1.1) and the fixed header, read strictly from borrowed bytes.
//!
//! Every length is checked against what is there; nothing is copied and nothing allocated. Nothing here recurses.
use super::fault::Fault;
use std::num::NonZeroU16;

/// A protocol version that this listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5, protocol level 5.
    V5,
}

impl Version {
    /// As in metrics and origins.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        }
    }
}

/// The fixed header of a packet (section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Packet type and flags.
    pub first: u8,
    /// Bytes of the fixed header itself: 2 to 5.
    pub size: usize,
    /// Bytes that follow it.
    pub remaining: usize,
}

impl FixedHeader {
    /// Reads the fixed header at the start of `bytes`; `None` while it is not complete.
    ///
    /// # Errors
    /// Malformed: a remaining length of more than four bytes, or one that is longer than needed (section 1.5.5).
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        match varint(rest)? {
            Some((remaining, used)) => Ok(Some(FixedHeader { first, size: 1 + used, remaining })),
            None => Ok(None),
        }
    }

    /// The packet type, 0 to 15.
    pub fn packet_type(self) -> u8 {
        self.first >> 4
    }

    /// The whole packet's bytes.
    pub fn total(self) -> usize {
        self.size + self.remaining
    }
}

/// A variable byte integer and its length; `None` while it is not complete.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0usize;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 {
                return Err(Fault::malformed("a variable byte integer is longer than needed"));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Fault::malformed("a variable byte integer has more than four bytes")) } else { Ok(None) }
}

/// U+0000, the other control characters, and the code points that Unicode calls noncharacters.
fn is_forbidden(char: char) -> bool {
    char.is_control() || matches!(char, '\u{fdd0}'..='\u{fdef}') || u32::from(char) & 0xfffe == 0xfffe
}

/// Reads fields one after another.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Malformed when there are fewer; so for all that follow.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| Fault::malformed("the packet ends within a field"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// Malformed.
    pub fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    /// A flag byte: 0 or 1.
    ///
    /// # Errors
    /// Protocol error for another value (MQTT 5, for example 3.1.2.11.7).
    pub fn flag(&mut self) -> Result<bool, Fault> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::protocol("a property that must be 0 or 1 has another value")),
        }
    }

    /// Two bytes, big endian.
    ///
    /// # Errors
    /// Malformed.
    pub fn u16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes, big endian.
    ///
    /// # Errors
    /// Malformed.
    pub fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A packet identifier; never 0 (MQTT-2.2.1-3).
    ///
    /// # Errors
    /// Protocol error for 0.
    pub fn packet_id(&mut self) -> Result<NonZeroU16, Fault> {
        NonZeroU16::new(self.u16()?).ok_or_else(|| Fault::protocol("the packet identifier is 0"))
    }

    /// A variable byte integer.
    ///
    /// # Errors
    /// Malformed.
    pub fn varint(&mut self) -> Result<usize, Fault> {
        let (value, used) = varint(self.rest)?.ok_or_else(|| Fault::malformed("the packet ends within a field"))?;
        self.rest = &self.rest[used..];
        Ok(value)
    }

    /// Binary data: a length of two bytes and so many bytes.
    ///
    /// # Errors
    /// Malformed.
    pub fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 string, without U+0000 (MQTT-1.5.4-1, MQTT-1.5.4-2). Control characters and code points that are no
    /// characters SHOULD NOT be in one, and a receiver may close the connection over them (1.5.4): this one does, because
    /// neither a topic nor an attribute of an event may hold them.
    ///
    /// # Errors
    /// Malformed.
    pub fn string(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::malformed("a string is not UTF-8"))?;
        // Nearly all strings are printable ASCII.
        if bytes.iter().all(|byte| matches!(byte, 0x20..0x7f)) {
            return Ok(text);
        }
        match text.chars().find(|char| is_forbidden(*char)) {
            None => Ok(text),
            Some(char) => Err(Fault::malformed(format!("a string contains U+{:04X}", u32::from(char)))),
        }
    }

    /// A property block: its length, then the properties as fields of their own.
    ///
    /// # Errors
    /// Malformed.
    pub fn properties(&mut self) -> Result<Properties<'a>, Fault> {
        let length = self.varint()?;
        Ok(Properties { fields: Fields::new(self.take(length)?), seen: 0 })
    }

    /// The end of the packet.
    ///
    /// # Errors
    /// Malformed when bytes are left.
    pub fn end(&self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault::malformed("bytes follow the packet's last field")) }
    }
}

/// The properties of a packet (section 2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    /// Where the value of the property is read from that [`Properties::next_id`] named.
    pub fields: Fields<'a>,
    seen: u64,
}

/// Property identifiers (section 2.2.2.2).
pub mod property {
    /// Payload Format Indicator.
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    /// Message Expiry Interval.
    pub const EXPIRY: u8 = 0x02;
    /// Content Type.
    pub const CONTENT_TYPE: u8 = 0x03;
    /// Response Topic.
    pub const RESPONSE_TOPIC: u8 = 0x08;
    /// Correlation Data.
    pub const CORRELATION: u8 = 0x09;
    /// Subscription Identifier.
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    /// Session Expiry Interval.
    pub const SESSION_EXPIRY: u8 = 0x11;
    /// Assigned Client Identifier.
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    /// Server Keep Alive.
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    /// Authentication Method.
    pub const AUTH_METHOD: u8 = 0x15;
    /// Authentication Data.
    pub const AUTH_DATA: u8 = 0x16;
    /// Request Problem Information.
    pub const PROBLEM_INFO: u8 = 0x17;
    /// Will Delay Interval.
    pub const WILL_DELAY: u8 = 0x18;
    /// Request Response Information.
    pub const RESPONSE_INFO: u8 = 0x19;
    /// Reason String.
    pub const REASON: u8 = 0x1F;
    /// Receive Maximum.
    pub const RECEIVE_MAX: u8 = 0x21;
    /// Topic Alias Maximum.
    pub const ALIAS_MAX: u8 = 0x22;
    /// Topic Alias.
    pub const ALIAS: u8 = 0x23;
    /// Maximum QoS.
    pub const MAX_QOS: u8 = 0x24;
    /// Retain Available.
    pub const RETAIN: u8 = 0x25;
    /// User Property.
    pub const USER: u8 = 0x26;
    /// Maximum Packet Size.
    pub const MAX_PACKET: u8 = 0x27;
    /// Wildcard Subscription Available.
    pub const WILDCARD: u8 = 0x28;
    /// Subscription Identifier Available.
    pub const SUBSCRIPTION_IDS: u8 = 0x29;
    /// Shared Subscription Available.
    pub const SHARED: u8 = 0x2A;
}

impl Properties<'_> {
    /// The identifier of the next property, or `None` at the end; its value is next in `fields`. Identifiers are variable
    /// byte integers, of which all that exist take one byte.
    ///
    /// # Errors
    /// Protocol error when a property other than a user property comes twice.
    pub fn next_id(&mut self) -> Result<Option<u8>, Fault> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let id = self.fields.u8()?;
        if id >= 64 {
            return Err(Fault::malformed(format!("0x{id:02x} is no property identifier")));
        }
        let bit = 1u64 << id;
        if self.seen & bit != 0 && id != property::USER {
            return Err(Fault::protocol(format!("the property 0x{id:02x} comes twice")));
        }
        self.seen |= bit;
        Ok(Some(id))
    }

    /// The fault of a property that does not belong into this packet: malformed (2.2.2.2).
    pub fn misplaced(id: u8, packet: &str) -> Fault {
        Fault::malformed(format!("the property 0x{id:02x} may not be in {packet} from a client"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fixed_header_table() {
        let read = |bytes: &[u8]| FixedHeader::read(bytes);
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[0x30]).unwrap(), None);
        assert_eq!(read(&[0x30, 0x80]).unwrap(), None);
        assert_eq!(read(&[0x30, 5]).unwrap(), Some(FixedHeader { first: 0x30, size: 2, remaining: 5 }));
        assert_eq!(read(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap().unwrap().remaining, 268_435_455);
        assert!(read(&[0x30, 0x85, 0x00]).is_err(), "longer than needed");
        assert!(read(&[0x30, 0xff, 0xff, 0xff, 0xff]).is_err(), "five bytes");
    }

    #[test]
    fn strings_are_strict() {
        assert_eq!(Fields::new(b"\0\x02ab").string().unwrap(), "ab");
        assert!(Fields::new(b"\0\x03ab").string().is_err(), "ends early");
        assert!(Fields::new(b"\0\x02a\0").string().is_err(), "U+0000");
        assert!(Fields::new(b"\0\x03\xed\xa0\x80").string().is_err(), "a surrogate");
        for bad in ["\u{1}", "\u{1f}", "\u{7f}", "\u{9f}", "\u{fffe}", "\u{ffff}", "\u{fdd0}", "\u{1fffe}"] {
            let bytes = [&u16::try_from(bad.len()).unwrap().to_be_bytes(), bad.as_bytes()].concat();
            assert_eq!(Fields::new(&bytes).string().unwrap_err().code, 0x81, "{bad:?}");
        }
        assert_eq!(Fields::new(b"\0\x04\xf0\xaa\x9b\x94").string().unwrap(), "\u{2a6d4}", "beyond the basic plane");
    }

    #[test]
    fn a_property_comes_once() {
        let mut properties = Fields::new(&[2, property::PAYLOAD_FORMAT, 1]).properties().unwrap();
        assert_eq!(properties.next_id().unwrap(), Some(property::PAYLOAD_FORMAT));
        assert!(properties.fields.flag().unwrap());
        assert_eq!(properties.next_id().unwrap(), None);
        let mut twice = Fields::new(&[4, 1, 1, 1, 1]).properties().unwrap();
        assert!(twice.next_id().unwrap().is_some());
        twice.fields.flag().unwrap();
        assert_eq!(twice.next_id().unwrap_err().code, 0x82);
    }
}
