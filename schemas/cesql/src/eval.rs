//! Evaluation over borrowed attributes (specification 1.0, sections 3.2 to 3.4, 3.6 and 3.7).
//!
//! The first error ends the evaluation ("fail fast", section 4.1): what stands around it is not evaluated any more. So
//! an error is the `Err` of a `Result` here, and [`evaluate`] adds the value that the specification wants beside it.
//! Comparisons, LIKE, IN, EXISTS and logic allocate nothing as long as no Integer has to be cast to a String. Recursion
//! is bounded by the parser.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::attributes::Attributes;
use crate::error::{Cause, ErrorKind, EvalError, Span};
use crate::functions::Function;
use crate::tree::{Arithmetic, Chain, Compare, Kind, Logic, Node};
use crate::value::{Value, same};

/// What an expression is evaluated with.
pub(crate) struct Evaluator<'e, A: ?Sized> {
    pub(crate) attributes: &'e A,
}

/// [`EvalError`] in six bytes: a `Result<bool, Failure>` is returned in a register, which halves the time of a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    cause: Cause,
    start: u16,
    end: u16,
}

const _: () = assert!(crate::MAX_EXPRESSION <= u16::MAX as usize);

pub(crate) type Evaluated<T> = Result<T, Failure>;

impl Failure {
    #[cold]
    pub(crate) fn new(cause: Cause, span: Span) -> Failure {
        // Spans are within MAX_EXPRESSION, so nothing is cut off.
        let narrow = |offset| u16::try_from(offset).unwrap_or(u16::MAX);
        Failure { cause, start: narrow(span.start), end: narrow(span.end) }
    }
}

impl From<Failure> for EvalError {
    fn from(failure: Failure) -> EvalError {
        let span = Span { start: usize::from(failure.start), end: usize::from(failure.end) };
        EvalError { cause: failure.cause, span }
    }
}

/// The value of a whole expression, and its first error.
pub(crate) fn evaluate<'e, A: Attributes + ?Sized>(
    root: &'e Node,
    attributes: &'e A,
) -> (Value<'e>, Option<EvalError>) {
    let evaluator = Evaluator { attributes };
    match evaluator.value(root) {
        Ok(value) => (value, None),
        Err(failure) => (evaluator.after(root, failure), Some(failure.into())),
    }
}

