//! A configuration as a tree: every key and value knows where it stands.
//!
//! Promises: maps keep the order of the file; keys are unique. Does not know types: [`crate::check`] gives each scalar its
//! kind, and marks what is faulty so that readers leave it out.

use crate::source::{Source, Span};

/// How a scalar was written; quoted text is never a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes, with escapes.
    Double,
    /// A `|` or `>` block.
    Block,
}

/// What a scalar is read as; settled by the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Nothing: the key counts as not given.
    Null,
}

/// A scalar: text, and how it came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The value, environment put in.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// True when a `${…}` was put in: then it is read as whatever type its field has.
    pub resolved: bool,
    /// What it is read as.
    pub kind: Kind,
}

/// A value without its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One scalar.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in file order.
    Map(Vec<Entry>),
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its bytes; with the quotes, or the brackets.
    pub span: Span,
    /// What stands there.
    pub value: Value,
    /// True when an error was reported here: readers leave it out, so that checks behind can still run.
    pub faulty: bool,
}

/// One key of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// The key's bytes.
    pub key_span: Span,
    /// Its value.
    pub node: Node,
}

/// One step of a path; see [`crate::path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Self {
        Step::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// A path into a tree: `path!["routes", 0, "to", 1]`.
#[macro_export]
macro_rules! path {
    ($($step:expr),* $(,)?) => { &[$($crate::Step::from($step)),*][..] };
}

/// A tree and the source that it was read from.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The text.
    pub source: Source,
    /// The top of the tree; an empty map for an empty file.
    pub root: Node,
}

impl Tree {
    /// The node at a path.
    #[must_use]
    pub fn get(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Index(index) => node.at(*index),
        })
    }

    /// The span of the value at a path; of the nearest node above it when there is none.
    #[must_use]
    pub fn span(&self, path: &[Step]) -> Span {
        let mut at = path;
        loop {
            match (self.get(at), at.split_last()) {
                (Some(node), _) => return node.span,
                (None, Some((_, above))) => at = above,
                (None, None) => return self.root.span,
            }
        }
    }

    /// The span of the key at a path; of the value when the last step is a place in a list.
    #[must_use]
    pub fn key_span(&self, path: &[Step]) -> Span {
        match path.split_last() {
            Some((Step::Key(key), above)) => {
                self.get(above).and_then(|node| node.entry(key)).map_or_else(|| self.span(path), |entry| entry.key_span)
            }
            _ => self.span(path),
        }
    }

    /// The span of some characters of the scalar at a path, as positions in its value: right inside quotes, escapes and blocks.
    /// The whole scalar when the environment was put in.
    #[must_use]
    pub fn span_within(&self, path: &[Step], characters: std::ops::Range<usize>) -> Span {
        self.get(path).map_or_else(|| self.span(path), |node| self.within(node, characters))
    }

    /// The bytes of a scalar without its quotes: what a patch replaces, so that it keeps them.
    #[must_use]
    pub fn unquoted(&self, node: &Node) -> Span {
        crate::inside::unquoted(&self.source, node)
    }

    /// As [`Tree::span_within`], for a node in hand.
    #[must_use]
    pub fn within(&self, node: &Node, characters: std::ops::Range<usize>) -> Span {
        crate::inside::within(&self.source, node, characters)
    }
}

impl Node {
    /// A node without faults.
    pub(crate) fn new(span: Span, value: Value) -> Self {
        Self { span, value, faulty: false }
    }

    /// The entries of a map; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::List(_) | Value::Scalar(_) => &[],
        }
    }

    /// The items of a list; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Map(_) | Value::Scalar(_) => &[],
        }
    }

    /// The value of a key, when this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The item at a place, when this is a list that has it.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&Node> {
        self.items().get(index)
    }

    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// True for null and for an empty text: the key counts as not given.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.kind == Kind::Null
                    || scalar.text.is_empty()
                    || (scalar.resolved && scalar.text.trim().is_empty())
            }
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// True when this node or one below it is faulty: then no judgement about the whole of it is safe.
    #[must_use]
    pub fn has_fault(&self) -> bool {
        self.faulty
            || self.items().iter().any(Node::has_fault)
            || self.entries().iter().any(|entry| entry.node.has_fault())
    }

    /// What it is, as faults say it: `a list`, `a number`, ….
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text => "text",
                Kind::Integer | Kind::Number => "a number",
                Kind::Boolean => "true or false",
                Kind::Null => "nothing",
            },
        }
    }
}
