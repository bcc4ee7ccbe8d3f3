//! Configuration as a tree with spans: every fault of a file in one run.
//!
//! The way of a file: [`parse`] (YAML → tree) → [`environment`] (`${NAME}` into scalars) → [`check`] (the tree against the
//! JSON Schema of the types) → the caller's own checks, which ask the [`Tree`] where things stand → [`read`] (tree → types).
//! Each step adds to one list of [`Fault`]s and leaves out what is faulty, so that one run reports everything.
//!
//! A leaf: it knows nothing of listeners, routes or backends. The value types in [`values`] are what configuration structs are
//! made of; [`render`] and [`Fault::to_json`] are how faults are shown.

pub mod check;
pub mod codes;
pub mod environment;
pub mod export;
pub mod fault;
pub mod guess;
mod inside;
pub mod parse;
pub mod read;
pub mod render;
mod scalar;
mod shape;
pub mod source;
pub mod tree;
pub mod values;

pub use check::check;
pub use environment::Lookup;
pub use fault::{Fault, Patch, Severity, any_error, sort};
pub use read::{from_node, from_tree};
pub use render::render;
pub use source::{Position, Source, Span};
pub use tree::{Entry, Kind, Node, Scalar, Step, Tree, Value};
pub use values::{
    Address, Attribute, Bad, ByteSize, Mention, Name, Named, Network, OneOrMany, Part, Period, PeriodRange, Plain,
    Pointer, Predicate, Rate, Secret, SecretText, Template, mentions,
};

/// Reads a text, puts the environment in and checks it against a schema (see [`export::schema_of`]). The tree is `None` when
/// the text is not YAML at all; otherwise it is there whatever the faults, with what is faulty marked.
#[must_use]
pub fn load(source: Source, schema: &serde_json::Value, env: &Lookup<'_>) -> (Option<Tree>, Vec<Fault>) {
    let (mut tree, mut faults) = match parse::parse(source) {
        Ok(parsed) => parsed,
        Err(faults) => return (None, faults),
    };
    environment::resolve(&mut tree, env, &mut faults);
    check(&mut tree, schema, &mut faults);
    (Some(tree), faults)
}

#[cfg(test)]
mod tests;
