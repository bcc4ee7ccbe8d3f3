//! Addresses: none twice, none open to the network by accident.

use settings::{Address, Node, codes};

use super::Found;
use crate::config::draft::Draft;

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    admin_is_closed(draft, found);
    listeners_are_closed(draft, found);
    twice(draft, found);
}

fn admin_is_closed(draft: &Draft<'_>, found: &mut Found<'_>) {
    let node = draft.tree.root.get("admin");
    let Some((admin, at)) = draft.admin.as_ref().zip(node.and_then(|node| node.get("listen"))) else { return };
    let token_is_faulty = node.and_then(|node| node.get("token")).is_some_and(Node::has_fault);
    if !at.faulty && !admin.listen.is_loopback() && admin.token.is_none() && !token_is_faulty {
        let fault = found.error(at.span, codes::OPEN, "admin on a non-loopback address needs a token");
        found.push(
            fault
                .label("who reaches this address could read and discard events")
                .help("add token: { file: PATH } or token: { env: NAME }, or listen on 127.0.0.1"),
        );
    }
}

fn listeners_are_closed(draft: &Draft<'_>, found: &mut Found<'_>) {
    for piece in &draft.listeners {
        let Some((listener, inner)) = piece.value.as_ref().zip(piece.inner()) else { continue };
        let Some(at) = inner.get("listen") else { continue };
        let auth_is_faulty = inner.get("auth").is_some_and(Node::has_fault);
        let common = listener.common();
        if !common.listen.is_loopback() && common.auth.is_none() && !auth_is_faulty {
            let fault = found.error(at.span, codes::OPEN, "a listener off loopback needs auth");
            found.push(
                fault
                    .label("everybody who reaches this address could send")
                    .help("add auth: NAME of an entry of the top-level auth, or auth: none if that is meant"),
            );
        }
    }
}

fn twice(draft: &Draft<'_>, found: &mut Found<'_>) {
    let mut seen: Vec<(Address, String)> = Vec::new();
    if let Some(admin) = &draft.admin {
        let written = draft.tree.root.get("admin").and_then(|node| node.get("listen"));
        let place =
            written.map_or_else(|| "by default".to_owned(), |node| format!("on line {}", found.line(node.span)));
        seen.push((admin.listen.clone(), format!("the admin address has it {place}")));
    }
    for piece in &draft.listeners {
        let Some((listener, inner)) = piece.value.as_ref().zip(piece.inner()) else { continue };
        let (Some(at), address) = (inner.get("listen"), &listener.common().listen) else { continue };
        match seen.iter().find(|(other, _)| other.clashes(address)) {
            Some((_, who)) => {
                let fault = found.error(at.span, codes::ADDRESS_TWICE, format!("{address} is taken"));
                found.push(fault.label(who.clone()).help("choose another port"));
            }
            None => {
                seen.push((address.clone(), format!("listener {} has it on line {}", piece.name, found.line(at.span))));
            }
        }
    }
}
