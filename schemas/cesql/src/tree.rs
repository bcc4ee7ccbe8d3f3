//! The compiled form of an expression: a tree whose depth is bounded by the parser.
//!
//! Operators of one precedence level that follow each other are one node (a chain), evaluated in a loop from left to
//! right. So ten thousand `OR`s are one level deep, and recursion is bounded by the nesting that was written.

use crate::attributes::Name;
use crate::error::Span;
use crate::functions::Function;
use crate::like::Pattern;
use crate::value::Type;

/// A part of an expression. The span includes the parentheses around it, if there are any.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(Box<str>),
    Integer(i32),
    Boolean(bool),
    Attribute(Name),
    Exists(Name),
    Not(Box<Node>),
    Negate(Box<Node>),
    Like {
        operand: Box<Node>,
        pattern: Pattern,
        negated: bool,
    },
    In {
        operand: Box<Node>,
        set: Box<[Node]>,
        negated: bool,
    },
    Arithmetic(Box<Chain<Arithmetic>>),
    Compare(Box<Chain<Compare>>),
    Logic(Box<Chain<Logic>>),
    /// `None`: no function has this name and number of arguments.
    Call(Option<Function>, Box<[Node]>),
}

/// `first op node op node …`, at least one operator, from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Chain<Op> {
    pub(crate) first: Node,
    pub(crate) rest: Box<[(Op, Node)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

impl<Op> Chain<Op> {
    /// All operands, from left to right.
    pub(crate) fn operands(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.first).chain(self.rest.iter().map(|(_, node)| node))
    }
}

impl Node {
    /// The type of what this node evaluates to, Boolean where only an event could tell (section 3.2): the type whose
    /// zero value stands in after an error.
    pub(crate) fn result_type(&self) -> Type {
        match &self.kind {
            Kind::Text(_) => Type::String,
            Kind::Integer(_) | Kind::Negate(_) | Kind::Arithmetic(_) => Type::Integer,
            Kind::Call(Some(function), _) => function.result_type(),
            Kind::Boolean(_)
            | Kind::Attribute(_)
            | Kind::Exists(_)
            | Kind::Not(_)
            | Kind::Like { .. }
            | Kind::In { .. }
            | Kind::Compare(_)
            | Kind::Logic(_)
            | Kind::Call(None, _) => Type::Boolean,
        }
    }

    /// Whether this node's value, if it has one, is a Boolean, whatever the event.
    pub(crate) fn is_boolean(&self) -> bool {
        matches!(
            self.kind,
            Kind::Boolean(_)
                | Kind::Exists(_)
                | Kind::Not(_)
                | Kind::Like { .. }
                | Kind::In { .. }
                | Kind::Compare(_)
                | Kind::Logic(_)
        )
    }

    /// Calls `visit` with this node and every node below it, from left to right, parents first.
    pub(crate) fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        visit(self);
        match &self.kind {
            Kind::Text(_) | Kind::Integer(_) | Kind::Boolean(_) | Kind::Attribute(_) | Kind::Exists(_) => {}
            Kind::Not(operand) | Kind::Negate(operand) | Kind::Like { operand, .. } => operand.walk(visit),
            Kind::In { operand, set, .. } => {
                operand.walk(visit);
                set.iter().for_each(|node| node.walk(visit));
            }
            Kind::Arithmetic(chain) => chain.operands().for_each(|node| node.walk(visit)),
            Kind::Compare(chain) => chain.operands().for_each(|node| node.walk(visit)),
            Kind::Logic(chain) => chain.operands().for_each(|node| node.walk(visit)),
            Kind::Call(_, arguments) => arguments.iter().for_each(|node| node.walk(visit)),
        }
    }
}
