//! The JSON Schema (draft-07) of a configuration: one for the checker, one for editors.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

/// The schema that [`crate::check`] walks; with our `x-later` words.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Json {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema for editors: the same, without our own words, and with `${…}` allowed in the place of every scalar.
#[must_use]
pub fn for_editors(schema: &Json) -> Json {
    let mut schema = schema.clone();
    soften(&mut schema, 0);
    schema
}

/// Recursion is bounded by the depth of our own types.
fn soften(schema: &mut Json, depth: usize) {
    match schema {
        Json::Array(items) if depth < 64 => items.iter_mut().for_each(|item| soften(item, depth + 1)),
        Json::Object(map) if depth < 64 => {
            map.remove("x-later");
            // Several branches match a `${…}`; that is fine with `anyOf` only.
            if let Some(branches) = map.remove("oneOf") {
                map.insert("anyOf".to_owned(), branches);
            }
            for (word, below) in map.iter_mut() {
                match word.as_str() {
                    // Data, not schemas.
                    "default" | "const" | "enum" | "required" | "examples" => {}
                    "properties" | "definitions" => {
                        if let Json::Object(named) = below {
                            named.values_mut().for_each(|value| soften(value, depth + 1));
                        }
                    }
                    _ => soften(below, depth + 1),
                }
            }
            if refuses_references(map) {
                allow_reference(map);
            }
        }
        _ => {}
    }
}

/// True for scalars that a text `${NAME}` would not fit: numbers, booleans, fixed words.
fn refuses_references(map: &Map<String, Json>) -> bool {
    let kinds: Vec<&str> = match map.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => return map.contains_key("const") || map.contains_key("enum"),
    };
    let scalar = kinds.iter().any(|kind| ["integer", "number", "boolean", "string"].contains(kind));
    let free_text = kinds.contains(&"string") && !map.contains_key("const") && !map.contains_key("enum");
    scalar && !free_text
}

fn allow_reference(map: &mut Map<String, Json>) {
    let mut outer = Map::new();
    for word in ["description", "default", "title"] {
        if let Some(value) = map.remove(word) {
            outer.insert(word.to_owned(), value);
        }
    }
    let inner = std::mem::take(map);
    outer.insert("anyOf".to_owned(), json!([inner, { "type": "string", "pattern": "\\$\\{" }]));
    *map = outer;
}
