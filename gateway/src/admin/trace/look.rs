//! What the journal and the embedded stores know of a trace or an event. Blocks on the disk.
use super::{FOUND_MAX, JournalTrace, StoreTrace, Traced, split, wanted};
use crate::admin::{Api, fault::ApiFault, letters::Letter, rfc3339};
use backends::store::{Filter, StoreReader};
use bytes::Bytes;
use journal::LaneId;
use schemas::{Record, record};

/// Bytes read from the journal at a time.
const READ_BYTES: usize = 256 * 1024;

/// Looks in the journal and the stores. Blocks.
pub(super) fn look(api: &Api, query: String) -> Result<Traced, ApiFault> {
    let mut traced = Traced { query, ..Traced::default() };
    if let Err(error) = look_in_journal(api, &mut traced) {
        traced.notes.push(format!("the journal cannot be read: {error}"));
    }
    for (backend, path) in &crate::admin::stores::paths(&api.live.now().config) {
        let hex = traced.query.len() == 32 && traced.query.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex && traced.query.len() < 32 && traced.query.bytes().all(|b| b.is_ascii_hexdigit()) {
            traced.notes.push(format!(
                "store {backend}: looked for as an event id only; a trace id is looked for by all its 32 digits"
            ));
        }
        let filter = Filter {
            trace_id: hex.then(|| traced.query.clone()),
            event_id: (!hex).then(|| traced.query.clone()),
            limit: Some(FOUND_MAX),
            ..Filter::default()
        };
        let stores = &mut traced.stores;
        let mut each = |event: schemas::Event| {
            stores.push(StoreTrace {
                backend: backend.clone(),
                id: event.envelope.id().to_owned(),
                event_type: event.envelope.event_type().to_owned(),
                trace_id: event.trace.trace_id_hex(),
                received: rfc3339(event.received),
                listener: event.door.listener.to_string(),
                route: event.route.to_string(),
                lsn: event.lsn,
            });
        };
        if let Err(fault) = StoreReader::open(path).and_then(|store| store.query(&filter, &mut each)) {
            traced.notes.push(format!("store {backend}: {fault}"));
        }
    }
    Ok(traced)
}

fn look_in_journal(api: &Api, traced: &mut Traced) -> std::io::Result<()> {
    let mut scan = api.shared.journal.scan(None);
    while traced.journal.len() < FOUND_MAX {
        let entries = scan.read(READ_BYTES)?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            let body = Bytes::copy_from_slice(&entry.body);
            let Ok(found) = record::decode(&body, entry.lsn.get()) else { continue };
            let (trace, id, event_type, received) = match &found {
                Record::Event(event) => (
                    event.trace,
                    Some(event.envelope.id().to_owned()),
                    Some(event.envelope.event_type().to_owned()),
                    event.received,
                ),
                Record::Letter(letter) => {
                    let text = |name| letter.attributes.get(name).map(str::to_owned);
                    (letter.trace, text("id"), text("type"), letter.received)
                }
            };
            if !wanted(&traced.query, &trace, id.as_deref()) {
                continue;
            }
            let (delivered_to, waits_for) = split(api, entry.lanes, entry.lsn);
            let open = entry.lanes & 1 == 1 && !api.shared.journal.is_done(LaneId::DEAD_LETTERS, entry.lsn);
            let letter = Letter { lsn: entry.lsn.get(), record: Ok(found) };
            let dead_letter =
                open.then(|| letter.death().map(|death| format!("{}: {}", death.word, death.detail))).flatten();
            let trace_id = trace.trace_id_hex();
            let received = rfc3339(received);
            traced.journal.push(JournalTrace {
                lsn: letter.lsn,
                id,
                event_type,
                trace_id,
                received,
                delivered_to,
                waits_for,
                dead_letter,
            });
        }
    }
    Ok(())
}
