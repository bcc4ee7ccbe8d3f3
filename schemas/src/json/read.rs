//! Reading events: one pass over the text, attributes copied into their buffer, data left where it is.
use super::scan::{JsonFault, Scanner, unescape};
use crate::{
    AttributeFault, Attributes, Envelope, Kind, Word, envelope::CORE_NAMES, envelope::core_place, envelope::is_json,
    limits,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{borrow::Cow, ops::Range};

/// Most members of one event: the core attributes, the extensions, `specversion`, `data` and some room for `null`s.
const MEMBERS_MAX: usize = limits::EXTENSIONS_MAX + CORE_NAMES.len() + 16;

/// Standard alphabet, padding as it comes (RFC 4648).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An event as read: attributes may still be added before [`Draft::freeze`] checks that the required ones are there.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its attributes.
    pub attributes: Attributes,
    /// Its data: a slice of the payload, unless it was written in base64 or with escapes.
    pub data: Bytes,
}

impl Draft {
    /// The immutable event.
    ///
    /// # Errors
    /// As [`Attributes::freeze`].
    pub fn freeze(self) -> Result<Envelope, AttributeFault> {
        self.attributes.freeze(self.data)
    }
}

/// One event of a text, or why it is none.
pub type Item = Result<Draft, AttributeFault>;

/// Reads one event (format, section 3).
///
/// # Errors
/// Outer: the text is no JSON, or not an object. Inner: the object is no CloudEvent.
pub fn read_event(payload: &Bytes) -> Result<Item, JsonFault> {
    let mut scanner = Scanner::new(payload)?;
    let item = read_item(&mut scanner, payload, limits::JSON_DEPTH_MAX)?;
    scanner.end()?;
    Ok(item)
}

/// Reads a batch (format, section 4) and gives each event to `take`, in order. An empty batch is legal: no events.
/// The number of events read.
///
/// # Errors
/// The text is no JSON, not an array of objects, or has more than [`limits::EVENTS_PER_MESSAGE_MAX`] events. Then the whole
/// message is bad, and what `take` got is void. A bad event hides no other.
pub fn read_batch(payload: &Bytes, mut take: impl FnMut(Item)) -> Result<usize, JsonFault> {
    let mut scanner = Scanner::new(payload)?;
    scanner.expect(b'[', "a batch is a JSON array, '[' was expected")?;
    let mut count = 0;
    if !scanner.take(b']') {
        loop {
            if count == limits::EVENTS_PER_MESSAGE_MAX {
                let what = format!("more than {} events in one batch", limits::EVENTS_PER_MESSAGE_MAX);
                return Err(JsonFault { word: Word::TooLarge, offset: scanner.at, what: what.into() });
            }
            take(read_item(&mut scanner, payload, limits::JSON_DEPTH_MAX - 1)?);
            count += 1;
            if !scanner.take(b',') {
                scanner.expect(b']', "',' or ']' was expected")?;
                break;
            }
        }
    }
    scanner.end()?;
    Ok(count)
}

/// Whether this is a JSON object with a member `specversion`: how a structured event is known where the protocol cannot say
/// (MQTT 3.1.1). Looks no further than that member; a text that breaks before it is none.
pub fn looks_structured(payload: &[u8]) -> bool {
    let first = payload.iter().find(|b| !b.is_ascii_whitespace());
    first == Some(&b'{') && find_specversion(payload).unwrap_or(false)
}

fn find_specversion(payload: &[u8]) -> Result<bool, JsonFault> {
    let mut scanner = Scanner::new(payload)?;
    scanner.expect(b'{', "'{' was expected")?;
    loop {
        let (place, escaped) = scanner.string()?;
        if string_at(&scanner, &place, escaped).as_deref() == Some("specversion") {
            return Ok(true);
        }
        scanner.expect(b':', "':' was expected")?;
        scanner.skip_value(limits::JSON_DEPTH_MAX - 1)?;
        if !scanner.take(b',') {
            return Ok(false);
        }
        scanner.skip_space();
    }
}

