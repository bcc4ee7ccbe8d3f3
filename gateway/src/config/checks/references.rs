//! Names that refer to something: backends, pipelines, auth, schemas; and names that are defined twice.

use settings::guess::{list, nearest};
use settings::{Node, codes};
use transports::net::config::ListenerAuth;

use super::{Found, from_environment};
use crate::config::draft::{Draft, Piece};
use crate::config::middleware::Middleware;

/// The most backends: the journal's records have one bit for each, and one for dead letters.
const MAX_BACKENDS: usize = 63;

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    let backends: Vec<&str> = names(&draft.backends);
    let pipelines: Vec<&str> = names(&draft.pipelines);
    let schemas: Vec<&str> = names(&draft.schemas);
    let auth: Vec<&str> = names(&draft.auth);
    let codecs: Vec<&str> =
        codecs::builtin().iter().map(|codec| codec.name()).filter(|name| *name != "cloudevents").collect();
    for (node, _) in &draft.routes {
        each(node.get("to"), |item| refer(item, "backend", &backends, found));
        each(node.get("pipeline"), |item| refer(item, "pipeline", &pipelines, found));
    }
    for piece in &draft.listeners {
        let Some(inner) = piece.inner() else { continue };
        each(inner.get("pipeline"), |item| refer(item, "pipeline", &pipelines, found));
        if let Some(node) = inner.get("codec") {
            refer(node, "codec", &codecs, found);
        }
        let named = matches!(
            piece.value.as_ref().and_then(|listener| listener.common().auth.as_ref()),
            Some(ListenerAuth::Named(_))
        );
        if let (true, Some(node)) = (named, inner.get("auth")) {
            refer(node, "auth", &auth, found);
        }
    }
    for (node, step) in draft.steps() {
        if let (Middleware::Validate(_), Some(schema)) = (step, node.get("schema")) {
            refer(schema, "schema", &schemas, found);
        }
    }
    renames(draft, found);
    reserved(draft, found);
    counts(draft, found);
    route_names(draft, found);
}

fn names<'t, T>(pieces: &[Piece<'t, T>]) -> Vec<&'t str> {
    pieces.iter().map(|piece| piece.name).collect()
}

fn each(list: Option<&Node>, mut check: impl FnMut(&Node)) {
    for item in list.map(Node::items).unwrap_or_default() {
        check(item);
    }
}

fn refer(node: &Node, what: &str, known: &[&str], found: &mut Found<'_>) {
    let Some(name) = node.text().filter(|name| !node.faulty && !known.contains(name)) else { return };
    let plural = if what == "auth" { "auth entries".to_owned() } else { format!("{what}s") };
    let mut fault = found
        .error(node.span, codes::REFERENCE, format!("no {what} named \"{name}\""))
        .label(format!("{plural} defined here: {}", list(known.iter().copied())));
    if let Some(meant) = nearest(name, known.iter().copied()) {
        fault = fault.help(format!("did you mean \"{meant}\"?"));
        if !from_environment(node) {
            fault = fault.patch(found.tree.unquoted(node), meant);
        }
    }
    found.push(fault);
}

/// A lane has one owner: nobody takes over the lane of a backend that is still here, and no two take over the same one.
fn renames(draft: &Draft<'_>, found: &mut Found<'_>) {
    let mut seen: Vec<(&str, &Node)> = Vec::new();
    for piece in &draft.backends {
        let Some(at) = piece.inner().and_then(|inner| inner.get("renamed_from")).filter(|at| !at.faulty) else {
            continue;
        };
        let Some(old) = at.text() else { continue };
        if draft.backends.iter().any(|other| other.name == old) {
            let fault = found.error(at.span, codes::TWICE, format!("backend \"{old}\" is still here"));
            found.push(
                fault.label("renamed_from names a backend that is gone").help("remove renamed_from, or the other one"),
            );
        } else if let Some((_, first)) = seen.iter().find(|(known, _)| *known == old) {
            let line = found.line(first.span);
            let fault = found.error(at.span, codes::TWICE, format!("two backends were called \"{old}\""));
            found.push(fault.label(format!("the first one is on line {line}")).help("its events go to one of them"));
        } else {
            seen.push((old, at));
        }
    }
}

/// `none` says that a listener needs no auth, so nothing can have that name.
fn reserved(draft: &Draft<'_>, found: &mut Found<'_>) {
    for piece in draft.auth.iter().filter(|piece| piece.name == "none") {
        let fault = found.error(piece.key_span, codes::NAME, "an auth entry cannot be called \"none\"");
        found.push(fault.label("auth: none means that everybody may send").help("give it another name"));
    }
}

fn counts(draft: &Draft<'_>, found: &mut Found<'_>) {
    if let Some(piece) = draft.backends.get(MAX_BACKENDS) {
        let fault =
            found.error(piece.key_span, codes::RANGE, format!("{} backends are too many", draft.backends.len()));
        found.push(fault.label(format!("at most {MAX_BACKENDS}")));
    }
    let sections = [
        ("listeners", draft.listeners.len(), "nothing can come in"),
        ("backends", draft.backends.len(), "nothing can go out"),
    ];
    for (key, count, why) in sections {
        if let (0, Some(entry)) = (count, draft.tree.root.entry(key))
            && !entry.node.faulty
            && !entry.node.is_absent()
        {
            let fault = found.error(entry.key_span, codes::RANGE, format!("{key} is empty: {why}"));
            found.push(fault.label("at least 1"));
        }
    }
}

fn route_names(draft: &Draft<'_>, found: &mut Found<'_>) {
    let mut seen: Vec<(&str, &Node)> = Vec::new();
    for (node, _) in &draft.routes {
        let Some((name, at)) = node.get("name").filter(|at| !at.faulty).and_then(|at| Some((at.text()?, at))) else {
            continue;
        };
        match seen.iter().find(|(known, _)| *known == name) {
            Some((_, first)) => {
                let line = found.line(first.span);
                let fault = found.error(at.span, codes::TWICE, format!("two routes are called \"{name}\""));
                found.push(
                    fault.label(format!("the first one is on line {line}")).help("give one of them another name"),
                );
            }
            None => seen.push((name, at)),
        }
    }
}
