//! Limits that depend on one another or on a protocol.

use settings::{ByteSize, Node, Period, codes};
use transports::net::config::Overload;

use super::Found;
use crate::config::draft::Draft;
use crate::config::model::{Listener, Node as Process};

/// The largest packet that MQTT can write.
const MQTT_PACKET: ByteSize = ByteSize::new(268_435_455);
/// The longest keep-alive that MQTT can write.
const MQTT_KEEP_ALIVE: Period = Period::secs(65_535);

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    journal(draft, found);
    for piece in &draft.listeners {
        let Some((listener, inner)) = piece.value.as_ref().zip(piece.inner()) else { continue };
        let (key, size, most) = match listener {
            Listener::Http(http) => ("max_body", http.max_body, ByteSize::gib(1)),
            Listener::Mqtt(mqtt) => ("max_packet", mqtt.max_packet, MQTT_PACKET),
        };
        let at = inner.get(key).map_or(piece.key_span, |node| node.span);
        let segment = draft.journal.as_ref().map(|journal| journal.segment_size);
        if size.bytes() == 0 || size > most {
            let fault = found.error(at, codes::RANGE, format!("{key}: {size} is out of range"));
            found.push(fault.label(format!("from 1B to {most}")));
        } else if let Some(segment) = segment.filter(|segment| size.bytes().saturating_mul(2) > segment.bytes()) {
            let fault = found.error(at, codes::RANGE, format!("{key}: {size} does not fit into a journal file"));
            found.push(fault.label(format!("at most half of journal.segment_size, which is {segment}")));
        } else if let Some(Process { room, .. }) = draft.node.as_ref().filter(|node| node.room < size) {
            let fault = found.error(at, codes::RANGE, format!("{key}: {size} is more than the memory for all messages"));
            found.push(fault.label(format!("node.room is {room}")));
        }
        protocol(listener, inner, found);
    }
}

fn protocol(listener: &Listener, inner: &Node, found: &mut Found<'_>) {
    match listener {
        Listener::Http(http) => {
            if let (Some(Overload::Hold(_)), Some(at)) = (http.common.overload, inner.get("overload")) {
                let fault = found.error(at.span, codes::VALUE, "an HTTP listener does not hold messages");
                found.push(fault.label("it answers 503 with Retry-After").help("remove overload, or write overload: refuse"));
            }
        }
        Listener::Mqtt(mqtt) => {
            if let Some(at) = inner.get("keep_alive_max").filter(|_| mqtt.keep_alive_max > MQTT_KEEP_ALIVE) {
                let fault = found.error(at.span, codes::RANGE, format!("keep_alive_max: {} is too long", mqtt.keep_alive_max));
                found.push(fault.label("at most 65535s: MQTT writes it in 16 bits"));
            }
        }
    }
}

fn journal(draft: &Draft<'_>, found: &mut Found<'_>) {
    let node = draft.tree.root.get("journal").and_then(|node| node.get("segment_size"));
    let Some((journal, at)) = draft.journal.as_ref().zip(node) else { return };
    if journal.segment_size < ByteSize::mib(1) || journal.segment_size > ByteSize::gib(1) {
        let fault = found.error(at.span, codes::RANGE, format!("segment_size: {} is out of range", journal.segment_size));
        found.push(fault.label("from 1MiB to 1GiB"));
    }
}