fn string_at<'a>(scanner: &Scanner<'a>, place: &Range<usize>, escaped: bool) -> Option<Cow<'a, str>> {
    let raw = scanner.text(place);
    if escaped { unescape(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
}

/// A member's value: its place, with the quotes of a string, and whether the string has escapes.
#[derive(Clone, Debug)]
struct Value {
    place: Range<usize>,
    escaped: bool,
}

impl Value {
    fn read(scanner: &mut Scanner<'_>, depth_max: usize) -> Result<Self, JsonFault> {
        scanner.skip_space();
        if scanner.peek() != Some(b'"') {
            return Ok(Value { place: scanner.skip_value(depth_max)?, escaped: false });
        }
        let (inner, escaped) = scanner.string()?;
        Ok(Value { place: inner.start - 1..inner.end + 1, escaped })
    }

    /// The text of a string: outer `None` when it is no string, inner when a lone surrogate makes it no text.
    fn string<'a>(&self, scanner: &Scanner<'a>) -> Option<Option<Cow<'a, str>>> {
        if !scanner.begins(&self.place, b'"') {
            return None;
        }
        let raw = scanner.text(&(self.place.start + 1..self.place.end - 1));
        Some(if self.escaped { unescape(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) })
    }
}

/// What was collected of one event.
struct Reading<'a> {
    attributes: Attributes,
    members: usize,
    /// The members that CloudEvents names and that have come: bit n = place n of [`known_place`].
    known: u16,
    /// The others that have come.
    others: SmallVec<[Cow<'a, str>; 4]>,
    data: Option<Value>,
    base64: Option<Value>,
    fault: Option<AttributeFault>,
}

/// One event. After its first fault the rest of the object is only scanned.
fn read_item(scanner: &mut Scanner<'_>, payload: &Bytes, depth_max: usize) -> Result<Item, JsonFault> {
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        let place = scanner.skip_value(depth_max)?;
        let detail = format!("an event is a JSON object, '{{' was expected at byte {}", place.start);
        return Ok(Err(AttributeFault::new(Word::Malformed, detail)));
    }
    scanner.at += 1;
    let mut reading = Reading {
        attributes: Attributes::with_capacity(ATTRIBUTES_USUAL),
        members: 0,
        known: 0,
        others: SmallVec::new(),
        data: None,
        base64: None,
        fault: None,
    };
    if !scanner.take(b'}') {
        loop {
            scanner.skip_space();
            let (name_place, escaped) = scanner.string()?;
            let name = string_at(scanner, &name_place, escaped);
            scanner.expect(b':', "':' was expected")?;
            let value = Value::read(scanner, depth_max - 1)?;
            if reading.fault.is_none() {
                reading.fault = reading.take(scanner, name, value).err();
            }
            if !scanner.take(b',') {
                scanner.expect(b'}', "',' or '}' was expected")?;
                break;
            }
        }
    }
    Ok(reading.finish(scanner, payload))
}

/// The place of a member that CloudEvents names: the core attributes, then these three.
fn known_place(name: &str) -> Option<u8> {
    match name {
        "data" => Some(DATA),
        "specversion" => Some(SPECVERSION),
        "data_base64" => Some(DATA_BASE64),
        name => core_place(name).and_then(|place| u8::try_from(place).ok()),
    }
}

const SPECVERSION: u8 = 7;
const DATA: u8 = 8;
const DATA_BASE64: u8 = 9;
const _: () = assert!(CORE_NAMES.len() == SPECVERSION as usize, "the places of CORE_NAMES come first");

/// Bytes of attributes that most events have: one buffer, grown rarely.
const ATTRIBUTES_USUAL: usize = 256;

