//! From the input to the line: packets one after another, each checked by its fixed header before it is read.
//!
//! A PUBLISH needs room for its announced size before its payload is read. Without room the link waits for it with empty
//! hands only; while messages of this connection wait to be handed over it just stops reading.
use super::{
    answer::{Answer, answer},
    fault::{Fault, code},
    fields::{Fields, FixedHeader, Properties, Version, property},
    link::{End, Id, Link, Next},
    message,
    publish::{Flags, Limits, Publish},
    settings::Overload,
    stream::{CHUNK, Stream},
    subscribe::{Filters, Kind},
    write::PINGRESP,
};
use crate::{Room, intake::ROOM_MIN};
use bytes::{Buf, Bytes, BytesMut};
use schemas::{Refusal, Word};
use std::num::NonZeroU16;

/// Largest control packet that is no PUBLISH: no client needs more, and no room is reserved for it.
const CONTROL_MAX: usize = 64 * 1024;
/// Payloads below this size are copied, so that a held message does not hold the input's whole buffer.
const COPY_BELOW: usize = 4 * 1024;

/// What the line says about one more PUBLISH.
enum Space {
    Granted,
    Stop,
    Drop,
}

impl<S: Stream> Link<S> {
    /// Takes all complete packets; then says how many bytes the next one needs in all, or `None` to stop reading.
    pub(super) fn take_packets(&mut self) -> Result<Option<usize>, End> {
        let mut input = std::mem::take(&mut self.input);
        let taken = self.take_from(&mut input);
        self.input = input;
        taken
    }

