//! Envelope rules: how a bare message becomes an event, by its topic or path.
//!
//! The first rule whose pattern matches sets attributes; `{name}` in a pattern matches one level (no `/`), `+` one level and a
//! last `#` the rest, as in an MQTT filter. Rules never touch a message that is a CloudEvent already.
use schemas::{AttributeFault, Attributes, Kind, Message, Word};
use settings::{Part, Template};
use std::{borrow::Cow, net::IpAddr};
use transports::Origin;

/// The rules of one listener, in the order of the config.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `None`: matches every message.
    pattern: Option<Template>,
    set: Vec<(String, Template)>,
}

impl Rule {
    /// A rule from the config; without a pattern it matches every message.
    pub fn new(pattern: Option<Template>, set: Vec<(String, Template)>) -> Self {
        Rule { pattern, set }
    }
}

impl Rules {
    /// The rules in order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Rules { rules }
    }

    /// The number (from 1) of the rule that matches `subject`, for `explain` and `trace`.
    pub fn matching(&self, subject: &str) -> Option<usize> {
        self.rules.iter().position(|rule| captures(rule, subject).is_some()).map(|place| place + 1)
    }

    /// The pattern of the rule that matches `subject`: what spans are named after.
    pub fn pattern(&self, subject: &str) -> Option<&str> {
        let rule = self.rules.iter().find(|rule| captures(rule, subject).is_some())?;
        rule.pattern.as_ref().map(Template::text)
    }

    /// Sets the attributes of the first rule that matches. What the transport has set already (the path's type) stays.
    ///
    /// # Errors
    /// `malformed` or `too_large` when a value makes no legal attribute.
    pub fn apply(&self, message: &Message, origin: &Origin, attributes: &mut Attributes) -> Result<(), AttributeFault> {
        let Some((rule, captured)) = self.rules.iter().find_map(|rule| Some((rule, captures(rule, &message.subject)?)))
        else {
            return Ok(());
        };
        for (name, template) in &rule.set {
            if attributes.get(name).is_some() {
                continue;
            }
            let in_source = name == "source";
            let value = template
                .render(|name| look_up(name, &captured, message, origin).map(|value| escaped(value, in_source)));
            match value {
                Ok(value) => attributes.set(name, &value, Kind::String)?,
                Err(missing) => {
                    let detail =
                        format!("the envelope rule for {name:?} needs {missing:?}, which this message has not");
                    return Err(AttributeFault::new(Word::MissingAttribute, detail));
                }
            }
        }
        Ok(())
    }
}

type Captures<'m> = Vec<(String, &'m str)>;

fn captures<'m>(rule: &Rule, subject: &'m str) -> Option<Captures<'m>> {
    match &rule.pattern {
        None => Some(Vec::new()),
        Some(pattern) => matched(pattern.parts(), subject, Vec::new()),
    }
}

/// Matches the parts against the text. A placeholder takes at least one character, none of them `/`, and as few as possible;
/// patterns are bounded by the config, subjects by the listener, and each placeholder tries each place once.
fn matched<'m>(parts: &[Part], text: &'m str, mut captured: Captures<'m>) -> Option<Captures<'m>> {
    let Some((part, rest)) = parts.split_first() else { return text.is_empty().then_some(captured) };
    match part {
        Part::Text(literal) => literal_matches(literal, rest, text, captured),
        Part::Data { name, .. } => {
            let level = text.find('/').unwrap_or(text.len());
            if rest.is_empty() {
                return (level == text.len() && level > 0).then(|| {
                    captured.push((name.clone(), text));
                    captured
                });
            }
            let ends = text[..level].char_indices().skip(1).map(|(at, _)| at).chain((level > 0).then_some(level));
            for end in ends {
                if let Some(mut found) = matched(rest, &text[end..], captured.clone()) {
                    found.insert(captured.len(), (name.clone(), &text[..end]));
                    return Some(found);
                }
            }
            None
        }
    }
}

/// A literal piece of a pattern, in which `+` stands for one level and a last `#` for the rest.
fn literal_matches<'m>(literal: &str, rest: &[Part], text: &'m str, captured: Captures<'m>) -> Option<Captures<'m>> {
    let Some(wild) = literal.find(['+', '#']) else { return matched(rest, text.strip_prefix(literal)?, captured) };
    let text = text.strip_prefix(&literal[..wild])?;
    let after = &literal[wild + 1..];
    if literal[wild..].starts_with('#') {
        return (after.is_empty() && rest.is_empty()).then_some(captured);
    }
    let level = text.find('/').unwrap_or(text.len());
    literal_matches(after, rest, &text[level..], captured)
}

fn look_up<'m>(name: &str, captured: &Captures<'m>, message: &'m Message, origin: &'m Origin) -> Option<Cow<'m, str>> {
    if let Some((_, value)) = captured.iter().find(|(captured, _)| captured == name) {
        return Some(Cow::Borrowed(*value));
    }
    let some = |text: &'m str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    match name {
        "peer_ip" => Some(Cow::Owned(ip(origin.peer.ip()))),
        "listener" => some(&origin.listener),
        "principal" => some(&origin.principal.name),
        "subject" => some(&message.subject),
        "client_id" => some(&origin.client),
        _ => None,
    }
}

fn ip(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// A value that goes into `source`, a URI reference: what RFC 3986 does not allow in a path segment is percent-encoded.
pub(crate) fn escaped(value: Cow<'_, str>, in_source: bool) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    if !in_source || value.bytes().all(plain) {
        return value;
    }
    let mut out = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn find(pattern: &str, text: &str) -> Option<Vec<(String, String)>> {
        let template: Template = pattern.parse().unwrap();
        matched(template.parts(), text, Vec::new())
            .map(|found| found.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }

    #[test]
    fn patterns() {
        let three = find("sensors/{site}/{device}/{kind}", "sensors/hh/7/temperature").unwrap();
        let values: Vec<&str> = three.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["hh", "7", "temperature"]);
        assert_eq!(three[1].0, "device");
        assert!(find("sensors/{site}/{device}/{kind}", "sensors/hh/7").is_none());
        assert!(find("sensors/{site}/{device}/{kind}", "sensors/hh/7/a/b").is_none());
        assert!(find("sensors/{site}", "sensors/").is_none(), "one character at least");
        assert!(find("a/+/c", "a/b/c").is_some());
        assert!(find("a/#", "a/b/c").is_some());
        assert!(find("order.{what}", "order.created").is_some());
        assert_eq!(find("{a}-{b}", "x-y-z").unwrap()[1].1, "y-z");
    }

    #[test]
    fn source_is_escaped() {
        assert_eq!(escaped("a b/ü".into(), true), "a%20b%2F%C3%BC");
        assert_eq!(escaped("a b".into(), false), "a b");
    }
}