impl<'a> Reading<'a> {
    fn take(&mut self, scanner: &Scanner<'a>, name: Option<Cow<'a, str>>, value: Value) -> Result<(), AttributeFault> {
        let start = value.place.start;
        let Some(name) = name else {
            return Err(malformed(format!("a member name with a lone surrogate before byte {start}")));
        };
        let place = known_place(&name);
        let twice = match place {
            Some(place) => self.known & 1 << place != 0,
            None => self.others.contains(&name),
        };
        if twice {
            return Err(malformed(format!("the member {} comes twice, again before byte {start}", shown(&name))));
        }
        if self.members == MEMBERS_MAX {
            return Err(AttributeFault::new(Word::TooLarge, format!("an event of more than {MEMBERS_MAX} members")));
        }
        self.members += 1;
        match place {
            Some(DATA) => self.data = Some(value),
            _ if scanner.begins(&value.place, b'n') => {}
            Some(DATA_BASE64) => self.base64 = Some(value),
            _ => self.attribute(scanner, place, &name, &value)?,
        }
        match place {
            Some(place) => self.known |= 1 << place,
            None => self.others.push(name),
        }
        Ok(())
    }

    /// The type system mapping (format, section 2.2). The core attributes and `specversion`, which have a place, are strings
    /// (CloudEvents 1.0.2, "Context Attributes").
    fn attribute(
        &mut self,
        scanner: &Scanner<'a>,
        place: Option<u8>,
        name: &str,
        value: &Value,
    ) -> Result<(), AttributeFault> {
        let start = value.place.start;
        if let Some(text) = value.string(scanner) {
            let Some(text) = text else {
                return Err(malformed(format!("the attribute {} at byte {start} has a lone surrogate", shown(name))));
            };
            return match place {
                Some(SPECVERSION) | None => self.attributes.set_from_sender(name, &text, Kind::String),
                Some(place) => self.attributes.set_core_from_sender(usize::from(place), &text),
            };
        }
        if place.is_some() {
            return Err(malformed(format!("the attribute {} at byte {start} is not a string", shown(name))));
        }
        let raw = scanner.text(&value.place);
        match raw.as_bytes().first() {
            Some(b't' | b'f') => self.attributes.set_from_sender(name, raw, Kind::Boolean),
            Some(b'-' | b'0'..=b'9') => {
                let Ok(number) = raw.parse::<i32>() else {
                    let detail = format!(
                        "the attribute {} at byte {start} is {}, only integers of 32 bits are attribute values",
                        shown(name),
                        shown(raw)
                    );
                    return Err(malformed(detail));
                };
                self.attributes.set_from_sender(name, &number.to_string(), Kind::Integer)
            }
            _ => {
                let wanted = "a string, an integer, a boolean or null";
                Err(malformed(format!("the attribute {} at byte {start} is not {wanted}", shown(name))))
            }
        }
    }

    fn finish(&mut self, scanner: &Scanner<'a>, payload: &Bytes) -> Item {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.attributes.is_event() {
            return Err(AttributeFault::new(Word::MissingAttribute, "the attribute \"specversion\" is missing"));
        }
        let data = match (self.data.take(), self.base64.take()) {
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => return Err(malformed("both \"data\" and \"data_base64\" are given".to_owned())),
            (None, Some(value)) => base64_data(scanner, &value)?,
            (Some(value), None) => self.plain_data(scanner, payload, value)?,
        };
        Ok(Draft { attributes: std::mem::take(&mut self.attributes), data })
    }

    /// Handling of `data` (format, section 3.1.2). Without `datacontenttype` it is JSON, and is said to be from here on, as
    /// the format asks of whoever writes the event in another form.
    fn plain_data(&mut self, scanner: &Scanner<'a>, payload: &Bytes, value: Value) -> Result<Bytes, AttributeFault> {
        let content_type = self.attributes.get("datacontenttype");
        if content_type.is_none_or(is_json) {
            if content_type.is_none() {
                self.attributes.set("datacontenttype", "application/json", Kind::String)?;
            }
            return Ok(payload.slice(value.place));
        }
        let start = value.place.start;
        match value.string(scanner) {
            Some(Some(Cow::Borrowed(_))) => Ok(payload.slice(start + 1..value.place.end - 1)),
            Some(Some(Cow::Owned(text))) => Ok(Bytes::from(text)),
            Some(None) => Err(malformed(format!("\"data\" at byte {start} has a lone surrogate"))),
            None => {
                Err(malformed(format!("\"data\" at byte {start} must be a string: its datacontenttype is not JSON")))
            }
        }
    }
}

