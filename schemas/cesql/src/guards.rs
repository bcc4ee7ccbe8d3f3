//! Which attributes an expression reads although the event may lack them.
//!
//! A missing attribute is an error, and an expression that errs does not match, not even where the other side of an `OR`
//! would. So an extension should be read only where `EXISTS` said yes before: `EXISTS severity AND severity > 3`. The
//! order counts, because evaluation goes from left to right.

use std::collections::BTreeSet;

use crate::error::Span;
use crate::tree::{Chain, Kind, Logic, Node};

type Names<'e> = BTreeSet<&'e str>;

/// Attributes that exist for sure after a node was true, and after it was false.
#[derive(Default)]
struct After<'e> {
    yes: Names<'e>,
    no: Names<'e>,
}

/// The reads that no `EXISTS` guards, in the order of the source.
pub(crate) fn unguarded(root: &Node) -> Vec<(&str, Span)> {
    let mut found = Vec::new();
    visit(root, &Names::new(), &mut found);
    found
}

fn visit<'e>(node: &'e Node, sure: &Names<'e>, found: &mut Vec<(&'e str, Span)>) -> After<'e> {
    let mut after = After::default();
    match &node.kind {
        Kind::Text(_) | Kind::Integer(_) | Kind::Boolean(_) | Kind::Call(None, _) => {}
        Kind::Attribute(name) => {
            if !name.is_required() && !sure.contains(&*name.text) {
                found.push((&name.text, node.span));
            }
        }
        Kind::Exists(name) => {
            after.yes.insert(&name.text);
        }
        Kind::Not(operand) => {
            let inner = visit(operand, sure, found);
            after = After { yes: inner.no, no: inner.yes };
        }
        Kind::Logic(chain) => return logic(chain, sure, found),
        Kind::Negate(operand) | Kind::Like { operand, .. } => {
            visit(operand, sure, found);
        }
        Kind::In { operand, set, .. } => all(std::iter::once(&**operand).chain(set), sure, found),
        Kind::Arithmetic(chain) => all(chain.operands(), sure, found),
        Kind::Compare(chain) => all(chain.operands(), sure, found),
        Kind::Call(Some(_), arguments) => all(arguments.iter(), sure, found),
    }
    after
}

fn all<'e>(nodes: impl Iterator<Item = &'e Node>, sure: &Names<'e>, found: &mut Vec<(&'e str, Span)>) {
    for node in nodes {
        visit(node, sure, found);
    }
}

fn logic<'e>(chain: &'e Chain<Logic>, sure: &Names<'e>, found: &mut Vec<(&'e str, Span)>) -> After<'e> {
    let mut left = visit(&chain.first, sure, found);
    for (op, node) in &chain.rest {
        // The right side is evaluated only after a left side that was true (AND) or false (OR).
        let known = match op {
            Logic::And => sure.union(&left.yes).copied().collect(),
            Logic::Or => sure.union(&left.no).copied().collect(),
            Logic::Xor => sure.clone(),
        };
        let right = visit(node, &known, found);
        left = match op {
            Logic::And => After { yes: &left.yes | &right.yes, no: &left.no & &right.no },
            Logic::Or => After { yes: &left.yes & &right.yes, no: &left.no | &right.no },
            Logic::Xor => After::default(),
        };
    }
    left
}
