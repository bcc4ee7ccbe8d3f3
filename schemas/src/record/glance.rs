//! What stands at the beginning of a record, found without reading the rest: by what a resend is known, which the journal asks
//! each record of a sealed segment, and what a lane needs of an event that it gives to nobody.
use super::{
    HEADER_LEN, RecordKind, VERSION,
    cursor::Cursor,
    decode::{Place, read_place},
    tag,
};
use crate::TraceContext;
use std::time::{Duration, SystemTime};

/// What a resend of the event in this record is known by, and when it was received; `None` when it has no such thing. Reads no
/// more than the first two sections.
pub fn id_of(body: &[u8]) -> Option<([u8; 16], SystemTime)> {
    let mut cursor = Cursor::new(body, 0);
    let [_, min_reader, _, _] = cursor.array::<HEADER_LEN>().ok()?;
    let mut section = |wanted: u8| {
        let tag = cursor.u8().ok()?;
        let len = cursor.varint().ok()?;
        let part = cursor.part(len).ok()?;
        (tag == wanted && min_reader <= VERSION).then_some(part)
    };
    let mut place = section(tag::PLACE)?;
    let id = section(tag::ID)?.array::<16>().ok()?;
    let _lanes = place.u64().ok()?;
    let received = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(place.u64().ok()?))?;
    Some((id, received))
}

/// What stands at a fixed place in an event's record: enough to count its delivery.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// When its message was received.
    pub received: SystemTime,
    /// The gateway's own span of its message.
    pub trace: TraceContext,
}

/// Looks at an event's record without reading it. `None`: it is no event, or must be read to be known.
pub fn glance(body: &[u8]) -> Option<Glance> {
    let mut cursor = Cursor::new(body, 0);
    let [_version, min_reader, kind, _envelope] = cursor.array::<HEADER_LEN>().ok()?;
    let is_event = kind == RecordKind::Event as u8 && min_reader <= VERSION;
    if !is_event || cursor.u8().ok()? != tag::PLACE {
        return None;
    }
    let len = cursor.varint().ok()?;
    let Place { received, trace, .. } = read_place(&mut cursor.part(len).ok()?).ok()?;
    Some(Glance { received, trace })
}
