//! `set`: sets attributes to text with `{name}` for other attributes.
//!
//! A missing attribute refuses the event (`missing_attribute`). Values that go into `source` are percent-encoded. All values
//! are worked out before the first one is set, so the order of the config's keys does not matter.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::stack::{Batch, Item};
use schemas::{Attributes, Door, Kind, Word};
use settings::{Named, Template};
use std::{borrow::Cow, sync::Arc};

impl Plugin for Named<Template> {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        Ok(stepped(Set { attributes: self.iter().cloned().collect() }))
    }
}

/// Sets attributes.
#[derive(Clone, Debug)]
pub struct Set {
    /// Attribute and template.
    pub attributes: Vec<(String, Template)>,
}

impl Step for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn apply(&self, batch: &mut Batch) {
        for (item, door) in batch.alive() {
            if let Err((word, detail)) = self.set(item, door) {
                item.refuse(word, detail);
            }
        }
    }
}

impl Set {
    fn set(&self, item: &mut Item, door: &Door) -> Result<(), (Word, String)> {
        let view = item.view(door);
        let mut changed: Attributes = item.envelope.edit();
        for (name, template) in &self.attributes {
            let in_source = name == "source";
            let value = template
                .render(|name| {
                    view.get(name).map(|value| if in_source { encode(value.text) } else { Cow::Borrowed(value.text) })
                })
                .map_err(|missing| {
                    (
                        Word::MissingAttribute,
                        format!("set {name} needs the attribute {missing:?}, which the event has not"),
                    )
                })?;
            changed.set(name, &value, Kind::String).map_err(|fault| (fault.word, fault.detail.into_owned()))?;
        }
        let envelope =
            changed.freeze(item.envelope.data().clone()).map_err(|fault| (fault.word, fault.detail.into_owned()))?;
        item.change(envelope);
        Ok(())
    }
}

fn encode(text: &str) -> Cow<'_, str> {
    crate::stack::rules::escaped(Cow::Borrowed(text), true)
}
