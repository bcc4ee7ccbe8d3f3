//! Reading records: one allocation for all text, data as a slice of the body.
use super::{
    DoorLetter, HEADER_LEN, Record, RecordError, RecordKind, TEXT_BYTES_MAX, VERSION,
    cursor::Cursor,
    encode::{KEY_OWN, KEY_SOURCES},
    tag,
};
use crate::{
    AckLevel, Attributes, ByteStr, Death, Door, Envelope, Event, Headers, Kind, Mode, TraceContext, Word,
    envelope::{CORE_NAMES, ENVELOPE_VERSION, Extension, Extensions, Texts},
    limits,
    text::Span,
};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Reads the body of the record at `lsn`.
///
/// # Errors
/// [`RecordError`]; never panics, whatever the bytes are.
pub fn decode(body: &Bytes, lsn: u64) -> Result<Record, RecordError> {
    let mut cursor = Cursor::new(body, 0);
    let [_version, min_reader, kind, envelope_version] = cursor.array::<HEADER_LEN>()?;
    if min_reader > VERSION {
        return Err(RecordError::TooNew { min_reader });
    }
    let kind = match kind {
        1 => RecordKind::Event,
        2 => RecordKind::Dead,
        5 => RecordKind::Letter,
        _ => return Err(RecordError::Corrupt { offset: 2, what: "an unknown kind of record" }),
    };
    if u32::from(envelope_version) > ENVELOPE_VERSION || envelope_version == 0 {
        return Err(RecordError::Corrupt { offset: 3, what: "an unknown version of the envelope" });
    }
    let mut sections = Sections::default();
    sections.read(&mut cursor, body)?;
    sections.build(kind, lsn)
}

/// As [`decode`], for whoever has no use for door letters.
///
/// # Errors
/// As [`decode`]; a door letter is an error too.
pub fn decode_event(body: &Bytes, lsn: u64) -> Result<Event, RecordError> {
    match decode(body, lsn)? {
        Record::Event(event) => Ok(event),
        Record::Letter(_) => Err(RecordError::Corrupt { offset: 2, what: "a door letter where an event was expected" }),
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) lanes: u64,
    pub(super) received: SystemTime,
    pub(super) trace: TraceContext,
    pub(super) level: AckLevel,
}

#[derive(Debug)]
struct DeathSpans {
    first_lsn: u64,
    attempts: u32,
    texts: [Span; 3],
}

#[derive(Debug)]
struct AttributeSpans {
    is_event: bool,
    core: [Span; CORE_NAMES.len()],
    extensions: Extensions,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    Own(Span),
    Of(&'static str),
}

/// What the sections said; strings as places in a text that comes later.
#[derive(Debug, Default)]
struct Sections<'a> {
    seen: u32,
    /// Where the next string stands in the text.
    next: usize,
    place: Option<Place>,
    door: Option<[Span; 4]>,
    route: Option<Span>,
    key: Option<Key>,
    death: Option<DeathSpans>,
    message: Option<(Mode, [Span; 3])>,
    attributes: Option<AttributeSpans>,
    headers: Vec<(Span, Span)>,
    text: Option<&'a str>,
    data: Option<Bytes>,
}

