//! The tree against its schema: every fault in one walk.
//!
//! Promises: the walk never stops at a fault; each scalar that passes has its [`Kind`]; each node with a fault is marked, so
//! that later checks can leave it out. Recursion is bounded by [`crate::parse::MAX_DEPTH`].

use serde_json::Value as Json;

use crate::codes;
use crate::fault::Fault;
use crate::guess::{list, nearest};
use crate::shape::{List, Object, Shape};
use crate::source::{Source, Span};
use crate::tree::{Entry, Kind, Node, Tree, Value};
use crate::values;

/// Checks a tree against a schema of `schemars` (draft-07).
pub fn check(tree: &mut Tree, schema: &Json, faults: &mut Vec<Fault>) {
    let mut root = std::mem::replace(&mut tree.root, Node::new(Span::default(), Value::List(Vec::new())));
    let mut walk = Walk { schema, source: &tree.source, faults, path: Vec::new() };
    let start = root.entries().first().map_or(Span::default(), |entry| entry.key_span);
    walk.node(&mut root, schema, start);
    tree.root = root;
}

pub(crate) struct Walk<'a> {
    pub(crate) schema: &'a Json,
    pub(crate) source: &'a Source,
    pub(crate) faults: &'a mut Vec<Fault>,
    pub(crate) path: Vec<String>,
}

