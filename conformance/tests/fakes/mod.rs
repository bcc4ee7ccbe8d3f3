//! Plug-ins that each break one promise of their contract: the suites must find every one of them.
use backends::{Backend, Events, Order, Outcome, Position, Why};
use bytes::Bytes;
use codecs::{Codec, Context, DecodeError, Decoded};
use futures_util::future::BoxFuture;
use schemas::{EventView, Kind, Message, Word};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

/// What a fake codec does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecBug {
    None,
    Panics,
    Copies,
    NoOffset,
    OffsetBehindTheEnd,
    OffsetNotNamed,
    NotPure,
    EncodesOverOthers,
    LosesAByte,
    SetsReserved,
}

/// Takes any text that begins with `{`, whole.
pub struct FakeCodec {
    pub bug: CodecBug,
    pub calls: AtomicU32,
}

impl FakeCodec {
    pub fn new(bug: CodecBug) -> Self {
        FakeCodec { bug, calls: AtomicU32::new(0) }
    }
}

impl Codec for FakeCodec {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
        let payload = &message.payload;
        assert!(self.bug != CodecBug::Panics || payload.is_ascii(), "a seeded bug");
        if payload.first() != Some(&b'{') {
            let offset = if self.bug == CodecBug::OffsetBehindTheEnd { payload.len() + 1 } else { 0 };
            let offset = (self.bug != CodecBug::NoOffset).then_some(offset);
            let detail = match offset {
                Some(at) if self.bug != CodecBug::OffsetNotNamed => format!("no brace at byte {at}"),
                _ => "no brace".to_owned(),
            };
            return Err(DecodeError { word: Word::Malformed, offset, detail: detail.into() });
        }
        let mut attributes = message.attributes.clone();
        attributes.set("id", &(cx.new_id)(), Kind::String)?;
        attributes.set("source", "/fake", Kind::String)?;
        attributes.set("type", "fake", Kind::String)?;
        match self.bug {
            CodecBug::NotPure => {
                let count = self.calls.fetch_add(1, Ordering::Relaxed).to_string();
                attributes.set("subject", &count, Kind::String)?;
            }
            CodecBug::SetsReserved => attributes.set("anygatetenant", "me", Kind::String)?,
            _ => {}
        }
        let data = if self.bug == CodecBug::Copies { Bytes::copy_from_slice(payload) } else { payload.clone() };
        Ok(Decoded::from_iter([attributes.freeze(data)]))
    }

    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>) {
        if self.bug == CodecBug::EncodesOverOthers {
            out.clear();
        }
        out.extend_from_slice(event.envelope.data());
        if self.bug == CodecBug::LosesAByte {
            out.pop();
        }
    }
}

/// What a fake backend does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendBug {
    None,
    /// One outcome too few.
    Short,
    /// An outcome for an empty call.
    Invents,
    /// The work begins when the future is polled, and a later call was polled first.
    Lazy,
    /// Done before the far end has it: the last event of each call is lost.
    EarlyYes,
    /// One bad event spoils its call.
    SharedFate,
    /// A dropped future leaves it locked.
    StuckAfterDrop,
    /// An event that was there before is refused.
    NoRepeats,
    /// The same position twice.
    SamePosition,
    /// A strand of its own for every event.
    NoStrands,
}

/// Keeps ids in a list; an event of the type `spoilt` is never taken.
pub struct FakeBackend {
    pub bug: BackendBug,
    pub held: Arc<Mutex<Vec<String>>>,
    stuck: Arc<Mutex<bool>>,
}

impl FakeBackend {
    pub fn new(bug: BackendBug) -> Self {
        FakeBackend { bug, held: Arc::default(), stuck: Arc::default() }
    }
}

fn take(bug: BackendBug, held: &Mutex<Vec<String>>, events: &Events) -> Vec<Outcome> {
    let mut held = held.lock().unwrap();
    let spoilt = |event: &schemas::Event| event.envelope.event_type() == "spoilt";
    let any_spoilt = events.iter().any(|event| spoilt(event));
    let mut outcomes = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let id = event.envelope.id().to_owned();
        let refused = spoilt(event) || (bug == BackendBug::SharedFate && any_spoilt);
        let refused = refused || (bug == BackendBug::NoRepeats && held.contains(&id));
        if refused {
            outcomes.push(Outcome::Record(Why::new(Word::Malformed, "not taken")));
            continue;
        }
        if bug != BackendBug::EarlyYes || at + 1 < events.len() {
            held.push(id);
        }
        let offset = if bug == BackendBug::SamePosition { 0 } else { held.len() };
        outcomes.push(Outcome::Done(Position {
            place: "list".into(),
            partition: 0,
            offset: i64::try_from(offset).unwrap(),
        }));
    }
    if bug == BackendBug::Short {
        outcomes.pop();
    }
    if bug == BackendBug::Invents && events.is_empty() {
        outcomes.push(Outcome::Done(Position::default()));
    }
    outcomes
}

/// Says that the backend is stuck if it is dropped before it is disarmed.
struct Alarm(Arc<Mutex<bool>>, bool);

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.1 {
            *self.0.lock().unwrap() = true;
        }
    }
}

impl Backend for FakeBackend {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn order(&self) -> Order {
        Order::Pipelined
    }

    fn strand(&self, event: &schemas::Event) -> u64 {
        if self.bug == BackendBug::NoStrands { event.lsn } else { backends::fault::hash(event.key.as_bytes()) }
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let (bug, held, stuck) = (self.bug, Arc::clone(&self.held), Arc::clone(&self.stuck));
        match bug {
            BackendBug::Lazy => Box::pin(async move {
                if events.len() > 1 {
                    tokio::time::sleep(Duration::from_millis(if events.len() > 10 { 5 } else { 40 })).await;
                }
                take(bug, &held, &events)
            }),
            BackendBug::StuckAfterDrop => {
                let alarm = Alarm(Arc::clone(&stuck), true);
                let was = *stuck.lock().unwrap();
                Box::pin(async move {
                    let mut alarm = alarm;
                    alarm.1 = false;
                    if was {
                        return vec![Outcome::Retry(Why::new(Word::Internal, "stuck")); events.len()];
                    }
                    take(bug, &held, &events)
                })
            }
            _ => {
                let outcomes = take(bug, &held, &events);
                Box::pin(std::future::ready(outcomes))
            }
        }
    }
}
