//! The few packets that a case needs made by hand.
use super::wire::Version;
use crate::suite::{Credentials, Endpoint};
use std::sync::atomic::{AtomicU32, Ordering};

/// A CONNECT with nothing wrong in it.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The version.
    pub version: Version,
    /// The client identifier.
    pub client: String,
    /// Clean session or clean start.
    pub clean: bool,
    /// Seconds.
    pub keep_alive: u16,
    /// Properties of MQTT 5, without their length.
    pub properties: Vec<u8>,
    /// Will flags, and the will's part of the payload.
    pub will: Option<(u8, Vec<u8>)>,
    /// User name and password.
    pub login: Option<(String, String)>,
}

impl Connect {
    /// A clean one with a client identifier that no other case uses.
    pub fn new(version: Version, endpoint: &Endpoint) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let login = match &endpoint.credentials {
            None => None,
            Some(Credentials::Password { name, password }) => Some((name.clone(), password.clone())),
            Some(Credentials::Token(token)) => Some((String::new(), token.clone())),
        };
        Connect {
            version,
            client: format!("conform{}x{number}", std::process::id()),
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            will: None,
            login,
        }
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        if let Some((will, _)) = &self.will {
            flags |= 4 | will;
        }
        if self.login.is_some() {
            flags |= 0xc0;
        }
        let mut body = [&text("MQTT")[..], &[self.version.level(), flags], &self.keep_alive.to_be_bytes()].concat();
        if self.version == Version::V5 {
            body.extend(block(&self.properties));
        }
        body.extend(text(&self.client));
        if let Some((_, will)) = &self.will {
            body.extend_from_slice(will);
        }
        if let Some((name, password)) = &self.login {
            body.extend(text(name));
            body.extend(text(password));
        }
        packet(0x10, &body)
    }
}

/// A packet of these bytes.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &varint(body.len())[..], body].concat()
}

/// A string with its length.
pub fn text(value: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = value.as_ref();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &bytes[..usize::from(length)]].concat()
}

/// A property block with its length.
pub fn block(properties: &[u8]) -> Vec<u8> {
    [&varint(properties.len())[..], properties].concat()
}

/// A variable byte integer.
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A PUBLISH with these flags (the low half of its first byte); `properties` without their length, MQTT 5 only. A packet
/// identifier belongs to QoS 1 and 2.
pub fn publish(
    version: Version,
    flags: u8,
    topic: impl AsRef<[u8]>,
    id: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 6 != 0 {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        body.extend(block(properties));
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_what_the_standard_says() {
        assert_eq!(publish(Version::V311, 2, "t", 7, &[], b"x"), b"\x32\x06\0\x01t\0\x07x");
        assert_eq!(publish(Version::V5, 0, "t", 7, &[1, 1], b"x"), b"\x30\x07\0\x01t\x02\x01\x01x");
    }
}
