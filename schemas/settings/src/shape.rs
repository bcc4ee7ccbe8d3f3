//! What a JSON Schema allows at one place, flattened: `$ref`, `allOf`, `anyOf`, `oneOf` are followed once, so that the checker
//! sees one list of possibilities.
//!
//! Covers what `schemars` writes for our types (draft-07) and two words of our own: `format` (see [`crate::values`]) and
//! `x-later`, a map from keys that a later capability brings to a line that says so.

use serde_json::{Map, Value as Json};

use crate::guess;
use crate::values;

/// A range of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

/// A map with known keys, or with keys of the user's.
pub(crate) struct Object<'s> {
    pub(crate) properties: Option<&'s Map<String, Json>>,
    pub(crate) required: Vec<&'s str>,
    /// The schema of keys that are not in `properties`; `None` when there may be none.
    pub(crate) additional: Option<&'s Json>,
    /// The format that keys have to have.
    pub(crate) keys: Option<&'s str>,
}

/// A list.
pub(crate) struct List<'s> {
    pub(crate) items: Option<&'s Json>,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// Everything that may stand at one place.
#[derive(Default)]
pub(crate) struct Shape<'s> {
    pub(crate) any: bool,
    pub(crate) words: Vec<&'s str>,
    pub(crate) choices: Vec<(&'s str, &'s Json)>,
    pub(crate) object: Option<Object<'s>>,
    pub(crate) list: Option<List<'s>>,
    /// Free text; with its format.
    pub(crate) text: Option<Option<&'s str>>,
    pub(crate) integer: Option<Bounds>,
    pub(crate) number: Option<Bounds>,
    pub(crate) boolean: bool,
    pub(crate) later: Vec<(&'s str, &'s str)>,
}

impl<'s> Shape<'s> {
    /// Reads a schema; `root` holds the definitions.
    pub(crate) fn of(root: &'s Json, schema: &'s Json) -> Self {
        let mut shape = Self::default();
        shape.collect(root, schema, false, 0);
        shape
    }

    fn collect(&mut self, root: &'s Json, schema: &'s Json, union: bool, depth: usize) {
        let Json::Object(map) = schema else {
            self.any |= schema == &Json::Bool(true);
            return;
        };
        if depth > 16 {
            return;
        }
        if let Some(later) = map.get("x-later").and_then(Json::as_object) {
            self.later.extend(later.iter().filter_map(|(key, why)| Some((key.as_str(), why.as_str()?))));
        }
        if let Some(target) =
            map.get("$ref").and_then(Json::as_str).and_then(|path| root.pointer(path.trim_start_matches('#')))
        {
            self.collect(root, target, union, depth + 1);
        }
        for (word, union) in [("allOf", union), ("anyOf", true), ("oneOf", true)] {
            for branch in map.get(word).and_then(Json::as_array).into_iter().flatten() {
                self.collect(root, branch, union, depth + 1);
            }
        }
        let constants = map.get("enum").and_then(Json::as_array).into_iter().flatten().chain(map.get("const"));
        let words: Vec<&str> = constants.filter_map(Json::as_str).collect();
        if !words.is_empty() {
            self.words.extend(words);
            return;
        }
        match map.get("type") {
            Some(Json::String(one)) => self.add(one, map, union),
            Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).for_each(|one| self.add(one, map, union)),
            _ => {}
        }
    }

    fn add(&mut self, kind: &str, map: &'s Map<String, Json>, union: bool) {
        let bounds =
            Bounds { low: map.get("minimum").and_then(Json::as_f64), high: map.get("maximum").and_then(Json::as_f64) };
        let count = |word: &str| map.get(word).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
        match kind {
            "string" => self.text = Some(map.get("format").and_then(Json::as_str)),
            "boolean" => self.boolean = true,
            "integer" => self.integer = Some(bounds),
            "number" => self.number = Some(bounds),
            "array" => {
                let (least, most) = (count("minItems").unwrap_or(0), count("maxItems").unwrap_or(usize::MAX));
                self.list = Some(List { items: map.get("items"), least, most });
            }
            "object" => self.add_object(map, union),
            _ => {}
        }
    }

    fn add_object(&mut self, map: &'s Map<String, Json>, union: bool) {
        let properties = map.get("properties").and_then(Json::as_object);
        let required: Vec<&str> =
            map.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        let additional = match map.get("additionalProperties") {
            None | Some(Json::Bool(false)) => None,
            Some(schema) => Some(schema),
        };
        if let (true, Some(properties), [key], None) = (union, properties, required.as_slice(), additional)
            && properties.len() == 1
            && let Some(schema) = properties.get(*key)
        {
            self.choices.push((key, schema));
            return;
        }
        let keys = map.get("propertyNames").and_then(|names| names.get("format")).and_then(Json::as_str);
        self.object = Some(Object { properties, required, additional, keys });
    }

    /// The names of the choices.
    pub(crate) fn choice_names(&self) -> impl Iterator<Item = &'s str> {
        self.choices.iter().map(|(name, _)| *name)
    }

    /// What is wanted here, for "wants …".
    pub(crate) fn nouns(&self) -> String {
        let mut nouns: Vec<String> = self.words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(format) = self.text {
            nouns.push(format.and_then(values::format).map_or("text", |format| format.noun).to_owned());
        }
        if self.integer.is_some() || self.number.is_some() {
            nouns.push(if self.number.is_some() { "a number" } else { "a whole number" }.to_owned());
        }
        // An expression may be written as `true`; that needs no word of its own.
        if self.boolean && self.text.is_none() {
            nouns.push("true or false".to_owned());
        }
        if self.list.is_some() {
            nouns.push("a list".to_owned());
        }
        if self.object.is_some() {
            nouns.push("a map".to_owned());
        }
        if !self.choices.is_empty() {
            nouns.push(format!("a map with one of: {}", guess::list(self.choice_names())));
        }
        either(&nouns)
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either(nouns: &[String]) -> String {
    match nouns {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