impl<'a> Sections<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>, body: &Bytes) -> Result<(), RecordError> {
        while self.data.is_none() {
            let offset = cursor.at();
            let tag = cursor.u8()?;
            let len = cursor.varint()?;
            let mut part = cursor.part(len)?;
            if let Some(bit) = 1_u32.checked_shl(u32::from(tag)).filter(|_| tag <= tag::DATA) {
                if self.seen & bit != 0 {
                    return Err(RecordError::Corrupt { offset, what: "a section comes twice" });
                }
                self.seen |= bit;
            }
            match tag {
                0 => return Err(RecordError::Corrupt { offset, what: "a section with the tag 0" }),
                tag::DATA => self.data = Some(body.slice(part.at()..part.at() + len)),
                tag if tag & tag::SKIPPABLE != 0 => {}
                tag => self.section(tag, offset, &mut part)?,
            }
            if self.next > TEXT_BYTES_MAX {
                return Err(RecordError::Corrupt { offset, what: "more text than a record can have" });
            }
        }
        if cursor.is_at_end() { Ok(()) } else { Err(cursor.corrupt("something follows the data")) }
    }

    fn section(&mut self, tag: u8, offset: usize, part: &mut Cursor<'a>) -> Result<(), RecordError> {
        match tag {
            tag::PLACE => self.place = Some(read_place(part)?),
            tag::DOOR => self.door = Some([self.len(part)?, self.len(part)?, self.len(part)?, self.len(part)?]),
            tag::ROUTE => self.route = Some(self.len(part)?),
            tag::KEY => {
                self.key = Some(match part.u8()? {
                    KEY_OWN => Key::Own(self.len(part)?),
                    n => Key::Of(
                        KEY_SOURCES
                            .get(usize::from(n) - 1)
                            .ok_or_else(|| part.corrupt("an unknown source of the key"))?,
                    ),
                });
            }
            tag::DEATH => {
                let (first_lsn, attempts) = (part.u64()?, part.u32()?);
                let texts = [self.len(part)?, self.len(part)?, self.len(part)?];
                self.death = Some(DeathSpans { first_lsn, attempts, texts });
            }
            tag::MESSAGE => {
                let mode = match part.u8()? {
                    0 => Mode::ByContentType,
                    1 => Mode::Binary,
                    2 => Mode::Sniff,
                    _ => return Err(part.corrupt("an unknown mode")),
                };
                self.message = Some((mode, [self.optional(part)?, self.optional(part)?, self.optional(part)?]));
            }
            tag::ATTRIBUTES => self.attributes = Some(self.read_attributes(part)?),
            tag::HEADERS => self.read_headers(part)?,
            tag::TEXT => {
                let text = std::str::from_utf8(part.rest()).map_err(|_| part.corrupt("text that is not UTF-8"))?;
                if text.len() > TEXT_BYTES_MAX {
                    return Err(part.corrupt("more text than a record can have"));
                }
                self.text = Some(text);
            }
            tag => return Err(RecordError::UnknownSection { tag, offset }),
        }
        Ok(())
    }

    /// The place of a string whose length comes next.
    fn len(&mut self, part: &mut Cursor<'_>) -> Result<Span, RecordError> {
        let len = part.varint()?;
        Ok(self.advance(len))
    }

    /// The same for one that may not be there: length + 1, or 0.
    fn optional(&mut self, part: &mut Cursor<'_>) -> Result<Span, RecordError> {
        let len = part.varint()?;
        Ok(len.checked_sub(1).map_or(Span::NONE, |len| self.advance(len)))
    }

    fn advance(&mut self, len: usize) -> Span {
        let start = self.next;
        self.next = start.saturating_add(len);
        Span::new(start, self.next)
    }

    fn read_attributes(&mut self, part: &mut Cursor<'_>) -> Result<AttributeSpans, RecordError> {
        let is_event = part.u8()? != 0;
        let mut core = [Span::NONE; CORE_NAMES.len()];
        for span in &mut core {
            *span = self.optional(part)?;
        }
        let count = part.varint()?;
        if count > limits::EXTENSIONS_MAX {
            return Err(part.corrupt("more extensions than an event can have"));
        }
        let mut extensions = Extensions::new();
        for _ in 0..count {
            let (name, value) = (self.len(part)?, self.len(part)?);
            let kind = match part.u8()? {
                0 => Kind::String,
                1 => Kind::Integer,
                2 => Kind::Boolean,
                _ => return Err(part.corrupt("an unknown kind of value")),
            };
            extensions.push(Extension { name, value, kind });
        }
        Ok(AttributeSpans { is_event, core, extensions })
    }

    fn read_headers(&mut self, part: &mut Cursor<'_>) -> Result<(), RecordError> {
        let count = part.varint()?;
        if count > limits::HEADERS_MAX {
            return Err(part.corrupt("more headers than an event can have"));
        }
        for _ in 0..count {
            let pair = (self.len(part)?, self.len(part)?);
            self.headers.push(pair);
        }
        Ok(())
    }

    fn build(self, kind: RecordKind, lsn: u64) -> Result<Record, RecordError> {
        let place = self.place.ok_or(missing("the section place is missing"))?;
        let text = self.text.ok_or(missing("the section text is missing"))?;
        let AttributeSpans { is_event, core, extensions } =
            self.attributes.ok_or(missing("the section attributes is missing"))?;
        let text = Text(Arc::new(Texts { text: text.to_owned(), core, extensions }));
        text.check()?;
        let [listener, principal, tenant, subject] = self.door.ok_or(missing("the section door is missing"))?;
        let common = Common {
            lsn,
            place,
            is_event,
            data: self.data.ok_or(missing("the section data is missing"))?,
            door: Door {
                listener: text.get(listener)?,
                principal: text.get(principal)?,
                tenant: text.get(tenant)?,
                subject: text.get(subject)?,
            },
            headers: text.headers(&self.headers)?,
            death: self.death.map(|death| text.death(&death)).transpose()?,
            text,
        };
        match kind {
            RecordKind::Letter => common.letter(self.message.ok_or(missing("the section message is missing"))?),
            RecordKind::Event | RecordKind::Dead => {
                if common.death.is_some() != (kind == RecordKind::Dead) {
                    return Err(missing("a dead letter has a section death, and nothing else has"));
                }
                common.event(self.route, self.key.ok_or(missing("the section key is missing"))?)
            }
        }
    }
}

