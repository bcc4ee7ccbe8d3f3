//! Routes that can never match, expressions that miss an attribute, routes that would mix two kinds of path.

use settings::{Node, codes, mentions};

use super::Found;
use crate::config::draft::Draft;
use crate::config::model::{Ack, Route};

/// Attributes that every event has, or that the specification names: comparing them needs no `EXISTS`.
const CORE: [&str; 8] = ["id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time"];

/// A route can never match.
const UNREACHABLE: &str = "W401";
/// An attribute may be missing.
const MAY_BE_MISSING: &str = "W402";
/// There is no route at all.
const NO_ROUTES: &str = "W403";

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    let sound: Vec<(&Node, &Route)> = draft
        .routes
        .iter()
        .filter(|(node, _)| !node.has_fault())
        .filter_map(|(node, route)| Some((*node, route.as_ref()?)))
        .collect();
    unreachable(&sound, found);
    mixed(&sound, found);
    volatile(draft, &sound, found);
    for (node, route) in &sound {
        if let Some(at) = node.get("when") {
            missing(route, at, found);
        }
    }
    none(draft, found);
}

fn unreachable(routes: &[(&Node, &Route)], found: &mut Found<'_>) {
    for (index, (node, route)) in routes.iter().enumerate() {
        let same = |above: &Route| above.when.is_always() || above.when.text().trim() == route.when.text().trim();
        let Some((_, above)) = routes[..index].iter().find(|(_, above)| !above.goes_on && same(above)) else {
            continue;
        };
        let span = node.get("name").map_or(node.span, |name| name.span);
        let fault = found.warning(span, UNREACHABLE, format!("route \"{}\" can never match", route.name));
        let what = if above.when.is_always() { "everything" } else { "everything that it would match" };
        found.push(
            fault
                .label(format!("{what} is already taken by \"{}\" above", above.name))
                .help(format!("add continue: true to \"{}\", or move it to the end", above.name)),
        );
    }
}

/// Two routes of one event have to be of one path: the journal, or straight to the backends.
fn mixed(routes: &[(&Node, &Route)], found: &mut Found<'_>) {
    for (index, (_, first)) in routes.iter().enumerate().filter(|(_, (_, route))| route.goes_on) {
        for (node, second) in &routes[index + 1..] {
            let differ = (first.ack == Ack::Delivered) != (second.ack == Ack::Delivered);
            let overlap = first.when.is_always()
                || second.when.is_always()
                || first.when.text().trim() == second.when.text().trim();
            if differ && overlap {
                let span = node.get("ack").or(node.get("name")).map_or(node.span, |at| at.span);
                let fault = found.error(
                    span,
                    codes::MIXED,
                    format!("routes \"{}\" and \"{}\" would take one event two ways", first.name, second.name),
                );
                found.push(
                    fault
                        .label(format!(
                            "{} here, {} in \"{}\", which goes on",
                            second.ack.word(),
                            first.ack.word(),
                            first.name
                        ))
                        .note("delivered goes straight to the backends, received and durable through the journal")
                        .help("give both the same kind of ack, or remove continue: true"),
                );
            }
            if second.when.is_always() && !second.goes_on {
                break;
            }
        }
    }
}

/// What is in memory is not durable, whatever the route says.
fn volatile(draft: &Draft<'_>, routes: &[(&Node, &Route)], found: &mut Found<'_>) {
    let at = draft.tree.root.get("journal").and_then(|journal| journal.get("memory"));
    let Some(at) = at.filter(|_| draft.journal.as_ref().is_some_and(|journal| journal.memory.is_some())) else {
        return;
    };
    for (node, route) in routes.iter().filter(|(_, route)| route.ack == Ack::Durable) {
        let said = node.get("ack");
        let span = said.or(node.get("name")).map_or(node.span, |at| at.span);
        let label = match said {
            Some(_) => "nothing is durable in memory",
            None => "its ack is durable, because it says nothing else",
        };
        let message = format!("route \"{}\" promises what a journal in memory cannot keep", route.name);
        let fault = found.error(span, codes::VALUE, message);
        found.push(
            fault
                .label(label)
                .note(format!("journal.memory is on line {}", found.line(at.span)))
                .help("write ack: delivered (every backend has it) or ack: received (a crash may lose it), or remove journal.memory"),
        );
    }
}

fn missing(route: &Route, at: &Node, found: &mut Found<'_>) {
    let all = mentions(route.when.text());
    let asked = |name: &str| all.iter().any(|mention| mention.exists && mention.name == name);
    let mut told: Vec<&str> = Vec::new();
    for mention in &all {
        let name = mention.name.as_str();
        if CORE.contains(&name) || name.starts_with("anygate") || asked(name) || told.contains(&name) {
            continue;
        }
        told.push(name);
        let span = found.tree.within(at, mention.at..mention.at + name.chars().count());
        let fault =
            found.warning(span, MAY_BE_MISSING, format!("{name} may be missing, and the route then never matches"));
        found.push(
            fault
                .label("an attribute that is missing is an error in an expression")
                .help(format!("write EXISTS {name} AND …")),
        );
    }
}

fn none(draft: &Draft<'_>, found: &mut Found<'_>) {
    let entry = draft.tree.root.entry("routes");
    if draft.routes.is_empty() && !draft.tree.root.faulty && entry.is_none_or(|entry| !entry.node.faulty) {
        let first = draft.tree.root.entries().first().map(|entry| entry.key_span).unwrap_or_default();
        let span = entry.map_or(first, |entry| entry.key_span);
        let fault = found.warning(span, NO_ROUTES, "there are no routes");
        found.push(fault.label("every event is unrouted").help("add a route: - { name: all, to: [BACKEND] }"));
    }
}
