//! PUBLISH as a client sends it (MQTT 5 section 3.3, 3.1.1 section 3.3), read strictly.
//!
//! Codecs of the ecosystem accept much that a server must refuse here (wildcards in a topic name, DUP with QoS 0, a
//! subscription identifier, U+0000), and refuse an expiry of 0 seconds, which is legal. So it is read here, from borrowed bytes.
use super::{
    fault::{Fault, code},
    fields::{Fields, Properties, Version, property},
};
use smallvec::SmallVec;
use std::num::NonZeroU16;

/// User properties as they stand in the packet.
pub type UserProperties<'a> = SmallVec<[(&'a str, &'a str); 8]>;

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0: no answer.
    AtMostOnce,
    /// QoS 1: PUBACK.
    AtLeastOnce,
    /// QoS 2: PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce,
}

impl Qos {
    /// Checks the flags before anything of the packet is read. A retained message cannot be kept; 3.1.1 has no way to say so
    /// about RETAIN: there the flag is ignored.
    ///
    /// # Errors
    /// 0x81 for QoS 3 (MQTT-3.3.1-4), 0x82 for DUP with QoS 0 (MQTT-3.3.1-2), 0x9A for RETAIN on MQTT 5.
    pub fn read(first: u8, version: Version) -> Result<Self, Fault> {
        let (duplicate, retain) = (first & 0b1000 != 0, first & 1 != 0);
        let qos = match (first >> 1) & 3 {
            0 if duplicate => return Err(Fault::protocol("DUP is set on a QoS 0 message")),
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(Fault::malformed("QoS 3 does not exist")),
        };
        if retain && version == Version::V5 {
            return Err(Fault::new(code::RETAIN, "retained messages are not kept; Retain Available is 0"));
        }
        Ok(qos)
    }
}

/// What a PUBLISH or a will says beside its payload.
#[derive(Clone, Debug, Default)]
pub struct Said<'a> {
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Whether the payload must be UTF-8 (Payload Format Indicator 1).
    pub is_text: bool,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation: Option<&'a [u8]>,
    /// User properties, in order.
    pub user: UserProperties<'a>,
}