    fn take_from(&mut self, input: &mut BytesMut) -> Result<Option<usize>, End> {
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(input.len());
                input.advance(skipped);
                self.skip -= skipped;
                if self.skip > 0 {
                    return Ok(Some(CHUNK));
                }
            }
            let Some(header) = FixedHeader::read(input).map_err(End::Fault)? else { return Ok(Some(CHUNK)) };
            self.check(header)?;
            if header.packet_type() == 3 {
                match self.space(header)? {
                    Space::Granted => {}
                    Space::Stop => return Ok(None),
                    Space::Drop => {
                        self.skip = header.total();
                        continue;
                    }
                }
            }
            if input.len() < header.total() {
                return Ok(Some(header.total()));
            }
            self.last_packet = self.now;
            if header.packet_type() == 3 {
                self.take_publish(header, input).map_err(End::Fault)?;
            } else {
                self.take_control(header, &input[header.size..header.total()])?;
                input.advance(header.total());
            }
        }
    }

    /// What the fixed header alone can show.
    fn check(&self, header: FixedHeader) -> Result<(), End> {
        let flags = header.first & 0x0f;
        let fault = match header.packet_type() {
            1 => Some(Fault::protocol("a second CONNECT")),
            2 | 9 | 11 | 13 => Some(Fault::protocol("a packet that only servers send")),
            3 => Flags::read(header.first, self.peer.version).err(),
            4 | 5 | 7 | 12 | 14 if flags != 0 => Some(Fault::malformed("reserved flags of the fixed header are wrong")),
            6 | 8 | 10 if flags != 2 => Some(Fault::malformed("reserved flags of the fixed header are wrong")),
            12 if header.remaining != 0 => Some(Fault::malformed("PINGREQ has no content")),
            14 if header.remaining != 0 && self.peer.version == Version::V311 => {
                Some(Fault::malformed("DISCONNECT has no content"))
            }
            4..=8 | 10 | 12 | 14 => None,
            15 if self.peer.version == Version::V5 => {
                Some(Fault::new(code::AUTH_METHOD, "no enhanced authentication is served"))
            }
            _ => Some(Fault::malformed("a packet type that does not exist")),
        };
        if let Some(fault) = fault {
            return Err(End::Fault(fault));
        }
        let own = if header.packet_type() == 3 { usize::MAX } else { CONTROL_MAX };
        let max = self.settings.max_packet.min(own);
        if header.total() > max {
            let detail = format!("a packet of {} bytes, at most {max} are taken", header.total());
            return Err(End::Fault(Fault::new(code::TOO_LARGE, detail)));
        }
        Ok(())
    }

    fn space(&mut self, header: FixedHeader) -> Result<Space, End> {
        if self.granted.is_some() {
            return Ok(Space::Granted);
        }
        let acknowledged = header.first & 0b110 != 0;
        let max = usize::from(self.settings.max_inflight.max(1));
        if acknowledged && self.peer.version == Version::V5 && self.unacked >= max {
            let fault = Fault::new(code::RECEIVE_MAX, format!("more than {max} messages without a PUBACK"));
            return Err(End::Fault(fault));
        }
        let behind = !self.queue.is_empty() || self.submitting.is_some();
        let line = self.queue.len() + usize::from(self.submitting.is_some()) + self.answers.len();
        // On MQTT 5 QoS 0 messages come beside a full window, and reading on shows who breaks it.
        let line_max = if self.peer.version == Version::V5 { 2 * max } else { max };
        if line >= line_max || (behind && self.queue_bytes + header.remaining > self.settings.behind_max) {
            return Ok(Space::Stop);
        }
        self.take_room(header.remaining, acknowledged, behind)
    }

    fn take_room(&mut self, bytes: usize, acknowledged: bool, behind: bool) -> Result<Space, End> {
        if self.gate.is_stopping() {
            // What was handed over is still answered.
            return Err(End::Stopping);
        }
        let needed = bytes.max(ROOM_MIN);
        if !self.share.can_ever_take(needed) {
            return Err(
                self.refused(&Refusal::new(Word::TooLarge, "larger than one sender's share of the byte budget"))
            );
        }
        if let Some(room) = self.share.try_take(needed) {
            self.granted = Some(room);
            return Ok(Space::Granted);
        }
        match self.settings.overload {
            Overload::Hold(_) => {
                if !behind {
                    self.room_wanted = Some(bytes);
                }
                Ok(Space::Stop)
            }
            Overload::Refuse if acknowledged => {
                Err(self.refused(&Refusal::new(Word::Overloaded, "the byte budget has no room")))
            }
            Overload::Refuse => {
                self.gate.refused(Word::Overloaded);
                Ok(Space::Drop)
            }
        }
    }

    /// The end that a refusal by the link itself means.
    pub(super) fn refused(&self, refusal: &Refusal) -> End {
        self.gate.refused(refusal.word);
        match answer(&refusal.clone().into(), self.peer.version) {
            // Words of the link itself are never about one message alone.
            Answer::Ack(..) => End::Refused(Answer::Close),
            other @ (Answer::Disconnect(..) | Answer::Close) => End::Refused(other),
        }
    }

    fn take_publish(&mut self, header: FixedHeader, input: &mut BytesMut) -> Result<(), Fault> {
        let room = self.granted.take().unwrap_or_default();
        if header.remaining < COPY_BELOW {
            let whole = &input[header.size..header.total()];
            self.line_up(header, whole, room, Bytes::copy_from_slice)?;
            input.advance(header.total());
            return Ok(());
        }
        let whole = input.split_to(header.total()).freeze();
        let body = whole.slice(header.size..);
        self.line_up(header, &body, room, |payload| body.slice_ref(payload))
    }

    fn line_up(
        &mut self,
        header: FixedHeader,
        body: &[u8],
        room: Room,
        share: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<(), Fault> {
        let version = self.peer.version;
        let settings = &self.settings;
        let limits = Limits {
            topic: settings.topic_max,
            alias: settings.topic_alias_max,
            user_properties: settings.user_properties_max,
        };
        let publish = Publish::read(body, Flags::read(header.first, version)?, version, limits)?;
        let topic = self.topics.resolve(publish.topic, publish.alias)?;
        let id: Id = publish.packet_id.and_then(NonZeroU16::new);
        let work = message::of_publish(&publish, topic, share(publish.payload), version, settings);
        if let Err(refusal) = &work {
            self.gate.refused(refusal.word);
        }
        let bytes = header.remaining;
        self.unacked += usize::from(id.is_some());
        self.queue_bytes += bytes;
        self.queue.push_back(Next { id, work: work.map(|message| (message, room)), bytes });
        Ok(())
    }

    fn take_control(&mut self, header: FixedHeader, body: &[u8]) -> Result<(), End> {
        let (version, peer) = (self.peer.version, self.peer);
        let out = self.output.bytes();
        let fits = match header.packet_type() {
            // Acknowledgements of what this listener never sent: nothing to do for PUBACK and PUBCOMP.
            4 | 7 => read_ack(body, version).map(|_| true),
            5 => read_ack(body, version).map(|id| peer.not_found(out, 0x62, id)),
            6 => read_ack(body, version).map(|id| peer.not_found(out, 0x70, id)),
            8 => Filters::read(body, Kind::Subscribe, version)
                .map(|filters| peer.suback(out, filters.packet_id, filters.count)),
            10 => Filters::read(body, Kind::Unsubscribe, version)
                .map(|filters| peer.unsuback(out, filters.packet_id, filters.count)),
            14 => {
                return Err(read_disconnect(body, self.session_kept).map_or_else(End::Fault, |will| End::Left { will }));
            }
            _ => {
                out.extend_from_slice(&PINGRESP);
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
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP: the packet identifier, and on MQTT 5 perhaps a reason code and properties.
fn read_ack(body: &[u8], version: Version) -> Result<u16, Fault> {
    let mut fields = Fields::new(body);
    let id = fields.packet_id()?;
    if version == Version::V5 && !fields.is_empty() {
        fields.u8()?;
        if !fields.is_empty() {
            let mut properties = fields.properties()?;
            while let Some(property) = properties.next_id()? {
                read_reason_property(property, &mut properties, "an acknowledgement")?;
            }
        }
    }
    fields.end()?;
    Ok(id)
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
        assert_eq!(read_ack(b"\0\x07", Version::V311), Ok(7));
        assert!(read_ack(b"\0\0", Version::V311).is_err());
        assert!(read_ack(b"\0\x07\0", Version::V311).is_err());
        assert_eq!(read_ack(b"\0\x07\0\x04\x1f\0\x01a", Version::V5), Ok(7));
        assert!(read_ack(b"\0\x07\0\x02\x01\0", Version::V5).is_err());
    }
}
