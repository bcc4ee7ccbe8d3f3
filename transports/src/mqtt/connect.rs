//! CONNECT (section 3.1 of both versions), read strictly, and what it is answered when it cannot be taken.
use super::{
    fault::{Fault, code},
    fields::{Fields, Properties, Version, property},
    publish::{Said, TopicFault, check_topic, has_wildcard},
    settings::MqttSettings,
};

/// A CONNECT.
#[derive(Clone, Debug)]
pub struct Connect<'a> {
    /// The protocol version.
    pub version: Version,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// The client identifier; empty when the server shall make one.
    pub client_id: &'a str,
    /// The will.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// Whether a Session Expiry Interval above 0 was asked for (it is refused; DISCONNECT may speak of it).
    pub session_kept: bool,
    /// Largest packet that the client takes.
    pub max_packet: Option<u32>,
    /// Whether reason strings may be sent beside CONNACK, PUBLISH and DISCONNECT.
    pub problem_info: bool,
}

/// A will: the message that is sent for a client that has gone.
#[derive(Clone, Debug)]
pub struct Will<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its properties (MQTT 5).
    pub said: Said<'a>,
}

/// Why a CONNECT is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The version in which to say so; `None`: the connection closes without a word.
    pub version: Option<Version>,
    /// What was wrong.
    pub fault: Fault,
}

impl<'a> Connect<'a> {
    /// Reads what follows the fixed header.
    ///
    /// # Errors
    /// What to answer. A 3.1.1 client gets a CONNACK only for the version, the client identifier and the user name, as the standard says
    /// (3.2.2.3); every other fault closes the connection.
    pub fn read(body: &'a [u8], settings: &MqttSettings) -> Result<Self, Refused> {
        let mut fields = Fields::new(body);
        let version = read_version(&mut fields)?;
        if !settings.versions.contains(&version) {
            let fault = Fault::new(code::VERSION, format!("MQTT {} is not served by this listener", version.as_str()));
            return Err(Refused { version: Some(version), fault });
        }
        let refused = |fault: Fault| {
            let speaks = version == Version::V5 || matches!(fault.code, code::CLIENT_ID | code::BAD_LOGIN);
            Refused { version: speaks.then_some(version), fault }
        };
        Self::read_rest(&mut fields, version, settings).map_err(refused)
    }

    fn read_rest(fields: &mut Fields<'a>, version: Version, settings: &MqttSettings) -> Result<Self, Fault> {
        let flags = ConnectFlags::read(fields.u8()?, version)?;
        let keep_alive = fields.u16()?;
        let mut options = Options { session_kept: false, max_packet: None, problem_info: true };
        if version == Version::V5 {
            options.read(fields.properties()?, settings)?;
        }
        let client_id = fields.string()?;
        if client_id.is_empty() && !flags.clean && version == Version::V311 {
            return Err(Fault::new(code::CLIENT_ID, "an empty client identifier needs a clean session"));
        }
        if client_id.len() > settings.client_id_max {
            let detail = format!(
                "the client identifier has {} bytes, at most {} are taken",
                client_id.len(),
                settings.client_id_max
            );
            return Err(Fault::new(code::CLIENT_ID, detail));
        }
        if stands_for_others(client_id) {
            return Err(Fault::new(code::CLIENT_ID, "the client identifier has a wildcard as a level"));
        }
        let will = if flags.will { Some(Will::read(fields, version, settings)?) } else { None };
        flags.check_will(version)?;
        let user = if flags.user { Some(fields.string()?) } else { None };
        let password = if flags.password { Some(fields.binary()?) } else { None };
        fields.end()?;
        if user.is_some_and(stands_for_others) {
            return Err(Fault::new(code::BAD_LOGIN, "the user name has a wildcard as a level"));
        }
        let Options { session_kept, max_packet, problem_info } = options;
        Ok(Connect { version, keep_alive, client_id, will, user, password, session_kept, max_packet, problem_info })
    }
}

/// Protocol name and level (3.1.2.1, 3.1.2.2). A peer that says another name is no MQTT client and gets no answer.
fn read_version(fields: &mut Fields<'_>) -> Result<Version, Refused> {
    let silent = |fault: Fault| Refused { version: None, fault };
    let name = fields.binary().map_err(silent)?;
    let level = fields.u8().map_err(silent)?;
    let unsupported = |version| Refused {
        version: Some(version),
        fault: Fault::new(code::VERSION, format!("protocol level {level}")),
    };
    match (name, level) {
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..) => Err(unsupported(Version::V5)),
        (b"MQTT" | b"MQIsdp", _) => Err(unsupported(Version::V311)),
        _ => Err(silent(Fault::protocol("the protocol name is not MQTT"))),
    }
}

#[derive(Clone, Copy, Debug)]
struct ConnectFlags {
    clean: bool,
    will: bool,
    will_qos: u8,
    will_retain: bool,
    user: bool,
    password: bool,
}

