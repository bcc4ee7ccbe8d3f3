//! Which routes can match an event at all, found without evaluating each predicate.
//!
//! A route whose predicate cannot be true unless an attribute has one of a few values, or a prefix, is looked up by that
//! value; all other routes are candidates for every event. The index never decides: candidates are evaluated, in order. It is
//! used only where the event's value is a string, because CESQL casts other types before it compares.
use cesql::{Expression, Necessary, Test};
use schemas::{EventView, Kind};
use smallvec::SmallVec;
use std::collections::HashMap;

/// The candidates of one event, ascending.
pub type Candidates = SmallVec<[u32; 16]>;

/// The index over all predicates of one generation.
#[derive(Debug, Default)]
pub struct Index {
    /// Routes that may match whatever the event is.
    always: Vec<u32>,
    by_attribute: Vec<Attribute>,
}

/// Routes that need something of one attribute.
#[derive(Debug)]
struct Attribute {
    name: String,
    equal: HashMap<String, Vec<u32>>,
    prefixes: HashMap<String, Vec<u32>>,
    /// The lengths of all prefixes, ascending: one look-up each.
    lengths: Vec<usize>,
    /// All of them, for a value that is no string.
    all: Vec<u32>,
}

impl Index {
    /// Adds a route; in ascending order. No predicate means that it matches everything.
    pub fn add(&mut self, route: u32, predicate: Option<&Expression>) {
        let necessary = predicate.map(Expression::necessary).unwrap_or_default();
        match necessary.iter().max_by_key(|condition| worth(&condition.test)) {
            Some(best) => self.attribute(best.attribute).add(route, best),
            None => self.always.push(route),
        }
    }

    /// The routes that may match, ascending.
    pub fn candidates(&self, event: &EventView<'_>) -> Candidates {
        let mut found: Candidates = SmallVec::from_slice(&self.always);
        for attribute in &self.by_attribute {
            attribute.candidates(event, &mut found);
        }
        if !self.by_attribute.is_empty() {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    fn attribute(&mut self, name: &str) -> &mut Attribute {
        let place = match self.by_attribute.iter().position(|attribute| attribute.name == name) {
            Some(place) => place,
            None => {
                let (equal, prefixes) = (HashMap::new(), HashMap::new());
                self.by_attribute.push(Attribute {
                    name: name.to_owned(),
                    equal,
                    prefixes,
                    lengths: Vec::new(),
                    all: Vec::new(),
                });
                self.by_attribute.len() - 1
            }
        };
        &mut self.by_attribute[place]
    }
}

/// A short list of values says more than a prefix, a long prefix more than a short one.
fn worth(test: &Test<'_>) -> (bool, isize) {
    let size = |size: usize| isize::try_from(size).unwrap_or(isize::MAX);
    match test {
        Test::OneOf(values) => (true, -size(values.len())),
        Test::StartsWith(prefix) => (false, size(prefix.len())),
    }
}

impl Attribute {
    fn add(&mut self, route: u32, condition: &Necessary<'_>) {
        self.all.push(route);
        match &condition.test {
            Test::OneOf(values) => {
                for value in values {
                    self.equal.entry((*value).to_owned()).or_default().push(route);
                }
            }
            Test::StartsWith(prefix) => {
                self.prefixes.entry((*prefix).to_owned()).or_default().push(route);
                if let Err(place) = self.lengths.binary_search(&prefix.len()) {
                    self.lengths.insert(place, prefix.len());
                }
            }
        }
    }

    fn candidates(&self, event: &EventView<'_>, found: &mut Candidates) {
        // A missing attribute is an error in the predicate, and the route does not match.
        let Some(value) = event.get(&self.name) else { return };
        if value.kind != Kind::String {
            found.extend_from_slice(&self.all);
            return;
        }
        if let Some(routes) = self.equal.get(value.text) {
            found.extend_from_slice(routes);
        }
        for prefix in self.lengths.iter().map_while(|length| prefix_of(value.text, *length)).flatten() {
            if let Some(routes) = self.prefixes.get(prefix) {
                found.extend_from_slice(routes);
            }
        }
    }
}

/// The first `length` bytes: `None` when the text is shorter, `Some(None)` when they end inside a character.
fn prefix_of(text: &str, length: usize) -> Option<Option<&str>> {
    (text.len() >= length).then(|| text.get(..length))
}