impl<'a> Said<'a> {
    /// Reads the property that [`Properties::next_id`] named, if it is one that a message has; else says `false`.
    ///
    /// # Errors
    /// Malformed; protocol error for a response topic with wildcards (MQTT-3.3.2-14); too large, 0x95, for too many user
    /// properties.
    pub fn read(&mut self, id: u8, fields: &mut Fields<'a>, user_max: usize) -> Result<bool, Fault> {
        match id {
            property::PAYLOAD_FORMAT => self.is_text = fields.flag()?,
            property::EXPIRY => self.expiry = Some(fields.u32()?),
            property::CONTENT_TYPE => self.content_type = Some(fields.string()?),
            property::RESPONSE_TOPIC => {
                let topic = fields.string()?;
                if topic.is_empty() || has_wildcard(topic) {
                    return Err(Fault::protocol("the response topic is no topic name"));
                }
                self.response_topic = Some(topic);
            }
            property::CORRELATION => self.correlation = Some(fields.binary()?),
            property::USER => {
                if self.user.len() == user_max {
                    return Err(Fault::new(code::TOO_LARGE, format!("more than {user_max} user properties")));
                }
                self.user.push((fields.string()?, fields.string()?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A PUBLISH.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    /// The topic as it stands there; empty when an alias stands for it.
    pub topic: &'a str,
    /// The packet identifier of QoS 1 and 2.
    pub packet_id: Option<NonZeroU16>,
    /// Topic alias, 1 to the announced maximum.
    pub alias: Option<u16>,
    /// The properties.
    pub said: Said<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// What the listener's settings say about a PUBLISH.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Topic Alias Maximum.
    pub alias: u16,
    /// Most user properties.
    pub user_properties: usize,
}

impl<'a> Publish<'a> {
    /// Reads what follows the fixed header.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn read(body: &'a [u8], qos: Qos, version: Version, limits: Limits) -> Result<Self, Fault> {
        let mut fields = Fields::new(body);
        let topic = fields.string()?;
        let packet_id = if qos == Qos::AtMostOnce { None } else { Some(fields.packet_id()?) };
        let mut said = Said::default();
        let mut alias = None;
        if version == Version::V5 {
            let mut properties = fields.properties()?;
            while let Some(id) = properties.next_id()? {
                if id == property::ALIAS {
                    alias = Some(read_alias(&mut properties, limits.alias)?);
                } else if id == property::SUBSCRIPTION_ID {
                    return Err(Fault::protocol("a subscription identifier from a client (MQTT-3.3.4-6)"));
                } else if !said.read(id, &mut properties.fields, limits.user_properties)? {
                    return Err(Properties::misplaced(id, "PUBLISH"));
                }
            }
        }
        if topic.is_empty() && alias.is_none() {
            return Err(Fault::protocol("the topic is empty and there is no alias"));
        }
        if has_wildcard(topic) {
            return Err(Fault::new(code::TOPIC_NAME, "a topic name has no wildcards"));
        }
        Ok(Publish { topic, packet_id, alias, said, payload: fields.rest() })
    }
}

fn read_alias(properties: &mut Properties<'_>, max: u16) -> Result<u16, Fault> {
    match properties.fields.u16()? {
        alias if alias == 0 || alias > max => {
            Err(Fault::new(code::TOPIC_ALIAS, format!("topic alias {alias}; the Topic Alias Maximum is {max}")))
        }
        alias => Ok(alias),
    }
}

/// What a topic name may be beside what the standard says of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicFault {
    /// Longer than the listener takes: how long, and how long it may be.
    Long(usize, usize),
    /// It begins with `$`: such names belong to servers (4.7.2).
    Reserved,
}

/// Checks a topic name that has been read: its length, and that it is not a server's.
///
/// # Errors
/// What a message with this topic is refused for.
pub fn check_topic(topic: &str, max: usize) -> Result<(), TopicFault> {
    if topic.len() > max {
        return Err(TopicFault::Long(topic.len(), max));
    }
    if topic.starts_with('$') { Err(TopicFault::Reserved) } else { Ok(()) }
}

impl TopicFault {
    /// For people.
    pub fn detail(self) -> String {
        match self {
            TopicFault::Long(bytes, max) => format!("the topic has {bytes} bytes, at most {max} are taken"),
            TopicFault::Reserved => "topics that begin with $ belong to servers".to_owned(),
        }
    }
}

/// Whether a topic name holds a wildcard, which none may (MQTT-3.3.2-2).
pub(super) fn has_wildcard(topic: &str) -> bool {
    topic.bytes().any(|byte| byte == b'+' || byte == b'#')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { alias: 4, user_properties: 2 };

    fn fault(body: &[u8]) -> u8 {
        Publish::read(body, Qos::AtLeastOnce, Version::V5, LIMITS).unwrap_err().code
    }

    #[test]
    fn strictness_table() {
        for (what, body, code) in [
            ("wildcard", &b"\0\x03a/#\0\x01\0"[..], 0x90),
            ("single-level wildcard", b"\0\x03a/+\0\x01\0", 0x90),
            ("U+0000", b"\0\x02a\0\0\x01\0", 0x81),
            ("not UTF-8", b"\0\x01\xff\0\x01\0", 0x81),
            ("no topic and no alias", b"\0\0\0\x01\0", 0x82),
            ("packet id 0", b"\0\x01a\0\0\0", 0x82),
            ("alias 0", b"\0\x01a\0\x01\x03\x23\0\0", 0x94),
            ("alias above the maximum", b"\0\x01a\0\x01\x03\x23\0\x05", 0x94),
            ("subscription identifier", b"\0\x01a\0\x01\x02\x0b\x01", 0x82),
            ("a property of CONNECT", b"\0\x01a\0\x01\x05\x11\0\0\0\0", 0x81),
            ("payload format 2", b"\0\x01a\0\x01\x02\x01\x02", 0x82),
            ("property twice", b"\0\x01a\0\x01\x04\x01\x01\x01\x01", 0x82),
            ("property beyond the block", b"\0\x01a\0\x01\x02\x23\0\x01", 0x81),
            ("block beyond the packet", b"\0\x01a\0\x01\x09\x01\x01", 0x81),
            ("wildcard in the response topic", b"\0\x01a\0\x01\x04\x08\0\x01#", 0x82),
            (
                "too many user properties",
                b"\0\x01a\0\x01\x15\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b",
                0x95,
            ),
        ] {
            assert_eq!(fault(body), code, "{what}");
        }
    }

    #[test]
    fn flags_table() {
        let read = |first, version| Qos::read(first, version).map_err(|fault| fault.code);
        assert_eq!(read(0x30, Version::V5), Ok(Qos::AtMostOnce));
        assert_eq!(read(0x3a, Version::V5), Ok(Qos::AtLeastOnce), "DUP with QoS 1");
        assert_eq!(read(0x3c, Version::V311), Ok(Qos::ExactlyOnce), "DUP with QoS 2");
        assert_eq!(read(0x38, Version::V5), Err(0x82), "DUP with QoS 0");
        assert_eq!(read(0x36, Version::V5), Err(0x81));
        assert_eq!(read(0x33, Version::V5), Err(0x9a));
        assert_eq!(read(0x33, Version::V311), Ok(Qos::AtLeastOnce), "RETAIN is ignored");
    }

    #[test]
    fn topics_that_are_not_taken() {
        assert_eq!(check_topic("a/b", 3), Ok(()));
        assert_eq!(check_topic("a/bc", 3), Err(TopicFault::Long(4, 3)));
        assert_eq!(check_topic("$SYS", 4), Err(TopicFault::Reserved));
    }

    #[test]
    fn an_expiry_of_zero_is_legal() {
        let publish = Publish::read(b"\0\x01a\x05\x02\0\0\0\0hi", Qos::AtMostOnce, Version::V5, LIMITS).unwrap();
        assert_eq!(publish.said.expiry, Some(0));
        assert_eq!(publish.payload, b"hi");
    }
}