impl Walk<'_> {
    /// `anchor` is the key above: where a fault about something missing points to.
    fn node(&mut self, node: &mut Node, schema: &Json, anchor: Span) {
        if node.faulty {
            return;
        }
        let root = self.schema;
        let shape = Shape::of(root, schema);
        if shape.any {
            return;
        }
        match &node.value {
            Value::Scalar(_) => self.scalar(node, &shape),
            Value::List(_) => match &shape.list {
                Some(list) => self.list(node, list),
                None => self.wrong_type(node, &shape),
            },
            Value::Map(_) if !shape.choices.is_empty() && shape.object.is_none() => self.choice(node, &shape, anchor),
            Value::Map(_) => match &shape.object {
                Some(object) => self.object(node, object, &shape, anchor),
                None => self.wrong_type(node, &shape),
            },
        }
    }

    pub(crate) fn fault(&mut self, node: &mut Node, fault: Fault) {
        node.faulty = true;
        self.faults.push(fault);
    }

    pub(crate) fn error(&self, span: Span, code: &'static str, message: String) -> Fault {
        Fault::error(self.source, span, code, message)
    }

    /// The name of what is checked: its last key, and the place in a list.
    pub(crate) fn name(&self) -> String {
        match self.path.as_slice() {
            [] => "the file".to_owned(),
            [.., list, item] if item.starts_with('[') => format!("{list}{item}"),
            [.., last] => last.clone(),
        }
    }

    fn place(&self) -> String {
        if self.path.is_empty() {
            "at the top level".to_owned()
        } else {
            format!("in {}", self.path.join(".").replace(".[", "["))
        }
    }

    pub(crate) fn wrong_type(&mut self, node: &mut Node, shape: &Shape<'_>) {
        let message = format!("{} wants {}, not {}", self.name(), shape.nouns(), node.noun());
        let mut fault = self.error(node.span, codes::WRONG_TYPE, message);
        if let Some(format) = shape.text.flatten().and_then(values::format) {
            fault = fault.help(format!("write it as in {}", format.example));
        }
        self.fault(node, fault);
    }

    fn list(&mut self, node: &mut Node, allowed: &List<'_>) {
        let count = node.items().len();
        if count < allowed.least {
            let fault = self
                .error(node.span, codes::RANGE, format!("{} is empty", self.name()))
                .label(format!("at least {}", allowed.least));
            self.fault(node, fault);
        } else if count > allowed.most {
            let message = format!("{} has {count} items", self.name());
            let fault = self.error(node.span, codes::RANGE, message).label(format!("at most {}", allowed.most));
            self.fault(node, fault);
        }
        let Value::List(items) = &mut node.value else { return };
        let Some(schema) = allowed.items else { return };
        for (index, item) in items.iter_mut().enumerate() {
            let name = item.get("name").and_then(Node::text).map_or_else(|| index.to_string(), str::to_owned);
            self.path.push(format!("[{name}]"));
            if item.is_absent() {
                let fault = self
                    .error(item.span, codes::MISSING, "this item is empty".to_owned())
                    .help("write it, or remove the line");
                self.fault(item, fault);
            } else {
                self.node(item, schema, item.span);
            }
            self.path.pop();
        }
    }

    fn object(&mut self, node: &mut Node, object: &Object<'_>, shape: &Shape<'_>, anchor: Span) {
        let Value::Map(entries) = &mut node.value else { return };
        for entry in &mut *entries {
            let known = object.properties.and_then(|properties| properties.get(&entry.key));
            match known.or(object.additional) {
                Some(schema) => self.entry(entry, schema, known.is_none(), object.keys),
                None => self.unknown(entry, object, shape),
            }
        }
        for key in &object.required {
            match entries.iter().find(|entry| entry.key == *key) {
                Some(entry) if entry.node.is_absent() && !entry.node.faulty => {
                    let fault = self
                        .error(entry.key_span, codes::MISSING, format!("{key} is empty"))
                        .label(format!("needed {}", self.place()));
                    node.faulty = true;
                    self.faults.push(fault);
                }
                Some(_) => {}
                None => {
                    let fault =
                        self.error(anchor, codes::MISSING, format!("the key {key} is missing {}", self.place()));
                    let fault = fault.label(format!("needs {key}: …"));
                    node.faulty = true;
                    self.faults.push(fault);
                }
            }
        }
    }

    fn entry(&mut self, entry: &mut Entry, schema: &Json, free: bool, keys: Option<&str>) {
        self.path.push(entry.key.clone());
        if free
            && let Some(format) = keys.and_then(values::format)
            && let Err(bad) = (format.check)(&entry.key)
        {
            let message = format!("{} is not {}", entry.key, format.noun);
            let mut fault = self.error(entry.key_span, codes::NAME, message).label(bad.message);
            fault.help = bad.help;
            self.fault(&mut entry.node, fault);
        }
        if entry.node.is_absent() {
            if free && Shape::of(self.schema, schema).text.is_none() {
                let fault = self.error(entry.key_span, codes::MISSING, format!("{} says nothing", entry.key));
                let fault = fault.label(format!("wants {}", Shape::of(self.schema, schema).nouns()));
                self.fault(&mut entry.node, fault);
            }
        } else {
            self.node(&mut entry.node, schema, entry.key_span);
        }
        self.path.pop();
    }

    fn unknown(&mut self, entry: &mut Entry, object: &Object<'_>, shape: &Shape<'_>) {
        let key = entry.key.clone();
        let fault = if let Some(fault) = self.later(&key, entry.key_span, shape) {
            fault
        } else {
            let known = || object.properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str));
            let fault =
                self.error(entry.key_span, codes::UNKNOWN_FIELD, format!("unknown field \"{key}\" {}", self.place()));
            match nearest(&key, known()) {
                Some(meant) => fault.help(format!("did you mean \"{meant}\"?")).patch(entry.key_span, meant),
                None => fault.note(format!("known here: {}", list(known()))),
            }
        };
        self.fault(&mut entry.node, fault);
    }

    /// The fault of a key or word that a later capability brings.
    pub(crate) fn later(&self, word: &str, span: Span, shape: &Shape<'_>) -> Option<Fault> {
        let (_, why) = shape.later.iter().find(|(key, _)| *key == word)?;
        let fault = self.error(span, codes::LATER, format!("{word} is not built yet {}", self.place()));
        Some(fault.label(*why).help(format!("remove {word} until this program has it; it is refused, not ignored")))
    }

    fn choice(&mut self, node: &mut Node, shape: &Shape<'_>, anchor: Span) {
        let names = || shape.choice_names();
        let Value::Map(entries) = &mut node.value else { return };
        let (name, place) = (self.name(), self.place());
        let Some((first, more)) = entries.split_first_mut() else {
            let fault = self
                .error(anchor, codes::CHOICE, format!("{name} says nothing"))
                .label(format!("wants one of: {}", list(names())));
            return self.fault(node, fault);
        };
        let mut faulty = false;
        if let Some(second) = more.first() {
            let message = format!("{} and {} stand side by side {place}", first.key, second.key);
            self.faults
                .push(self.error(second.key_span, codes::CHOICE, message).label("only one of them may be given"));
            faulty = true;
        }
        match shape.choices.iter().find(|(key, _)| *key == first.key) {
            Some((key, schema)) => {
                self.path.push(first.key.clone());
                if first.node.is_absent() {
                    let fault = self.error(first.key_span, codes::CHOICE, format!("{key} says nothing"));
                    let fault = fault.label(format!("wants {}", Shape::of(self.schema, schema).nouns()));
                    self.fault(&mut first.node, fault.help(format!("write {key}: {{}} to take its defaults")));
                } else {
                    self.node(&mut first.node, schema, first.key_span);
                }
                self.path.pop();
            }
            None => {
                let fault = self.later(&first.key, first.key_span, shape).unwrap_or_else(|| {
                    let message = format!("unknown kind \"{}\" {place}", first.key);
                    let fault =
                        self.error(first.key_span, codes::CHOICE, message).label(format!("one of: {}", list(names())));
                    match nearest(&first.key, names()) {
                        Some(meant) => fault.help(format!("did you mean \"{meant}\"?")).patch(first.key_span, meant),
                        None => fault,
                    }
                });
                self.faults.push(fault);
                faulty = true;
            }
        }
        node.faulty |= faulty;
    }
}

/// Marks a scalar as read.
pub(crate) fn settle(node: &mut Node, kind: Kind) {
    if let Value::Scalar(scalar) = &mut node.value {
        scalar.kind = kind;
    }
}
