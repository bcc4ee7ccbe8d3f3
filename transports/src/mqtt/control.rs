//! Control packets: everything that a client sends and that is no PUBLISH, read strictly and answered.
use super::{
    end::End,
    fault::{Fault, code},
    fields::{Fields, FixedHeader, Properties, Version, property},
    link::Link,
    stream::Stream,
    subscribe::{Filters, Kind},
    write::{PINGRESP, PUBCOMP, PUBREL},
};
use std::num::NonZeroU16;

impl<S: Stream> Link<S> {
    /// Takes a packet whose fixed header has been checked.
    pub(super) fn take_control(&mut self, header: FixedHeader, body: &[u8]) -> Result<(), End> {
        let (version, peer) = (self.peer.version, self.peer);
        let fits = match header.packet_type() {
            // Acknowledgements of what this listener never sent: nothing to do for PUBACK and PUBCOMP.
            4 => read_ack(body, version, Ack::Received).map(|_| true),
            5 => read_ack(body, version, Ack::Received).map(|(id, code)| {
                // A refusal ends the handshake: no PUBREL (MQTT-4.3.3-4).
                code >= 0x80 || peer.acknowledge(self.output.bytes(), PUBREL, id, code::ID_NOT_FOUND, "")
            }),
            6 => read_ack(body, version, Ack::Released).map(|(id, _)| self.release(id)),
            7 => read_ack(body, version, Ack::Released).map(|_| true),
            8 => Filters::read(body, Kind::Subscribe, version)
                .map(|filters| peer.suback(self.output.bytes(), filters.packet_id, filters.count)),
            10 => Filters::read(body, Kind::Unsubscribe, version)
                .map(|filters| peer.unsuback(self.output.bytes(), filters.packet_id, filters.count)),
            14 => {
                return Err(read_disconnect(body, self.session_kept).map_or_else(End::Fault, |will| End::Left { will }));
            }
            _ => {
                self.output.bytes().extend_from_slice(&PINGRESP);
                Ok(true)
            }
        };
        match fits {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(End::Fault(Fault::new(code::IMPLEMENTATION, "the client takes no packet as large as the answer")))
            }
            Err(fault) => Err(End::Fault(fault)),
        }
    }

    /// PUBREL: the end of a QoS 2 message, or of nothing.
    fn release(&mut self, id: NonZeroU16) -> bool {
        let known = self.received.release(id);
        self.unacked -= usize::from(known);
        let code = if known { code::SUCCESS } else { code::ID_NOT_FOUND };
        self.peer.acknowledge(self.output.bytes(), PUBCOMP, id, code, "")
    }
}

/// Which reason codes an acknowledgement may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    /// PUBACK, PUBREC (tables 3-4 and 3-5).
    Received,
    /// PUBREL, PUBCOMP (tables 3-6 and 3-7).
    Released,
}

impl Ack {
    fn may_say(self, code: u8) -> bool {
        match self {
            Ack::Received => matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99),
            Ack::Released => matches!(code, 0 | 0x92),
        }
    }
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP: the packet identifier, and on MQTT 5 perhaps a reason code and properties.
fn read_ack(body: &[u8], version: Version, ack: Ack) -> Result<(NonZeroU16, u8), Fault> {
    let mut fields = Fields::new(body);
    let id = fields.packet_id()?;
    let mut code = code::SUCCESS;
    if version == Version::V5 && !fields.is_empty() {
        code = fields.u8()?;
        if !ack.may_say(code) {
            return Err(Fault::protocol(format!("the reason 0x{code:02x} is none of this acknowledgement")));
        }
        if !fields.is_empty() {
            let mut properties = fields.properties()?;
            while let Some(property) = properties.next_id()? {
                read_reason_property(property, &mut properties, "an acknowledgement")?;
            }
        }
    }
    fields.end()?;
    Ok((id, code))
}

/// DISCONNECT: whether the will is to be sent (MQTT 5 section 3.14; the will goes with 0x00 only).
fn read_disconnect(body: &[u8], session_kept: bool) -> Result<bool, Fault> {
    let mut fields = Fields::new(body);
    if fields.is_empty() {
        return Ok(false);
    }
    let reason = fields.u8()?;
    if !matches!(reason, code::SUCCESS | code::WITH_WILL | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
        return Err(Fault::protocol(format!("the reason 0x{reason:02x} is none of a client's DISCONNECT")));
    }
    if !fields.is_empty() {
        let mut properties = fields.properties()?;
        while let Some(id) = properties.next_id()? {
            if id == property::SESSION_EXPIRY {
                if properties.fields.u32()? > 0 && !session_kept {
                    return Err(Fault::protocol("a session that was to end is to be kept now"));
                }
            } else {
                read_reason_property(id, &mut properties, "DISCONNECT")?;
            }
        }
    }
    fields.end()?;
    Ok(reason != code::SUCCESS)
}

fn read_reason_property(id: u8, properties: &mut Properties<'_>, packet: &str) -> Result<(), Fault> {
    match id {
        property::REASON => properties.fields.string().map(|_| ()),
        property::USER => {
            properties.fields.string()?;
            properties.fields.string().map(|_| ())
        }
        id => Err(Properties::misplaced(id, packet)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disconnect_table() {
        let read = |body: &[u8]| read_disconnect(body, false).map_err(|fault| fault.code);
        assert_eq!(read(b""), Ok(false));
        assert_eq!(read(b"\x00"), Ok(false));
        assert_eq!(read(b"\x04\x00"), Ok(true));
        assert_eq!(read(b"\x81"), Ok(true));
        assert_eq!(read(b"\x8b"), Err(0x82), "only a server shuts down");
        assert_eq!(read(b"\x00\x05\x11\0\0\0\x01"), Err(0x82));
        assert_eq!(read(b"\x00\x05\x11\0\0\0\0"), Ok(false));
        assert_eq!(read(b"\x00\x00\x00"), Err(0x81));
        assert_eq!(read_disconnect(b"\x00\x05\x11\0\0\0\x01", true), Ok(false));
    }

    #[test]
    fn acknowledgements_table() {
        let read = |body: &[u8], version, ack| match read_ack(body, version, ack) {
            Ok((id, code)) => Ok((id.get(), code)),
            Err(fault) => Err(fault.code),
        };
        assert_eq!(read(b"\0\x07", Version::V311, Ack::Received), Ok((7, 0)));
        assert_eq!(read(b"\0\0", Version::V311, Ack::Received), Err(0x82));
        assert_eq!(read(b"\0\x07\0", Version::V311, Ack::Received), Err(0x81));
        assert_eq!(read(b"\0\x07\x80\x04\x1f\0\x01a", Version::V5, Ack::Received), Ok((7, 0x80)));
        assert_eq!(read(b"\0\x07\x92", Version::V5, Ack::Released), Ok((7, 0x92)));
        assert_eq!(read(b"\0\x07\x80", Version::V5, Ack::Released), Err(0x82));
        assert_eq!(read(b"\0\x07\x92", Version::V5, Ack::Received), Err(0x82));
        assert_eq!(read(b"\0\x07\0\x02\x01\0", Version::V5, Ack::Received), Err(0x81));
    }
}
