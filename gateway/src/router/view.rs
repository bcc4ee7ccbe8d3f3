//! An event as CESQL sees it. Attributes are read where they are; nothing is copied.
use cesql::{Attributes, Core, Value};
use schemas::{EventView, Kind};
use std::borrow::Cow;

/// An [`EventView`] with the types of CESQL.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a>(pub EventView<'a>);

fn typed(value: schemas::Value<'_>) -> Value<'_> {
    match value.kind {
        Kind::String => Value::String(Cow::Borrowed(value.text)),
        // A number that does not fit 32 bits is only text to CESQL.
        Kind::Integer => value.text.parse().map_or(Value::String(Cow::Borrowed(value.text)), Value::Integer),
        Kind::Boolean => Value::Boolean(value.text == "true"),
    }
}

impl Attributes for Seen<'_> {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.0.get(name).map(typed)
    }

    fn core(&self, core: Core) -> Option<Value<'_>> {
        let envelope = self.0.envelope;
        let text = match core {
            Core::Id => envelope.id(),
            Core::Source => envelope.source(),
            Core::Type => envelope.event_type(),
            Core::SpecVersion | Core::DataContentType | Core::DataSchema | Core::Subject | Core::Time => {
                return self.get(core.name());
            }
        };
        Some(Value::String(Cow::Borrowed(text)))
    }
}
