//! Why an expression matches an event or does not: each of its predicates with what it came to.
//!
//! For people and for tools that show routing step by step; the hot path is [`crate::Expression::matches`]. The predicates
//! are what AND, OR, XOR and NOT join. What was not evaluated, because the left side had decided or erred, says so.

use std::fmt;

use crate::attributes::Attributes;
use crate::error::{EvalError, Span};
use crate::eval::{Evaluated, Evaluator};
use crate::tree::{Chain, Kind, Logic, Node};
use crate::value::Value;

/// One predicate of an expression, evaluated for one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'e> {
    /// Where it stands in the expression.
    pub span: Span,
    /// Its text.
    pub text: &'e str,
    /// The attributes it names, each once, with the event's values; `None` for a missing one.
    pub attributes: Vec<(&'e str, Option<Value<'e>>)>,
    /// What came of it.
    pub outcome: Outcome<'e>,
}

/// What came of a [`Step`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'e> {
    /// It has this value.
    Value(Value<'e>),
    /// It erred, and with it the whole expression.
    Error(EvalError),
    /// It was not evaluated: what stands before it had decided.
    Skipped,
}

impl fmt::Display for Step<'_> {
    /// `type LIKE 'com.%': false (type is 'org.example')`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.text)?;
        match &self.outcome {
            Outcome::Value(value) => write!(f, "{value}")?,
            Outcome::Error(error) => write!(f, "{error}")?,
            Outcome::Skipped => return f.write_str("not evaluated"),
        }
        for (index, (name, value)) in self.attributes.iter().enumerate() {
            f.write_str(if index == 0 { " (" } else { ", " })?;
            match value {
                Some(value) => write!(f, "{name} is {value}")?,
                None => write!(f, "{name} is missing")?,
            }
        }
        if self.attributes.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// The steps of an expression, from left to right.
pub(crate) fn explain<'e, A: Attributes + ?Sized>(source: &'e str, root: &'e Node, attributes: &'e A) -> Vec<Step<'e>> {
    let mut explainer = Explainer { source, evaluator: Evaluator { attributes }, steps: Vec::new() };
    // The result is in the steps; the caller asks `matches` for the verdict.
    let _ = explainer.truth(root, true);
    explainer.steps
}

struct Explainer<'e, A: ?Sized> {
    source: &'e str,
    evaluator: Evaluator<'e, A>,
    steps: Vec<Step<'e>>,
}

impl<'e, A: Attributes + ?Sized> Explainer<'e, A> {
    /// `Err(None)`: not evaluated. `live` is whether evaluation comes here at all.
    fn truth(&mut self, node: &'e Node, live: bool) -> Result<bool, Option<EvalError>> {
        match &node.kind {
            Kind::Logic(chain) => self.logic(chain, live),
            Kind::Not(operand) if matches!(operand.kind, Kind::Logic(_) | Kind::Not(_) | Kind::Exists(_)) => {
                self.truth(operand, live).map(|truth| !truth)
            }
            _ => self.step(node, live),
        }
    }

    fn logic(&mut self, chain: &'e Chain<Logic>, live: bool) -> Result<bool, Option<EvalError>> {
        let mut left = self.truth(&chain.first, live);
        for (op, node) in &chain.rest {
            left = match (op, left) {
                (Logic::And, Ok(false)) | (Logic::Or, Ok(true)) | (_, Err(_)) => {
                    // Only to list it; it decides nothing.
                    let _ = self.truth(node, false);
                    left
                }
                (Logic::And, Ok(true)) | (Logic::Or, Ok(false)) => self.truth(node, true),
                (Logic::Xor, Ok(left)) => self.truth(node, true).map(|right| left != right),
            };
        }
        left
    }

    fn step(&mut self, node: &'e Node, live: bool) -> Result<bool, Option<EvalError>> {
        let mut attributes = Vec::new();
        node.walk(&mut |part| {
            if let Kind::Attribute(name) | Kind::Exists(name) = &part.kind
                && !attributes.iter().any(|(known, _)| *known == &*name.text)
            {
                attributes.push((&*name.text, name.read(self.evaluator.attributes)));
            }
        });
        let evaluated: Option<Evaluated<Value<'e>>> = live.then(|| self.evaluator.value(node));
        let truth = match &evaluated {
            Some(_) => self.evaluator.truth(node).map_err(|failure| Some(failure.into())),
            None => Err(None),
        };
        // A value that cannot be a Boolean errs although it has a value.
        let outcome = match (evaluated, truth) {
            (None, _) => Outcome::Skipped,
            (Some(Err(failure)), _) => Outcome::Error(failure.into()),
            (Some(Ok(_)), Err(Some(error))) => Outcome::Error(error),
            (Some(Ok(value)), _) => Outcome::Value(value),
        };
        self.steps.push(Step { span: node.span, text: node.span.of(self.source), attributes, outcome });
        truth
    }
}
