//! Templates and the attributes that they set: placeholders that something fills, names that may be set.

use settings::guess::{list, nearest};
use settings::{Attribute, Node, Template, codes};
use transports::net::config::{ENVELOPE_NAMES, EnvelopeRule};

use super::Found;
use crate::config::draft::Draft;
use crate::config::middleware::Middleware;
use crate::config::model::Listener;

/// Attributes that nobody sets: they say what the event is made of.
const FIXED: [&str; 3] = ["specversion", "data", "database64"];

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    for piece in &draft.listeners {
        let Some((listener, inner)) = piece.value.as_ref().zip(piece.inner()) else { continue };
        // Faulty rules were left out while reading.
        let nodes = inner
            .get("envelope")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter(|node| !node.faulty && !node.is_absent());
        for (rule, node) in listener.common().envelope.iter().zip(nodes) {
            pattern(listener, rule, node, found);
            envelope_set(rule, node, found);
        }
    }
    for (node, step) in draft.steps() {
        if let Middleware::Set(_) | Middleware::Extract(_) = step {
            settable(node, found);
        }
        if let Middleware::Set(set) = step {
            for (name, template) in &set {
                if let Some(at) = node.get(name) {
                    attributes_only(template, at, found);
                }
            }
        }
    }
}

/// Placeholders that have to be attributes of the event.
pub(super) fn attributes_only(template: &Template, at: &Node, found: &mut Found<'_>) {
    for (name, characters) in template.names() {
        if name.parse::<Attribute>().is_err() {
            let span = found.tree.within(at, characters);
            let fault = found.error(span, codes::PLACEHOLDER, format!("nothing fills {{{name}}}"));
            found.push(fault.label("here a placeholder is an attribute of the event: lower-case letters and digits"));
        }
    }
}

/// Keys of a map that sets attributes.
fn settable(set: &Node, found: &mut Found<'_>) {
    for entry in set.entries() {
        let fixed = FIXED.contains(&entry.key.as_str());
        if entry.key.starts_with("anygate") {
            let fault = found.error(entry.key_span, codes::NAME, format!("{} cannot be set", entry.key));
            found.push(
                fault
                    .label("attributes that start with anygate are the gateway's own: routes may trust them")
                    .help("choose another name"),
            );
        } else if fixed {
            let fault = found.error(entry.key_span, codes::NAME, format!("{} cannot be set", entry.key));
            found.push(fault.label("it says what the event is made of"));
        }
    }
}

fn envelope_set(rule: &EnvelopeRule, node: &Node, found: &mut Found<'_>) {
    let Some(set) = node.get("set") else { return };
    settable(set, found);
    let patterns = [&rule.topic, &rule.path, &rule.routing_key];
    let known: Vec<&str> =
        patterns.into_iter().flatten().flat_map(|pattern| pattern.names().map(|(name, _)| name)).collect();
    for (attribute, template) in &rule.set {
        let Some(at) = set.get(attribute) else { continue };
        for (name, characters) in template.names() {
            let all = || known.iter().copied().chain(ENVELOPE_NAMES);
            if all().any(|candidate| candidate == name) {
                continue;
            }
            let span = found.tree.within(at, characters);
            let fault = found.error(span, codes::PLACEHOLDER, format!("nothing fills {{{name}}}"));
            let fault = fault.label(format!("known here: {}", list(all())));
            found.push(match nearest(name, all()) {
                Some(meant) => fault.help(format!("did you mean \"{{{meant}}}\"?")),
                None => fault,
            });
        }
    }
}

/// The pattern of a rule: the one that its protocol has, each placeholder a whole level.
fn pattern(listener: &Listener, rule: &EnvelopeRule, node: &Node, found: &mut Found<'_>) {
    let right = listener.plugin().pattern_key();
    let given = [("topic", &rule.topic), ("path", &rule.path), ("routing_key", &rule.routing_key)];
    for (key, pattern) in given {
        let (Some(pattern), Some(entry)) = (pattern, node.entry(key)) else { continue };
        if key != right {
            let fault =
                found.error(entry.key_span, codes::VALUE, format!("{} messages have no {key}", listener.kind()));
            found.push(fault.label(format!("rules of this listener match {right}:")).help(format!("write {right}: …")));
        } else if let Some(bad) =
            pattern.text().split('/').find(|level| level.contains(['{', '}']) && !is_placeholder(level))
        {
            let fault =
                found.error(entry.node.span, codes::TEMPLATE, format!("\"{bad}\" mixes text and a placeholder"));
            found.push(fault.label("a placeholder stands for one whole level between two /"));
        }
    }
}

fn is_placeholder(level: &str) -> bool {
    level
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && !name.contains(['{', '}']))
}