fn missing(what: &'static str) -> RecordError {
    RecordError::Corrupt { offset: 0, what }
}

/// What events and letters have in common, checked.
struct Common {
    lsn: u64,
    place: Place,
    text: Text,
    is_event: bool,
    data: Bytes,
    door: Door,
    headers: Headers,
    death: Option<Death>,
}

impl Common {
    fn letter(self, (mode, texts): (Mode, [Span; 3])) -> Result<Record, RecordError> {
        let Texts { text, core, extensions } = &*self.text.0;
        let [content_type, tracestate, dedupe_id] = texts;
        Ok(Record::Letter(DoorLetter {
            lsn: self.lsn,
            payload: self.data,
            content_type: self.text.optional(content_type)?,
            mode,
            attributes: Attributes::restore(text.clone(), self.is_event, *core, extensions.clone()),
            headers: self.headers,
            door: self.door,
            received: self.place.received,
            trace: self.place.trace,
            tracestate: self.text.optional(tracestate)?,
            dedupe_id: self.text.optional(dedupe_id)?,
            death: self.death.ok_or(missing("the section death is missing"))?,
        }))
    }

    fn event(self, route: Option<Span>, key: Key) -> Result<Record, RecordError> {
        let Texts { text, core, extensions: _ } = &*self.text.0;
        if core[..3].iter().any(|span| span.of(text).is_none_or(str::is_empty)) {
            return Err(missing("a required attribute is missing"));
        }
        let envelope = Envelope::new(Arc::clone(&self.text.0), self.data);
        let key = match key {
            Key::Own(span) => self.text.get(span)?,
            Key::Of(name) => envelope.get_shared(name).ok_or(missing("the attribute of the key is missing"))?,
        };
        Ok(Record::Event(Event {
            lsn: self.lsn,
            lanes: self.place.lanes,
            envelope,
            door: self.door,
            headers: self.headers,
            received: self.place.received,
            trace: self.place.trace,
            route: route.map_or(Ok(ByteStr::EMPTY), |span| self.text.get(span))?,
            level: self.place.level,
            key,
            death: self.death.map(Box::new),
        }))
    }
}

pub(super) fn read_place(part: &mut Cursor<'_>) -> Result<Place, RecordError> {
    let (lanes, nanos) = (part.u64()?, part.u64()?);
    let trace = TraceContext { trace_id: part.array()?, span_id: part.array()?, flags: part.u8()? };
    let level = match part.u8()? {
        0 => AckLevel::Received,
        1 => AckLevel::Durable,
        2 => AckLevel::Delivered,
        _ => return Err(part.corrupt("an unknown ack level")),
    };
    Ok(Place { lanes, received: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos), trace, level })
}

/// The record's one text, with its attributes.
struct Text(Arc<Texts>);

impl Text {
    fn get(&self, span: Span) -> Result<ByteStr, RecordError> {
        match span.of(&self.0.text) {
            Some("") => Ok(ByteStr::EMPTY),
            Some(_) => Ok(ByteStr::part(&self.0, span)),
            None => Err(RecordError::Corrupt { offset: 0, what: "a string that is not in the text" }),
        }
    }

    fn optional(&self, span: Span) -> Result<Option<ByteStr>, RecordError> {
        if span.is_some() { self.get(span).map(Some) } else { Ok(None) }
    }

    fn headers(&self, places: &[(Span, Span)]) -> Result<Headers, RecordError> {
        let pairs = places.iter().map(|(name, value)| Ok((self.get(*name)?, self.get(*value)?)));
        pairs.collect::<Result<Vec<_>, _>>().map(Headers::restore)
    }

    /// Every place must be in the text, between characters.
    fn check(&self) -> Result<(), RecordError> {
        let Texts { text, core, extensions } = &*self.0;
        let extensions = extensions.iter().flat_map(|extension| [extension.name, extension.value]);
        let mut places = core.iter().copied().filter(|span| span.is_some()).chain(extensions);
        if places.all(|span| span.of(text).is_some()) {
            return Ok(());
        }
        Err(RecordError::Corrupt { offset: 0, what: "an attribute that is not in the text" })
    }

    /// A word that a newer version had is `internal` here; the detail keeps what was said.
    fn death(&self, death: &DeathSpans) -> Result<Death, RecordError> {
        let [word, detail, backend] = death.texts;
        Ok(Death {
            word: self.get(word)?.parse().unwrap_or(Word::Internal),
            detail: self.get(detail)?,
            backend: self.get(backend)?,
            attempts: death.attempts,
            first_lsn: death.first_lsn,
        })
    }
}
