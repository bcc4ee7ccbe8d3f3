//! The topic of an event: a fixed one, or a template with the event's attributes.
use schemas::{AttributeFault, EventView, Word};
use settings::Template;
use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Longest legal topic name.
const NAME_MAX: usize = 249;
/// Most topic names that are kept for positions; beyond it each position owns its copy.
const NAMES_KEPT: usize = 1024;

/// How an event gets its topic.
#[derive(Clone, Debug)]
pub(crate) enum TopicRule {
    /// One topic for all.
    Fixed(&'static str),
    /// By attributes. When `allowed` is not empty, it lists what may come out.
    Template { template: Template, allowed: BTreeSet<String> },
}

impl TopicRule {
    pub(crate) fn new(template: &Template, allowed: &[String]) -> TopicRule {
        match template.as_constant() {
            Some(name) => match place(name) {
                Cow::Borrowed(name) => TopicRule::Fixed(name),
                Cow::Owned(_) => TopicRule::Template { template: template.clone(), allowed: BTreeSet::new() },
            },
            None => TopicRule::Template { template: template.clone(), allowed: allowed.iter().cloned().collect() },
        }
    }

    /// The topic, when it is always the same.
    pub(crate) fn fixed(&self) -> Option<&'static str> {
        match self {
            TopicRule::Fixed(name) => Some(name),
            TopicRule::Template { .. } => None,
        }
    }

    /// Whether an event's topic may be `name`; without a list, a template may become anything.
    pub(crate) fn may_be(&self, name: &str) -> bool {
        match self {
            TopicRule::Fixed(topic) => *topic == name,
            TopicRule::Template { allowed, .. } => allowed.is_empty() || allowed.contains(name),
        }
    }

    /// The event's topic.
    ///
    /// # Errors
    /// `missing_attribute`; `malformed` for what is no legal name (Kafka would call the whole destination wrong); `forbidden`
    /// for a topic that is not listed.
    pub(crate) fn of(&self, event: &EventView<'_>) -> Result<Cow<'static, str>, AttributeFault> {
        let (template, allowed) = match self {
            TopicRule::Fixed(name) => return Ok(Cow::Borrowed(name)),
            TopicRule::Template { template, allowed } => (template, allowed),
        };
        let name =
            template.render(|name| event.get(name).map(|value| Cow::Borrowed(value.text))).map_err(|missing| {
                let detail =
                    format!("the topic {:?} needs the attribute {missing:?}, which this event lacks", template.text());
                AttributeFault::new(Word::MissingAttribute, detail)
            })?;
        if !is_legal(&name) {
            let shown: String = name.chars().take(80).collect();
            let detail = format!(
                "the topic {:?} becomes {shown:?}, which is no topic name: at most {NAME_MAX} letters, digits, '.', '_' and '-'",
                template.text()
            );
            return Err(AttributeFault::new(Word::Malformed, detail));
        }
        if !allowed.is_empty() && !allowed.contains(&name) {
            let detail = format!("the topic {name:?} is not one of this backend's topics_allowed");
            return Err(AttributeFault::new(Word::Forbidden, detail));
        }
        Ok(Cow::Owned(name))
    }
}

/// Whether Kafka takes it as a topic's name.
pub(crate) fn is_legal(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// A name for positions, shared by all that have it: names are few and live as long as the process.
pub(crate) fn place(name: &str) -> Cow<'static, str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Cow::Borrowed(known);
    }
    if names.len() == NAMES_KEPT {
        return Cow::Owned(name.to_owned());
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    Cow::Borrowed(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "orders.eu-1_x", &"x".repeat(249)] {
            assert!(is_legal(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(250)] {
            assert!(!is_legal(bad), "{bad}");
        }
    }
}
