//! Dead letters: events and bytes that could not go where they should. They live in lane 0 of the journal.
use crate::state::Shared;
use backends::Why;
use journal::Encoded;
use schemas::{AckLevel, Death, Event, record};
use std::sync::Arc;

/// The dead letter of an event that a backend can never take. It names that backend only.
pub fn of_lane(event: &Event, backend: &schemas::ByteStr, why: &Why, attempts: u32) -> Event {
    let death = Death {
        word: why.word,
        detail: why.detail.as_ref().into(),
        backend: backend.clone(),
        attempts,
        first_lsn: event.lsn,
    };
    Event { lanes: 1, level: AckLevel::Durable, death: Some(Box::new(death)), ..event.clone() }
}

/// Appends a dead letter; its LSN must be durable before its lane may forget the event.
///
/// # Errors
/// What the journal says; `Full` and `Busy` pass.
pub fn append(shared: &Arc<Shared>, letter: &Event) -> Result<u64, journal::Closed> {
    append_if(shared, letter, 1, |bytes| {
        // Whoever sent it has a receipt for it. Where there is no room its lane waits, with the event still in the journal.
        shared.lanes().letter_room(bytes, true).map_err(|_| journal::Closed::Full)
    })
}

/// Appends an event for exactly these lanes.
///
/// # Errors
/// What the journal says.
pub fn append_to(shared: &Arc<Shared>, event: &Event, lanes: u64) -> Result<u64, journal::Closed> {
    append_if(shared, event, lanes, |_| Ok(()))
}

/// `may` is asked with the size of the record, which is what counts in the journal.
fn append_if(
    shared: &Arc<Shared>,
    event: &Event,
    lanes: u64,
    may: impl FnOnce(usize) -> Result<(), journal::Closed>,
) -> Result<u64, journal::Closed> {
    let mut head = Vec::with_capacity(256);
    record::encode_head(&mut head, event);
    may(head.len() + event.envelope.data().len())?;
    let lsn = shared.journal.append(&[Encoded::gathered(&head, event.envelope.data(), lanes)])?;
    shared.lanes().entered(lanes);
    Ok(lsn.get())
}