impl ConnectFlags {
    fn read(bits: u8, version: Version) -> Result<Self, Fault> {
        let has = |bit: u8| bits & bit != 0;
        let flags = ConnectFlags {
            clean: has(2),
            will: has(4),
            will_qos: (bits >> 3) & 3,
            will_retain: has(32),
            user: has(128),
            password: has(64),
        };
        if has(1) {
            return Err(Fault::malformed("the reserved connect flag is set"));
        }
        if !flags.will && (flags.will_qos != 0 || flags.will_retain) {
            return Err(Fault::malformed("will flags without a will"));
        }
        if flags.will_qos == 3 {
            return Err(Fault::malformed("the will has QoS 3"));
        }
        if version == Version::V311 && flags.password && !flags.user {
            return Err(Fault::malformed("a password without a user name"));
        }
        Ok(flags)
    }

    /// A 3.1.1 client cannot be told what is not served: its will is taken without RETAIN.
    fn check_will(self, version: Version) -> Result<(), Fault> {
        if version == Version::V5 && self.will_retain {
            return Err(Fault::new(code::RETAIN, "the will is to be retained; Retain Available is 0"));
        }
        Ok(())
    }
}

struct Options {
    session_kept: bool,
    max_packet: Option<u32>,
    problem_info: bool,
}

impl Options {
    fn read(&mut self, mut properties: Properties<'_>, settings: &MqttSettings) -> Result<(), Fault> {
        let mut user = 0;
        while let Some(id) = properties.next_id()? {
            let fields = &mut properties.fields;
            match id {
                property::SESSION_EXPIRY => self.session_kept = fields.u32()? > 0,
                property::RECEIVE_MAX if fields.u16()? == 0 => return Err(Fault::protocol("the Receive Maximum is 0")),
                property::RECEIVE_MAX => {}
                property::MAX_PACKET => match fields.u32()? {
                    0 => return Err(Fault::protocol("the Maximum Packet Size is 0")),
                    max => self.max_packet = Some(max),
                },
                property::ALIAS_MAX => {
                    fields.u16()?;
                }
                property::RESPONSE_INFO => {
                    fields.flag()?;
                }
                property::PROBLEM_INFO => self.problem_info = fields.flag()?,
                property::USER => {
                    fields.string()?;
                    fields.string()?;
                    user += 1;
                    if user > settings.user_properties_max {
                        return Err(Fault::new(code::TOO_LARGE, "too many user properties"));
                    }
                }
                property::AUTH_METHOD => {
                    return Err(Fault::new(code::AUTH_METHOD, "no enhanced authentication is served"));
                }
                property::AUTH_DATA => return Err(Fault::protocol("authentication data without a method")),
                id => return Err(Properties::misplaced(id, "CONNECT")),
            }
        }
        Ok(())
    }
}

impl<'a> Will<'a> {
    fn read(fields: &mut Fields<'a>, version: Version, settings: &MqttSettings) -> Result<Self, Fault> {
        let mut said = Said::default();
        if version == Version::V5 {
            let mut properties = fields.properties()?;
            while let Some(id) = properties.next_id()? {
                if id == property::WILL_DELAY {
                    properties.fields.u32()?;
                } else if !said.read(id, &mut properties.fields, settings.user_properties_max)? {
                    return Err(Properties::misplaced(id, "a will"));
                }
            }
        }
        let topic = fields.string()?;
        check_will_topic(topic, settings.topic_max)?;
        let payload = fields.binary()?;
        if said.is_text && std::str::from_utf8(payload).is_err() {
            return Err(Fault::new(code::PAYLOAD_FORMAT, "the will's payload is not UTF-8"));
        }
        Ok(Will { topic, payload, said })
    }
}

fn check_will_topic(topic: &str, max: usize) -> Result<(), Fault> {
    let fault = |detail: String| Err(Fault::new(code::TOPIC_NAME, detail));
    if topic.is_empty() {
        return fault("the will's topic is empty".to_owned());
    }
    if has_wildcard(topic) {
        return fault("the will's topic has a wildcard".to_owned());
    }
    check_topic(topic, max).or_else(|refused: TopicFault| fault(format!("the will: {}", refused.detail())))
}

