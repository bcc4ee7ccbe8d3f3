//! Limits that depend on one another or on a protocol.

use std::ops::RangeInclusive;

use schemas::headers::NEVER_KEPT;
use settings::{ByteSize, Node, codes};
use transports::net::config::Overload;

use super::Found;
use crate::config::draft::Draft;
use crate::config::model::{Journal, Listener, Node as Process};

/// The sizes that a file of the journal may have.
const SEGMENT: RangeInclusive<ByteSize> = ByteSize::mib(1)..=ByteSize::gib(1);

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    journal(draft, found);
    // What is wrong with the journal itself is said once.
    let enough = |journal: &&Journal| {
        SEGMENT.contains(&journal.segment_size) && journal.memory.is_none_or(|memory| memory >= Journal::MEMORY_MIN)
    };
    for piece in &draft.listeners {
        let Some((listener, inner)) = piece.value.as_ref().zip(piece.inner()) else { continue };
        let (key, size, most) = listener.plugin().max_message();
        let at = inner.get(key).map_or(piece.key_span, |node| node.span);
        let segment =
            draft.journal.as_ref().filter(enough).map(|journal| journal.ring().0).filter(|size| SEGMENT.contains(size));
        if size.bytes() == 0 || size > most {
            let fault = found.error(at, codes::RANGE, format!("{key}: {size} is out of range"));
            found.push(fault.label(format!("from 1B to {most}")));
        } else if let Some(segment) = segment.filter(|segment| size.bytes().saturating_mul(2) > segment.bytes()) {
            let fault = found.error(at, codes::RANGE, format!("{key}: {size} does not fit into a journal file"));
            let of = match draft.journal.as_ref().and_then(|journal| journal.memory) {
                Some(memory) => format!("a sixteenth of journal.memory ({memory})"),
                None => "journal.segment_size".to_owned(),
            };
            found.push(fault.label(format!("at most half of {of}, which is {segment}")));
        } else if let Some(Process { room, .. }) = draft.node.as_ref().filter(|node| node.room < size) {
            let fault =
                found.error(at, codes::RANGE, format!("{key}: {size} is more than the memory for all messages"));
            found.push(fault.label(format!("node.room is {room}")));
        }
        protocol(listener, inner, found);
    }
}

/// What the protocol cannot do.
fn protocol(listener: &Listener, inner: &Node, found: &mut Found<'_>) {
    let plugin = listener.plugin();
    if let (Some(Overload::Hold(_)), Some(at), false) =
        (plugin.common().overload, inner.get("overload"), plugin.can_hold())
    {
        let fault = found.error(at.span, codes::VALUE, format!("{} listeners do not hold messages", listener.kind()));
        found.push(fault.label("they answer 503 with Retry-After").help("remove overload, or write overload: refuse"));
    }
    for problem in plugin.problems() {
        let span = inner.get(problem.key).map_or(inner.span, |node| node.span);
        let fault = found.error(span, codes::RANGE, problem.message);
        found.push(fault.label(problem.label));
    }
    headers(inner, found);
}

/// Credentials are never kept.
fn headers(inner: &Node, found: &mut Found<'_>) {
    for item in inner.get("keep_headers").map(Node::items).unwrap_or_default() {
        let Some(name) = item.text().filter(|_| !item.faulty) else { continue };
        let legal =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if NEVER_KEPT.contains(&name.to_ascii_lowercase().as_str()) {
            let fault = found.error(item.span, codes::VALUE, format!("{name} is never kept"));
            found.push(fault.label("it holds credentials, and events are stored and sent on").help("remove it"));
        } else if !legal {
            found.push(found.error(item.span, codes::VALUE, format!("\"{name}\" is no name of a header")));
        }
    }
}

fn journal(draft: &Draft<'_>, found: &mut Found<'_>) {
    let memory = draft.tree.root.get("journal").and_then(|node| node.get("memory"));
    if let Some((at, memory)) = memory.zip(draft.journal.as_ref().and_then(|journal| journal.memory))
        && memory < Journal::MEMORY_MIN
    {
        let fault = found.error(at.span, codes::RANGE, format!("memory: {memory} is too small for a journal"));
        found.push(fault.label(format!("at least {}", Journal::MEMORY_MIN)));
    }
    let node = draft.tree.root.get("journal").and_then(|node| node.get("segment_size"));
    let Some((journal, at)) = draft.journal.as_ref().zip(node) else { return };
    if !SEGMENT.contains(&journal.segment_size) {
        let fault =
            found.error(at.span, codes::RANGE, format!("segment_size: {} is out of range", journal.segment_size));
        found.push(fault.label("from 1MiB to 1GiB"));
    }
}
