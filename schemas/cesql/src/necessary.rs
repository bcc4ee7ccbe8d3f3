//! What must hold of an event for an expression to match it: the conditions a router can index.
//!
//! Sound, not complete: if the expression evaluates to true without an error, and the attribute's value is a String,
//! then each condition holds. Only forms where both sides are Strings are read (`attribute = 'a'`, `IN ('a', 'b')`,
//! `LIKE 'prefix%'`), because any other is compared after a cast, which an index over strings would miss.

use crate::like::Pattern;
use crate::tree::{Chain, Compare, Kind, Logic, Node};

/// A condition on one attribute, without which the expression does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Necessary<'e> {
    /// The attribute. It is present in every event that matches.
    pub attribute: &'e str,
    /// What its value is, if it is a String.
    pub test: Test<'e>,
}

/// What a [`Necessary`] condition says of a String.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test<'e> {
    /// It is one of these; sorted, each once, at least one.
    OneOf(Vec<&'e str>),
    /// It starts with this, which is not empty.
    StartsWith(&'e str),
}

impl Test<'_> {
    /// Whether a value passes.
    #[must_use]
    pub fn holds(&self, value: &str) -> bool {
        match self {
            Test::OneOf(values) => values.binary_search(&value).is_ok(),
            Test::StartsWith(prefix) => value.starts_with(prefix),
        }
    }
}

/// Conditions that hold whenever `node` is true.
pub(crate) fn necessary(node: &Node) -> Vec<Necessary<'_>> {
    match &node.kind {
        Kind::Logic(chain) => logic(chain),
        Kind::Compare(chain) => equality(chain).into_iter().collect(),
        Kind::In { operand, set, negated: false } => one_of(operand, set).into_iter().collect(),
        Kind::Like { operand, pattern, negated: false } => like(operand, pattern).into_iter().collect(),
        Kind::Text(_)
        | Kind::Integer(_)
        | Kind::Boolean(_)
        | Kind::Attribute(_)
        | Kind::Exists(_)
        | Kind::Not(_)
        | Kind::Negate(_)
        | Kind::Like { negated: true, .. }
        | Kind::In { negated: true, .. }
        | Kind::Arithmetic(_)
        | Kind::Call(..) => Vec::new(),
    }
}

fn logic(chain: &Chain<Logic>) -> Vec<Necessary<'_>> {
    let mut known = necessary(&chain.first);
    for (op, node) in &chain.rest {
        match op {
            Logic::And => known.extend(necessary(node)),
            Logic::Or => known = either(&known, &necessary(node)),
            Logic::Xor => known.clear(),
        }
    }
    known
}

/// One side holds: an attribute that both sides list has a value from one of the two lists.
fn either<'e>(left: &[Necessary<'e>], right: &[Necessary<'e>]) -> Vec<Necessary<'e>> {
    let mut both = Vec::new();
    for Necessary { attribute, test } in left {
        let Test::OneOf(mine) = test else { continue };
        let theirs = right.iter().find_map(|other| match &other.test {
            Test::OneOf(values) if other.attribute == *attribute => Some(values),
            Test::OneOf(_) | Test::StartsWith(_) => None,
        });
        if let Some(theirs) = theirs {
            both.push(Necessary { attribute, test: values(mine.iter().chain(theirs).copied().collect()) });
        }
    }
    both
}

fn values(mut values: Vec<&str>) -> Test<'_> {
    values.sort_unstable();
    values.dedup();
    Test::OneOf(values)
}

/// `attribute = 'text'` and `'text' = attribute`, alone.
fn equality(chain: &Chain<Compare>) -> Option<Necessary<'_>> {
    let [(Compare::Equal, right)] = &*chain.rest else { return None };
    match (&chain.first.kind, &right.kind) {
        (Kind::Attribute(name), Kind::Text(text)) | (Kind::Text(text), Kind::Attribute(name)) => {
            Some(Necessary { attribute: &name.text, test: Test::OneOf(vec![text]) })
        }
        _ => None,
    }
}

fn one_of<'e>(operand: &'e Node, set: &'e [Node]) -> Option<Necessary<'e>> {
    let Kind::Attribute(name) = &operand.kind else { return None };
    let texts = set.iter().map(|node| match &node.kind {
        Kind::Text(text) => Some(&**text),
        _ => None,
    });
    Some(Necessary { attribute: &name.text, test: values(texts.collect::<Option<Vec<_>>>()?) })
}

fn like<'e>(operand: &'e Node, pattern: &'e Pattern) -> Option<Necessary<'e>> {
    let Kind::Attribute(name) = &operand.kind else { return None };
    let test = match pattern {
        Pattern::Exact(text) => Test::OneOf(vec![text]),
        Pattern::Ends { prefix, .. } | Pattern::General { prefix, .. } if !prefix.is_empty() => {
            Test::StartsWith(prefix)
        }
        Pattern::Ends { .. } | Pattern::Contains(_) | Pattern::General { .. } => return None,
    };
    Some(Necessary { attribute: &name.text, test })
}
