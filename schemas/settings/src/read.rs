//! A checked tree into typed values, by serde.
//!
//! Faulty and empty values are left out, so that a struct whose optional field is faulty still reads. An error that the
//! schema did not foresee comes with its place.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::codes;
use crate::fault::Fault;
use crate::source::Span;
use crate::tree::{Entry, Kind, Node, Scalar, Tree, Value};

/// Why a node is no `T`, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// What serde says.
    pub message: String,
    /// The innermost node that it was about.
    pub span: Option<Span>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None }
    }
}

/// Reads a node as a `T`.
///
/// # Errors
/// The first thing that does not fit, with its span.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader { node }).map_err(|error| place(error, node))
}

/// Reads a whole tree as a `T`.
///
/// # Errors
/// The first thing that does not fit, with its span.
pub fn from_tree<T: DeserializeOwned>(tree: &Tree) -> Result<T, ReadError> {
    from_node(&tree.root)
}

impl Tree {
    /// Reads a node that may have faults: `None` when what is left cannot be a `T`. An error without a fault that explains it
    /// becomes one.
    pub fn read<T: DeserializeOwned>(&self, node: &Node, faults: &mut Vec<Fault>) -> Option<T> {
        if node.faulty {
            return None;
        }
        match from_node(node) {
            Ok(value) => Some(value),
            Err(_) if node.has_fault() => None,
            Err(error) => {
                faults.push(Fault::error(&self.source, error.span.unwrap_or(node.span), codes::VALUE, error.message));
                None
            }
        }
    }
}

fn place(mut error: ReadError, node: &Node) -> ReadError {
    error.span.get_or_insert(node.span);
    error
}

#[derive(Clone, Copy)]
struct Reader<'t> {
    node: &'t Node,
}

fn left_out(node: &Node) -> bool {
    node.faulty || node.is_absent()
}

impl Reader<'_> {
    fn scalar<'de, V: Visitor<'de>>(scalar: &Scalar, visitor: V) -> Result<V::Value, ReadError> {
        let text = scalar.text.as_str();
        match scalar.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Boolean => visitor.visit_bool(text == "true"),
            Kind::Text => visitor.visit_str(text),
            Kind::Integer => match (text.parse::<u64>(), text.parse::<i64>()) {
                (Ok(value), _) => visitor.visit_u64(value),
                (Err(_), Ok(value)) => visitor.visit_i64(value),
                (Err(_), Err(_)) => Err(de::Error::custom(format!("{text} is too large"))),
            },
            Kind::Number => match text.parse::<f64>() {
                Ok(value) => visitor.visit_f64(value),
                Err(error) => Err(de::Error::custom(error)),
            },
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let node = self.node;
        match &node.value {
            Value::Scalar(scalar) => Self::scalar(scalar, visitor),
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter() }),
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
        .map_err(|error| place(error, node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if left_out(self.node) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let node = self.node;
        match (&node.value, node.entries()) {
            (Value::Scalar(scalar), _) => visitor.visit_enum(Variant { name: &scalar.text, node: None }),
            (Value::Map(_), [only]) => visitor.visit_enum(Variant { name: &only.key, node: Some(&only.node) }),
            (Value::Map(_) | Value::List(_), _) => Err(de::Error::custom("expected a word or a map with one key")),
        }
        .map_err(|error| place(error, node))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'t> {
    rest: std::slice::Iter<'t, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        match self.rest.find(|node| !left_out(node)) {
            Some(node) => seed.deserialize(Reader { node }).map(Some).map_err(|error| place(error, node)),
            None => Ok(None),
        }
    }
}

struct Entries<'t> {
    rest: std::slice::Iter<'t, Entry>,
    value: Option<&'t Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        match self.rest.find(|entry| !left_out(&entry.node)) {
            Some(entry) => {
                self.value = Some(&entry.node);
                seed.deserialize(StringDeserializer::new(entry.key.clone())).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(node) = self.value.take() else { return Err(de::Error::custom("a value without its key")) };
        seed.deserialize(Reader { node }).map_err(|error| place(error, node))
    }
}

struct Variant<'t> {
    name: &'t str,
    node: Option<&'t Node>,
}

impl<'de, 't> EnumAccess<'de> for Variant<'t> {
    type Error = ReadError;
    type Variant = Content<'t>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'t>), ReadError> {
        let name = seed.deserialize(StringDeserializer::<ReadError>::new(self.name.to_owned()))?;
        Ok((name, Content { node: self.node }))
    }
}

struct Content<'t> {
    node: Option<&'t Node>,
}

impl Content<'_> {
    fn reader(&self) -> Result<Reader<'_>, ReadError> {
        match self.node {
            Some(node) if !left_out(node) => Ok(Reader { node }),
            _ => Err(de::Error::custom("this kind wants its settings")),
        }
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.node {
            None => Ok(()),
            Some(_) => Err(de::Error::custom("this word has no settings")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.reader()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.reader()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.reader()?.deserialize_any(visitor)
    }
}