fn base64_data(scanner: &Scanner<'_>, value: &Value) -> Result<Bytes, AttributeFault> {
    let at = value.place.start;
    let Some(Some(text)) = value.string(scanner) else {
        return Err(malformed(format!("\"data_base64\" at byte {at} is not a string")));
    };
    match BASE64.decode(text.as_bytes()) {
        Ok(data) => Ok(data.into()),
        Err(e) => Err(malformed(format!("\"data_base64\" at byte {at}: {e}"))),
    }
}

fn malformed(detail: String) -> AttributeFault {
    AttributeFault::new(Word::Malformed, detail)
}

/// A sender's text in an error, cut short.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(members: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
    }

    fn read(text: &str) -> Envelope {
        read_event(&Bytes::from(text.to_owned())).unwrap().unwrap().freeze().unwrap()
    }

    fn fault(text: &str) -> AttributeFault {
        let item = read_event(&Bytes::from(text.to_owned())).unwrap();
        item.and_then(Draft::freeze).unwrap_err()
    }

    #[test]
    fn json_data_is_a_slice_of_the_payload() {
        let payload = Bytes::from(event(r#", "data" : {"a":[1, 2]} "#));
        let envelope = read_event(&payload).unwrap().unwrap().freeze().unwrap();
        assert_eq!(&envelope.data()[..], br#"{"a":[1, 2]}"#);
        assert!(payload.as_ptr_range().contains(&envelope.data().as_ptr()));
        assert_eq!(envelope.content_type(), Some("application/json"));
    }

    #[test]
    fn data_by_content_type() {
        let text = read(&event(r#","datacontenttype":"text/xml","data":"<a b=\"c\"/>""#));
        assert_eq!(&text.data()[..], b"<a b=\"c\"/>");
        let payload = Bytes::from(event(r#","data":"plain","datacontenttype":"text/plain""#));
        let plain = read_event(&payload).unwrap().unwrap();
        assert_eq!(&plain.data[..], b"plain");
        assert!(payload.as_ptr_range().contains(&plain.data.as_ptr()));
        assert_eq!(&read(&event(r#","data":"I'm just a string""#)).data()[..], b"\"I'm just a string\"");
        assert_eq!(&read(&event(r#","datacontenttype":"application/x+JSON; v=1","data":"1""#)).data()[..], b"\"1\"");
        assert_eq!(&read(&event(r#","data":null"#)).data()[..], b"null");
        let binary = read(&event(r#","data_base64":"AP8=""#));
        assert_eq!((&binary.data()[..], binary.content_type()), (&[0, 255][..], None));
        assert_eq!(&read(&event(r#","data_base64":"AP8""#)).data()[..], &[0, 255]);
        assert!(read(&event(r#","data_base64":null"#)).data().is_empty());
    }

    #[test]
    fn kinds_escapes_and_nulls() {
        let envelope =
            read(&event(r#","\u0061b":"\ud83d\ude00\"","n":-7,"z":-0,"yes":true,"gone":null,"subject":null"#));
        let value = |name| envelope.get(name).map(|v| (v.text, v.kind));
        assert_eq!(value("ab"), Some(("😀\"", Kind::String)));
        assert_eq!(value("n"), Some(("-7", Kind::Integer)));
        assert_eq!(value("z"), Some(("0", Kind::Integer)));
        assert_eq!(value("yes"), Some(("true", Kind::Boolean)));
        assert_eq!((value("gone"), value("subject")), (None, None));
        let empty = read(&event(r#","subject":"","time":"","x":"""#));
        assert_eq!((empty.get("subject"), empty.get("time")), (None, None), "no legal values, so none");
        assert_eq!(empty.get("x").map(|v| v.text), Some(""));
    }

    #[test]
    fn refusals_name_the_word_and_the_attribute() {
        for (members, word, part) in [
            (r#","id":"2""#, Word::Malformed, "\"id\" comes twice"),
            (r#","x":null,"x":1"#, Word::Malformed, "\"x\" comes twice"),
            (r#","\u0078":1,"x":1"#, Word::Malformed, "\"x\" comes twice"),
            (r#","x":1.5"#, Word::Malformed, "\"x\" at byte"),
            (r#","x":1e3"#, Word::Malformed, "\"x\" at byte"),
            (r#","x":2147483648"#, Word::Malformed, "32 bits"),
            (r#","x":{}"#, Word::Malformed, "\"x\" at byte"),
            (r#","x":[1]"#, Word::Malformed, "\"x\" at byte"),
            (r#","x":"\ud800""#, Word::Malformed, "lone surrogate"),
            (r#","specversion":"2""#, Word::Malformed, "comes twice"),
            (r#","subject":5"#, Word::Malformed, "not a string"),
            (r#","Upper":"x""#, Word::Malformed, "Upper"),
            (r#","data":1,"data_base64":"""#, Word::Malformed, "both"),
            (r#","data_base64":"***""#, Word::Malformed, "data_base64"),
            (r#","data_base64":5"#, Word::Malformed, "data_base64"),
            (r#","datacontenttype":"text/xml","data":{}"#, Word::Malformed, "must be a string"),
            (r#","anygatetenant":"acme""#, Word::ReservedAttribute, "anygatetenant"),
        ] {
            let fault = fault(&event(members));
            assert_eq!(fault.word, word, "{members}");
            assert!(fault.detail.contains(part), "{members}: {}", fault.detail);
        }
        for (text, word, part) in [
            (r#"{"id":"1","source":"/s","type":"t"}"#, Word::MissingAttribute, "specversion"),
            (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, Word::Malformed, "0.3"),
            (r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#, Word::Malformed, "specversion"),
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, Word::MissingAttribute, "\"id\""),
            (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, Word::MissingAttribute, "\"id\""),
            ("[]", Word::Malformed, "object"),
            ("{}", Word::MissingAttribute, "specversion"),
        ] {
            let fault = fault(text);
            assert_eq!(fault.word, word, "{text}");
            assert!(fault.detail.contains(part), "{text}: {}", fault.detail);
        }
    }

    #[test]
    fn too_many_members_are_too_large() {
        let nulls: String = (0..MEMBERS_MAX).map(|n| format!(",\"x{n}\":null")).collect();
        assert_eq!(fault(&event(&nulls)).word, Word::TooLarge);
    }

    #[test]
    fn a_bad_event_hides_no_other_and_a_broken_text_says_where() {
        let text = format!("[{}, {{\"id\":\"x\"}}, 7, {} ]", event(""), event(",\"data\":1"));
        let mut items = Vec::new();
        assert_eq!(read_batch(&Bytes::from(text), |item| items.push(item)), Ok(4));
        assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(read_batch(&Bytes::from_static(b" [ ] "), |_| panic!("no events")), Ok(0));
        for (bad, at) in [("{}", 0), ("[{]", 2), ("[{\"a\":1} {}]", 9), ("[{}", 3), ("[{},]", 4), ("[] x", 3)] {
            assert_eq!(read_batch(&Bytes::from_static(bad.as_bytes()), drop).unwrap_err().offset, at, "{bad}");
        }
        let many = format!("[{}7]", "7,".repeat(limits::EVENTS_PER_MESSAGE_MAX));
        assert_eq!(read_batch(&Bytes::from(many), drop).unwrap_err().word, Word::TooLarge);
    }

    #[test]
    fn depth_is_that_of_the_whole_text() {
        let data = |depth: usize| event(&format!(",\"data\":{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert!(read_event(&Bytes::from(data(63))).is_ok());
        assert!(read_event(&Bytes::from(data(64))).is_err());
    }

    #[test]
    fn structured_events_are_recognised() {
        for yes in [r#" {"specversion":"1.0"}"#, r#"{"a":{"b":1}, "specversion":0"#, r#"{"\u0073pecversion":1}"#] {
            assert!(looks_structured(yes.as_bytes()), "{yes}");
        }
        for no in ["", "7", "[]", "{}", r#"{"a":{"specversion":1}}"#, r#"{"a" "specversion":1}"#, r#""specversion""#] {
            assert!(!looks_structured(no.as_bytes()), "{no}");
        }
    }
}
