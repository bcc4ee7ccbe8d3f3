//! The journal record body: what is written reads back, versions, and no panic on any bytes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use bytes::Bytes;
use proptest::prelude::*;
use schemas::{
    Event, Record, RecordError,
    record::{
        DETAIL_BYTES_MAX, VERSION, decode, decode_event, encode_head, encode_head_with_id, encode_letter_head, id_of,
    },
};

fn body_of(event: &Event) -> Vec<u8> {
    let mut body = Vec::new();
    encode_head(&mut body, event);
    body.extend_from_slice(event.envelope.data());
    body
}

fn letter_body() -> Vec<u8> {
    let letter = common::letter();
    let mut body = Vec::new();
    encode_letter_head(&mut body, &letter);
    body.extend_from_slice(&letter.payload);
    body
}

/// The body with a section put in before the others.
fn with_section(tag: u8, value: &[u8]) -> Bytes {
    let mut body = body_of(&common::event());
    let section = [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
    body.splice(4..4, section);
    body.into()
}

#[test]
fn events_read_back() {
    for event in [common::event(), common::dead()] {
        let body = Bytes::from(body_of(&event));
        let again = decode_event(&body, event.lsn).unwrap();
        assert_eq!(format!("{again:?}"), format!("{event:?}"));
        assert_eq!(again.envelope, event.envelope);
        assert!(body.as_ptr_range().contains(&again.envelope.data().as_ptr()), "data is a slice of the body");
    }
}

#[test]
fn an_event_without_data_route_headers_or_door_reads_back() {
    let mut event = common::event();
    event.envelope = event.envelope.edit().freeze(Bytes::new()).unwrap();
    event.route = Default::default();
    event.headers = Default::default();
    event.door = Default::default();
    let again = decode_event(&body_of(&event).into(), event.lsn).unwrap();
    assert_eq!(format!("{again:?}"), format!("{event:?}"));
}

#[test]
fn an_id_is_found_without_reading_the_rest_and_changes_nothing_else() {
    let event = common::event();
    let mut body = Vec::new();
    encode_head_with_id(&mut body, &event, Some(b"0123456789abcdef"));
    body.extend_from_slice(event.envelope.data());
    assert_eq!(id_of(&body), Some((*b"0123456789abcdef", event.received)));
    assert_eq!(format!("{:?}", decode_event(&body.clone().into(), event.lsn).unwrap()), format!("{event:?}"));
    assert_eq!(id_of(&body_of(&event)), None);
    assert!((0..body.len()).all(|end| id_of(&body[..end]).is_none_or(|(id, _)| id == *b"0123456789abcdef")));
}

#[test]
fn a_long_detail_is_cut_between_characters() {
    let mut event = common::dead();
    let death = event.death.as_mut().unwrap();
    death.detail = format!("x{}", "é".repeat(DETAIL_BYTES_MAX)).into();
    let again = decode_event(&body_of(&event).into(), 1).unwrap();
    assert_eq!(again.death.unwrap().detail.len(), DETAIL_BYTES_MAX - 1);
}

#[test]
fn an_edited_envelope_leaves_nothing_of_what_was_replaced() {
    let mut event = common::event();
    let mut attributes = event.envelope.edit();
    attributes.set("partitionkey", "new", schemas::Kind::String).unwrap();
    attributes.remove("urgent");
    event.envelope = attributes.freeze(Bytes::new()).unwrap();
    let body = body_of(&event);
    assert!(!String::from_utf8_lossy(&body).contains("urgent"));
    let again = decode_event(&body.into(), 42).unwrap();
    assert_eq!(again.envelope, event.envelope);
    assert_eq!(&*again.key, "tür-3", "the key was decided before");
}

#[test]
fn door_letters_read_back_and_re_enter_at_decode() {
    let letter = common::letter();
    let Record::Letter(again) = decode(&letter_body().into(), 78).unwrap() else { panic!("a letter") };
    assert_eq!(again.attributes.get("type"), Some("from.path"));
    assert_eq!(again.death, letter.death);
    assert!(matches!(decode_event(&letter_body().into(), 78), Err(RecordError::Corrupt { offset: 2, .. })));
    let message = again.into_message();
    assert_eq!(message.payload, letter.payload);
    assert_eq!((message.content_type, message.mode, message.dedupe_id), (letter.content_type, letter.mode, None));
    assert_eq!((message.subject, message.trace), (letter.door.subject, Some(letter.trace)));
    assert_eq!(message.tracestate, letter.tracestate);
    assert!(!message.attributes.is_event());
}

#[test]
fn unknown_skippable_sections_are_passed_over() {
    let again = decode_event(&with_section(0x80 | 99, b"from a later version"), 42).unwrap();
    assert_eq!(format!("{again:?}"), format!("{:?}", common::event()));
}

#[test]
fn unknown_sections_that_must_be_understood_are_refused() {
    let error = decode(&with_section(99, b"x"), 42).unwrap_err();
    assert_eq!(error, RecordError::UnknownSection { tag: 99, offset: 4 });
    assert!(error.to_string().contains("section 99 at byte 4"), "{error}");
}

#[test]
fn min_reader_above_our_own_is_refused_and_a_newer_writer_is_not() {
    let mut body = body_of(&common::event());
    body[0] = VERSION + 1;
    assert!(decode(&body.clone().into(), 42).is_ok(), "a newer writer whose records we can read");
    body[1] = VERSION + 1;
    let error = decode(&body.into(), 42).unwrap_err();
    assert_eq!(error, RecordError::TooNew { min_reader: VERSION + 1 });
    assert!(error.to_string().contains("newer Anygate"), "{error}");
}

#[test]
fn what_a_later_version_appends_to_a_section_is_passed_over() {
    let mut body = body_of(&common::event());
    // The first section is `place`: make it longer.
    let len = usize::from(body[5]);
    body[5] += 3;
    body.splice(6 + len..6 + len, *b"new");
    assert!(decode(&body.into(), 42).is_ok());
}

#[test]
fn damage_is_named() {
    let body = body_of(&common::event());
    for (what, damaged) in [
        ("empty", Vec::new()),
        ("cut", body[..body.len() - 1].to_vec()),
        ("longer", [&body[..], b"x"].concat()),
        ("kind", [&body[..2], &[9], &body[3..]].concat()),
        ("envelope version", [&body[..3], &[9], &body[4..]].concat()),
        ("tag 0", with_section(0, b"x").to_vec()),
        ("twice", with_section(1, &[0; 42]).to_vec()),
    ] {
        assert!(matches!(decode(&damaged.into(), 42), Err(RecordError::Corrupt { .. })), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn mutated_bytes_never_panic(
        which in 0..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = match which {
            0 => body_of(&common::event()),
            1 => body_of(&common::dead()),
            _ => letter_body(),
        };
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            let cut = cut.index(body.len());
            body.truncate(cut);
        }
        if let Ok(record) = decode(&body.into(), 1) {
            // Whatever was read must be usable.
            let mut out = Vec::new();
            schemas::record::write_record(&mut out, &record);
            schemas::record::write_dead_letter(&mut out, &record, None, true);
            if let Record::Event(event) = record {
                encode_head(&mut out, &event);
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes.into(), 1);
    }

    #[test]
    fn any_event_reads_back(
        extensions in proptest::collection::btree_map("x[a-z0-9]{1,8}", ".{1,200}", 0..20),
        key in ".{0,20}",
        data in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut event = common::event();
        let mut attributes = event.envelope.edit();
        for (name, value) in &extensions {
            attributes.set(name, value, schemas::Kind::String).unwrap();
        }
        event.envelope = attributes.freeze(data.into()).unwrap();
        event.key = key.into();
        let again = decode_event(&body_of(&event).into(), 42).unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{event:?}"));
        prop_assert_eq!(again.envelope, event.envelope);
    }
}
