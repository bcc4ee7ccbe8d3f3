//! From the input to the line: packets one after another, each checked by its fixed header before it is read.
//!
//! A PUBLISH needs room for its announced size before its payload is read. Without room the link waits for it with empty
//! hands only; while messages of this connection wait to be handed over it just stops reading.
use super::{
    answer::{Answer, answer},
    end::End,
    fault::{Fault, code},
    fields::{FixedHeader, Version},
    line::{Due, Next, Reply},
    link::Link,
    message,
    publish::{Limits, Publish, Qos, TopicFault, check_topic},
    settings::Overload,
    stream::{CHUNK, Stream},
};
use crate::{Room, intake::ROOM_MIN};
use bytes::{Buf, Bytes, BytesMut};
use schemas::{Refusal, Word};

/// Largest control packet that is no PUBLISH: no client needs more, and no room is reserved for it.
const CONTROL_MAX: usize = 64 * 1024;
/// Payloads below this size are copied, so that a held message does not hold the input's whole buffer.
const COPY_BELOW: usize = 4 * 1024;

/// Most QoS 2 messages without PUBREL of a 3.1.1 client, which knows no Receive Maximum.
const RECEIVED_MAX: usize = 1024;

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
            // The first byte alone can be wrong, whatever follows.
            let Some(&first) = input.first() else { return Ok(Some(CHUNK)) };
            self.check_first(first).map_err(End::Fault)?;
            let Some(header) = FixedHeader::read(input).map_err(End::Fault)? else { return Ok(Some(CHUNK)) };
            self.check_size(header).map_err(End::Fault)?;
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

    /// What type and flags alone can show.
    fn check_first(&self, first: u8) -> Result<(), Fault> {
        let (version, flags) = (self.peer.version, first & 0x0f);
        match first >> 4 {
            3 => Qos::read(first, version).map(|_| ()),
            4 | 5 | 7 | 12 | 14 if flags == 0 => Ok(()),
            6 | 8 | 10 if flags == 2 => Ok(()),
            4..=8 | 10 | 12 | 14 => Err(Fault::malformed("reserved flags of the fixed header are wrong")),
            1 => Err(Fault::protocol("a second CONNECT")),
            2 | 9 | 11 | 13 => Err(Fault::protocol("a packet that only servers send")),
            // No CONNECT with an authentication method is taken (MQTT-4.12.0-7).
            15 if version == Version::V5 => Err(Fault::protocol("AUTH without an authentication method in CONNECT")),
            _ => Err(Fault::malformed("a packet type that does not exist")),
        }
    }

    /// What the announced size shows.
    fn check_size(&self, header: FixedHeader) -> Result<(), Fault> {
        match header.packet_type() {
            12 if header.remaining != 0 => return Err(Fault::malformed("PINGREQ has no content")),
            14 if header.remaining != 0 && self.peer.version == Version::V311 => {
                return Err(Fault::malformed("DISCONNECT has no content"));
            }
            _ => {}
        }
        let own = if header.packet_type() == 3 { usize::MAX } else { CONTROL_MAX };
        let max = self.settings.max_packet.min(own);
        if header.total() > max {
            let detail = format!("a packet of {} bytes, at most {max} are taken", header.total());
            return Err(Fault::new(code::TOO_LARGE, detail));
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
            let fault = Fault::new(code::RECEIVE_MAX, format!("more than {max} messages without an acknowledgement"));
            return Err(End::Fault(fault));
        }
        if self.received.len() >= max.max(RECEIVED_MAX) {
            return Err(End::Fault(Fault::new(code::QUOTA, "too many QoS 2 messages without PUBREL")));
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
        let holds = matches!(self.settings.overload, Overload::Hold(_));
        // Behind a held message it waits as that one does, and all that wait have their part of the budget. Asked first: room
        // that is taken and given back wakes all who wait for some.
        let waits = holds && self.submitting.is_some();
        if waits && !(self.line_up_all() && self.share.fits_behind(needed)) {
            return Ok(Space::Stop);
        }
        let room = if holds { self.share.try_read(needed) } else { self.share.try_take(needed) };
        if let Some(mut room) = room {
            if waits && !room.line_up() {
                return Ok(Space::Stop);
            }
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

    /// Counts the messages that stand in the line since before their head was held among what waits.
    fn line_up_all(&mut self) -> bool {
        let waiting = self.queue.iter_mut().filter_map(|next| next.work.as_mut().ok());
        waiting.map(|(_, room)| room.line_up()).fold(true, |all, fits| all & fits)
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
        let limits = Limits { alias: settings.topic_alias_max, user_properties: settings.user_properties_max };
        let qos = Qos::read(header.first, version)?;
        let publish = Publish::read(body, qos, version, limits)?;
        let checked = check_topic(publish.topic, settings.topic_max);
        let mut due = Due { reply: Reply::Nothing, topic: matches!(checked, Err(TopicFault::Long(..))) };
        let mut again = false;
        if let Some(id) = publish.packet_id {
            again = qos == Qos::ExactlyOnce && !self.received.publish(id);
            due.reply = match qos {
                Qos::ExactlyOnce if again => Reply::PubrecAgain(id),
                Qos::ExactlyOnce => Reply::Pubrec(id),
                Qos::AtMostOnce | Qos::AtLeastOnce => Reply::Puback(id),
            };
        }
        let work = match checked {
            Ok(()) => {
                let topic = self.topics.resolve(publish.topic, publish.alias)?;
                if again {
                    Err(Refusal::new(Word::Duplicate, "the same QoS 2 message"))
                } else {
                    message::of_publish(&publish, topic, share(publish.payload), version, settings)
                }
            }
            Err(TopicFault::Reserved) => Err(Refusal::new(Word::Forbidden, TopicFault::Reserved.detail())),
            Err(long) => Err(Refusal::new(Word::Malformed, long.detail())),
        };
        if let Err(refusal) = &work
            && !again
        {
            self.gate.refused(refusal.word);
        }
        let bytes = header.remaining;
        self.unacked += usize::from(due.reply != Reply::Nothing && !again);
        self.queue_bytes += bytes;
        self.queue.push_back(Next { due, work: work.map(|message| (message, room)), bytes });
        Ok(())
    }
}