impl<'e, A: Attributes + ?Sized> Evaluator<'e, A> {
    #[inline(never)]
    pub(crate) fn value(&self, node: &'e Node) -> Evaluated<Value<'e>> {
        match &node.kind {
            Kind::Text(text) => Ok(Value::from(&**text)),
            Kind::Integer(number) => Ok(Value::Integer(*number)),
            Kind::Boolean(truth) => Ok(Value::Boolean(*truth)),
            Kind::Attribute(name) => {
                name.read(self.attributes).ok_or_else(|| Failure::new(Cause::MissingAttribute, node.span))
            }
            Kind::Negate(operand) => {
                let number = self.integer(operand)?;
                number.checked_neg().map(Value::Integer).ok_or_else(|| Failure::new(Cause::Overflow, node.span))
            }
            Kind::Arithmetic(chain) => self.arithmetic(chain).map(Value::Integer),
            Kind::Call(Some(function), arguments) => self.call(*function, node.span, arguments),
            Kind::Call(None, _) => Err(Failure::new(Cause::MissingFunction, node.span)),
            Kind::Exists(_)
            | Kind::Not(_)
            | Kind::Like { .. }
            | Kind::In { .. }
            | Kind::Compare(_)
            | Kind::Logic(_) => self.truth(node).map(Value::Boolean),
        }
    }

    /// The node's value, cast to Boolean: the way in for predicates, without a `Value` in between where one is.
    pub(crate) fn truth(&self, node: &'e Node) -> Evaluated<bool> {
        match &node.kind {
            Kind::Boolean(truth) => Ok(*truth),
            Kind::Exists(name) => Ok(name.is_required() || name.read(self.attributes).is_some()),
            Kind::Not(operand) if operand.is_boolean() => Ok(!self.truth(operand)?),
            Kind::Like { operand, pattern, negated } => {
                self.with_text(operand, |text| pattern.matches(text) != *negated)
            }
            Kind::Compare(chain) => self.compare(chain),
            Kind::Logic(chain) => self.logic(chain),
            Kind::In { operand, set, negated } => Ok(self.is_in(operand, set)? != *negated),
            Kind::Text(_)
            | Kind::Integer(_)
            | Kind::Attribute(_)
            | Kind::Not(_)
            | Kind::Negate(_)
            | Kind::Arithmetic(_)
            | Kind::Call(..) => self.truth_of_value(node),
        }
    }

    /// For what has to be cast: apart from [`truth`](Self::truth), whose frame is small without it.
    #[inline(never)]
    fn truth_of_value(&self, node: &'e Node) -> Evaluated<bool> {
        if let Kind::Not(operand) = &node.kind {
            return match self.value(operand)? {
                // The kit, unlike section 3.7, refuses this one cast: `NOT 10` is a cast error.
                Value::Integer(_) => Err(Failure::new(Cause::NotOfInteger, operand.span)),
                value => Ok(!at(operand.span, value.cast_boolean())?),
            };
        }
        at(node.span, self.value(node)?.cast_boolean())
    }

    pub(crate) fn integer(&self, node: &'e Node) -> Evaluated<i32> {
        at(node.span, self.value(node)?.cast_integer())
    }

    #[inline(never)]
    pub(crate) fn string(&self, node: &'e Node) -> Evaluated<Cow<'e, str>> {
        Ok(self.value(node)?.cast_string())
    }

    #[inline(never)]
    fn logic(&self, chain: &'e Chain<Logic>) -> Evaluated<bool> {
        let mut truth = self.truth(&chain.first)?;
        for (op, node) in &chain.rest {
            match (op, truth) {
                (Logic::And, false) | (Logic::Or, true) => {}
                (Logic::And, true) | (Logic::Or, false) => truth = self.truth(node)?,
                (Logic::Xor, left) => truth = left != self.truth(node)?,
            }
        }
        Ok(truth)
    }

    /// Calls `test` with the node's value as a String. An attribute's value goes straight from the event to the test:
    /// a `Value` that is wrapped and moved on its way costs more than the test itself.
    #[inline(always)]
    fn with_text(&self, node: &'e Node, test: impl FnOnce(&str) -> bool) -> Evaluated<bool> {
        if let Kind::Attribute(name) = &node.kind
            && let Some(Value::String(Cow::Borrowed(text))) = name.read(self.attributes)
        {
            return Ok(test(text));
        }
        self.string(node).map(|text| test(&text))
    }

    /// The usual cases, something against one literal, go straight; the rest step by step.
    #[inline(always)]
    fn compare(&self, chain: &'e Chain<Compare>) -> Evaluated<bool> {
        let [(op, right)] = &*chain.rest else { return self.compare_all(chain) };
        match (op, &right.kind) {
            (Compare::Equal, Kind::Text(literal)) => {
                self.with_text(&chain.first, |text| same(text.as_bytes(), literal.as_bytes()))
            }
            (Compare::NotEqual, Kind::Text(literal)) => {
                self.with_text(&chain.first, |text| !same(text.as_bytes(), literal.as_bytes()))
            }
            (_, Kind::Integer(literal)) => {
                let left = match &chain.first.kind {
                    // By reference: a `Value` that is moved is read back before it has been written.
                    Kind::Attribute(name) => match &name.read(self.attributes) {
                        Some(value) => value.cast_integer(),
                        None => Err(Cause::MissingAttribute),
                    },
                    _ => self.value(&chain.first)?.cast_integer(),
                };
                Ok(op.holds(at(chain.first.span, left)?.cmp(literal)))
            }
            _ => self.compare_all(chain),
        }
    }

    #[inline(never)]
    fn compare_all(&self, chain: &'e Chain<Compare>) -> Evaluated<bool> {
        let mut left = self.value(&chain.first)?;
        let mut result = false;
        let mut span = chain.first.span;
        for (op, node) in &chain.rest {
            let right = self.value(node)?;
            result = match op {
                Compare::Equal => at(span, equal(left, &right))?,
                Compare::NotEqual => !at(span, equal(left, &right))?,
                Compare::Less | Compare::LessEqual | Compare::Greater | Compare::GreaterEqual => {
                    let left = at(span, left.cast_integer())?;
                    op.holds(left.cmp(&at(node.span, right.cast_integer())?))
                }
            };
            left = Value::Boolean(result);
            span = chain.first.span.to(node.span);
        }
        Ok(result)
    }

    /// The left side's type is the target of the casts here: the other way round than for `=` (section 3.7).
    #[inline(never)]
    fn is_in(&self, operand: &'e Node, set: &'e [Node]) -> Evaluated<bool> {
        let texts = || set.iter().map_while(|node| if let Kind::Text(text) = &node.kind { Some(text) } else { None });
        if let Kind::Attribute(name) = &operand.kind
            && let Some(Value::String(Cow::Borrowed(text))) = name.read(self.attributes)
        {
            if texts().any(|literal| same(text.as_bytes(), literal.as_bytes())) {
                return Ok(true);
            }
            return self.is_in_any(&Value::from(text), &set[texts().count()..]);
        }
        self.is_in_any(&self.value(operand)?, set)
    }

    #[inline(never)]
    fn is_in_any(&self, left: &Value<'e>, set: &'e [Node]) -> Evaluated<bool> {
        for node in set {
            if at(node.span, equal(self.value(node)?, left))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Left to right; both operands are evaluated before either is cast.
    #[inline(never)]
    fn arithmetic(&self, chain: &'e Chain<Arithmetic>) -> Evaluated<i32> {
        let mut value = self.value(&chain.first)?;
        let mut number = 0;
        let mut span = chain.first.span;
        for (op, node) in &chain.rest {
            let right = self.value(node)?;
            let left = at(span, value.cast_integer())?;
            let right = at(node.span, right.cast_integer())?;
            span = chain.first.span.to(node.span);
            number = at(span, calculate(*op, left, right))?;
            value = Value::Integer(number);
        }
        Ok(number)
    }

    /// The value beside an error: the zero value of the expression's type (section 3.3), unless the specification or
    /// the kit names another for an error that the outermost operator itself met.
    fn after(&self, root: &'e Node, failure: Failure) -> Value<'e> {
        let zero = root.result_type().zero();
        match (&root.kind, failure.cause.kind()) {
            (Kind::Not(operand), ErrorKind::Cast) if self.value(operand).is_ok() => Value::Boolean(true),
            (Kind::Call(Some(Function::Abs), arguments), ErrorKind::Math) => match &**arguments {
                [argument] if self.integer(argument).is_ok() => Value::Integer(i32::MAX),
                _ => zero,
            },
            (Kind::Call(Some(Function::Left | Function::Right), arguments), ErrorKind::FunctionEvaluation) => {
                match &**arguments {
                    [text, count] if self.integer(count).is_ok() => self.string(text).map_or(zero, Value::String),
                    _ => zero,
                }
            }
            _ => zero,
        }
    }
}

/// Says where a cast or a calculation failed.
#[inline]
pub(crate) fn at<T>(span: Span, result: Result<T, Cause>) -> Evaluated<T> {
    result.map_err(|cause| Failure::new(cause, span))
}

/// `x = y`, where `x` is cast to the type of `y`.
fn equal(x: Value<'_>, y: &Value<'_>) -> Result<bool, Cause> {
    Ok(match y {
        Value::String(text) => x.cast_string() == *text,
        Value::Integer(number) => x.cast_integer()? == *number,
        Value::Boolean(truth) => x.cast_boolean()? == *truth,
    })
}

impl Compare {
    /// Whether `x op y`, where `order` is how `x` stands to `y`.
    fn holds(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::NotEqual => order.is_ne(),
            Compare::Less => order.is_lt(),
            Compare::LessEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::GreaterEqual => order.is_ge(),
        }
    }
}

fn calculate(op: Arithmetic, x: i32, y: i32) -> Result<i32, Cause> {
    let number = match op {
        Arithmetic::Divide | Arithmetic::Remainder if y == 0 => return Err(Cause::DivisionByZero),
        Arithmetic::Multiply => x.checked_mul(y),
        Arithmetic::Divide => x.checked_div(y),
        // The one overflow of the division underneath (-2147483648 % -1) has the remainder 0.
        Arithmetic::Remainder => Some(x.wrapping_rem(y)),
        Arithmetic::Add => x.checked_add(y),
        Arithmetic::Subtract => x.checked_sub(y),
    };
    number.ok_or(Cause::Overflow)
}
