//! Whether an expression says the same of every event: `true`, `1 = 2`, `FALSE AND type = 'a'`.
//!
//! For warnings about routes that always or never match. Sound, not complete: `type = 'a' AND type = 'b'` is not seen.

use crate::attributes::Attributes;
use crate::eval::Evaluator;
use crate::tree::{Chain, Kind, Logic, Node};
use crate::value::Value;

/// What is known of a node's truth, whatever the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    True,
    False,
    /// It always errs.
    Errs,
    /// It is false or errs, which depends on the event.
    NotTrue,
    /// It depends on the event.
    Open,
}

/// `Some(true)` if it matches every event, `Some(false)` if it matches none.
pub(crate) fn constant(root: &Node) -> Option<bool> {
    match known(root) {
        Known::True => Some(true),
        Known::False | Known::Errs | Known::NotTrue => Some(false),
        Known::Open => None,
    }
}

/// An event that is never asked.
struct NoAttributes;

impl Attributes for NoAttributes {
    fn get(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}

fn known(node: &Node) -> Known {
    if let Kind::Logic(chain) = &node.kind {
        return logic(chain);
    }
    let mut reads = false;
    node.walk(&mut |part| {
        reads |= match &part.kind {
            Kind::Attribute(_) => true,
            Kind::Exists(name) => !name.is_required(),
            _ => false,
        }
    });
    if reads {
        return match &node.kind {
            Kind::Not(operand) => match known(operand) {
                Known::True => Known::False,
                Known::False => Known::True,
                Known::Errs => Known::Errs,
                Known::NotTrue | Known::Open => Known::Open,
            },
            // No arguments are evaluated.
            Kind::Call(None, _) => Known::Errs,
            _ => Known::Open,
        };
    }
    match (Evaluator { attributes: &NoAttributes }).truth(node) {
        Ok(true) => Known::True,
        Ok(false) => Known::False,
        Err(_) => Known::Errs,
    }
}

fn logic(chain: &Chain<Logic>) -> Known {
    let mut left = known(&chain.first);
    for (op, node) in &chain.rest {
        let right = known(node);
        let right_not_true = matches!(right, Known::False | Known::Errs | Known::NotTrue);
        left = match (op, left) {
            (_, Known::Errs) => Known::Errs,
            (Logic::And, Known::True) | (Logic::Or, Known::False) => right,
            (Logic::And, Known::False) => Known::False,
            (Logic::Or, Known::True) => Known::True,
            (Logic::And, Known::NotTrue) => Known::NotTrue,
            (Logic::And, Known::Open) | (Logic::Or, Known::NotTrue) if right_not_true => Known::NotTrue,
            (Logic::And | Logic::Or, Known::Open) | (Logic::Or, Known::NotTrue) => Known::Open,
            (Logic::Xor, _) => xor(left, right),
        };
    }
    left
}

fn xor(left: Known, right: Known) -> Known {
    match (left, right) {
        (Known::Errs, _) | (Known::True | Known::False, Known::Errs) => Known::Errs,
        (_, Known::Errs) => Known::NotTrue,
        (Known::False, other) | (other, Known::False) => other,
        (Known::True, Known::True) => Known::False,
        (Known::True | Known::NotTrue | Known::Open, _) => Known::Open,
    }
}