/// Whether a level of the name is a wildcard: as part of a topic filter it would stand for others.
fn stands_for_others(name: &str) -> bool {
    name.split('/').any(|level| matches!(level, "#" | "+"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> (Option<Version>, u8) {
        let refused = Connect::read(body, &MqttSettings::default()).unwrap_err();
        (refused.version, refused.fault.code)
    }

    #[test]
    fn a_full_connect() {
        let body = b"\0\x04MQTT\x05\xc6\0\x3c\x05\x27\0\0\x01\0\0\x02id\x02\x01\x01\0\x01t\0\x02hi\0\x01u\0\x01p";
        let connect = Connect::read(body, &MqttSettings::default()).unwrap();
        assert_eq!((connect.client_id, connect.keep_alive, connect.max_packet), ("id", 60, Some(256)));
        assert_eq!((connect.user, connect.password), (Some("u"), Some(&b"p"[..])));
        let will = connect.will.unwrap();
        assert_eq!((will.topic, will.payload, will.said.is_text), ("t", &b"hi"[..], true));
    }

    #[test]
    fn refusals_table() {
        let (v3, v5) = (Some(Version::V311), Some(Version::V5));
        for (what, body, expected) in [
            ("another protocol", &b"\0\x04HTTP\x04\x02\0\0\0\0"[..], (None, 0x82)),
            ("level 3", b"\0\x06MQIsdp\x03\x02\0\0\0\x01a", (v3, 0x84)),
            ("level 6", b"\0\x04MQTT\x06\x02\0\0\0\0\0", (v5, 0x84)),
            ("reserved flag, 3.1.1", b"\0\x04MQTT\x04\x03\0\0\0\x01a", (None, 0x81)),
            ("reserved flag, 5", b"\0\x04MQTT\x05\x03\0\0\0\0\x01a", (v5, 0x81)),
            ("empty id, kept session, 3.1.1", b"\0\x04MQTT\x04\0\0\0\0\0", (v3, 0x85)),
            ("will QoS without a will", b"\0\x04MQTT\x05\x0a\0\0\0\0\x01a", (v5, 0x81)),
            ("will QoS 3", b"\0\x04MQTT\x05\x1e\0\0\0\0\x01a\0\0\x01t\0\0", (v5, 0x81)),
            ("will of a server", b"\0\x04MQTT\x05\x06\0\0\0\0\x01a\0\0\x02$t\0\0", (v5, 0x90)),
            ("will without a topic", b"\0\x04MQTT\x05\x06\0\0\0\0\x01a\0\0\0\0\0", (v5, 0x90)),
            ("topic alias in a will", b"\0\x04MQTT\x05\x06\0\0\0\0\x01a\x03\x23\0\x01\0\x01t\0\0", (v5, 0x81)),
            ("a wildcard as id, 5", b"\0\x04MQTT\x05\x02\0\0\0\0\x01#", (v5, 0x85)),
            ("a wildcard as id, 3.1.1", b"\0\x04MQTT\x04\x02\0\0\0\x03a/+", (v3, 0x85)),
            ("a wildcard as user, 5", b"\0\x04MQTT\x05\x82\0\0\0\0\x01a\0\x01+", (v5, 0x86)),
            ("U+FFFE in the id", b"\0\x04MQTT\x05\x02\0\0\0\0\x03\xef\xbf\xbe", (v5, 0x81)),
            ("will retain, 5", b"\0\x04MQTT\x05\x26\0\0\0\0\x01a\0\0\x01t\0\0", (v5, 0x9a)),
            ("will topic with wildcard", b"\0\x04MQTT\x05\x06\0\0\0\0\x01a\0\0\x01#\0\0", (v5, 0x90)),
            ("will not UTF-8", b"\0\x04MQTT\x05\x06\0\0\0\0\x01a\x02\x01\x01\0\x01t\0\x01\xff", (v5, 0x99)),
            ("password alone, 3.1.1", b"\0\x04MQTT\x04\x42\0\0\0\x01a\0\x01p", (None, 0x81)),
            ("U+0000 in the id", b"\0\x04MQTT\x05\x02\0\0\0\0\x01\0", (v5, 0x81)),
            ("bytes after the end", b"\0\x04MQTT\x05\x02\0\0\0\0\x01ax", (v5, 0x81)),
            ("ends early", b"\0\x04MQTT\x05\x82\0\0\0\0\x01a", (v5, 0x81)),
            ("receive maximum 0", b"\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\x01a", (v5, 0x82)),
            ("maximum packet 0", b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\0\0\x01a", (v5, 0x82)),
            ("authentication method", b"\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01x\0\x01a", (v5, 0x8c)),
            ("topic alias in CONNECT", b"\0\x04MQTT\x05\x02\0\0\x03\x23\0\x01\0\x01a", (v5, 0x81)),
        ] {
            assert_eq!(refused(body), expected, "{what}");
        }
    }

    #[test]
    fn what_is_taken() {
        let settings = MqttSettings::default();
        for body in [
            &b"\0\x04MQTT\x04\x02\0\0\0\0"[..],
            b"\0\x04MQTT\x04\0\0\0\0\x01a",
            b"\0\x04MQTT\x05\0\0\0\0\0\0",
            b"\0\x04MQTT\x05\x42\0\0\0\0\x01a\0\x01p",
            b"\0\x04MQTT\x04\x36\0\0\0\x01a\0\x01t\0\0",
            b"\0\x04MQTT\x05\x16\0\0\0\0\x01a\0\0\x01t\0\0",
            b"\0\x04MQTT\x05\x82\0\0\0\0\x01a\0\x03a+b",
        ] {
            assert!(Connect::read(body, &settings).is_ok(), "{body:?}");
        }
        let long = [&b"\0\x04MQTT\x04\x02\0\0\0\x81"[..], &[b'a'; 129]].concat();
        assert_eq!(refused(&long), (Some(Version::V311), 0x85));
    }
}
