//! What the schema cannot say: references, addresses, templates, routes, files. Each file here is one subject; each check
//! reports all that it finds and leaves out parts that are faulty already.

mod addresses;
mod files;
mod kafka;
mod limits;
mod references;
mod routes;
mod templates;

use std::path::Path;

use settings::{Fault, Lookup, Node, Tree};

use super::draft::Draft;

/// Runs every check.
pub(super) fn run(tree: &Tree, folder: &Path, env: &Lookup<'_>, faults: &mut Vec<Fault>) {
    let draft = Draft::read(tree, faults);
    let mut found = Found { tree, faults };
    references::check(&draft, &mut found);
    addresses::check(&draft, &mut found);
    limits::check(&draft, &mut found);
    templates::check(&draft, &mut found);
    kafka::check(&draft, &mut found);
    routes::check(&draft, &mut found);
    files::check(&draft, folder, env, &mut found);
}

/// Where checks put what they find.
pub(super) struct Found<'a> {
    pub(super) tree: &'a Tree,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Found<'_> {
    /// An error at a span; the caller adds to it and pushes it.
    pub(super) fn error(&self, span: settings::Span, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::error(&self.tree.source, span, code, message)
    }

    pub(super) fn warning(&self, span: settings::Span, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::warning(&self.tree.source, span, code, message)
    }

    pub(super) fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The line of a span, for texts such as "see line 7".
    pub(super) fn line(&self, span: settings::Span) -> u32 {
        self.tree.source.position(span.start).line
    }
}

/// True when a scalar came from the environment: then its text is not in the file, and no patch can change it.
pub(super) fn from_environment(node: &Node) -> bool {
    matches!(&node.value, settings::Value::Scalar(scalar) if scalar.resolved)
}
