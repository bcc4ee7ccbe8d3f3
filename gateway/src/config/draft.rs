//! A configuration that may have faults: its parts, each with its node, read as far as they can be.
//!
//! So that checks about references, addresses and routes run in the same round as those about shape. A part is `None` when
//! it cannot be read; its name counts as defined all the same.

use serde::de::DeserializeOwned;
use settings::{Fault, Node, Span, Tree};

use super::middleware::Middleware;
use super::model::{Admin, Backend, Journal, Listener, Node as Process, PayloadSchema, Route, Telemetry};
use transports::net::config::AuthMethod;

/// A part with a name.
pub(super) struct Piece<'t, T> {
    pub(super) name: &'t str,
    pub(super) key_span: Span,
    pub(super) node: &'t Node,
    pub(super) value: Option<T>,
}

impl<'t, T> Piece<'t, T> {
    /// The settings inside a one-key map: `web: { http: THIS }`.
    pub(super) fn inner(&self) -> Option<&'t Node> {
        self.node.entries().first().map(|entry| &entry.node)
    }
}

/// All parts.
pub(super) struct Draft<'t> {
    pub(super) tree: &'t Tree,
    pub(super) node: Option<Process>,
    pub(super) admin: Option<Admin>,
    pub(super) telemetry: Option<Telemetry>,
    pub(super) journal: Option<Journal>,
    pub(super) auth: Vec<Piece<'t, AuthMethod>>,
    pub(super) schemas: Vec<Piece<'t, PayloadSchema>>,
    pub(super) listeners: Vec<Piece<'t, Listener>>,
    pub(super) pipelines: Vec<Piece<'t, Vec<Middleware>>>,
    pub(super) backends: Vec<Piece<'t, Backend>>,
    pub(super) routes: Vec<(&'t Node, Option<Route>)>,
}

impl<'t> Draft<'t> {
    pub(super) fn read(tree: &'t Tree, faults: &mut Vec<Fault>) -> Self {
        let routes = tree.root.get("routes").map(Node::items).unwrap_or_default();
        Self {
            tree,
            node: one(tree, "node", faults),
            admin: one(tree, "admin", faults),
            telemetry: one(tree, "telemetry", faults),
            journal: one(tree, "journal", faults),
            auth: named(tree, "auth", faults),
            schemas: named(tree, "schemas", faults),
            listeners: named(tree, "listeners", faults),
            pipelines: named(tree, "pipelines", faults),
            backends: named(tree, "backends", faults),
            routes: routes.iter().map(|node| (node, tree.read(node, faults))).collect(),
        }
    }

    /// The steps of a pipeline, each with its node, for those that can be read.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&'t Node, Middleware)> {
        let nodes = self.pipelines.iter().flat_map(|piece| piece.node.items());
        nodes.filter_map(|node| {
            Some((node.entries().first().map(|entry| &entry.node)?, self.tree.read(node, &mut Vec::new())?))
        })
    }
}

/// A part that has defaults: the default when it is not given, `None` when it is given and cannot be read.
fn one<T: DeserializeOwned + Default>(tree: &Tree, key: &str, faults: &mut Vec<Fault>) -> Option<T> {
    match tree.root.get(key) {
        Some(node) if !node.is_absent() => tree.read(node, faults),
        _ => Some(T::default()),
    }
}

fn named<'t, T: DeserializeOwned>(tree: &'t Tree, key: &str, faults: &mut Vec<Fault>) -> Vec<Piece<'t, T>> {
    let entries = tree.root.get(key).map(Node::entries).unwrap_or_default();
    let piece = |entry: &'t settings::Entry, faults: &mut Vec<Fault>| Piece {
        name: &entry.key,
        key_span: entry.key_span,
        node: &entry.node,
        value: tree.read(&entry.node, faults),
    };
    entries.iter().map(|entry| piece(entry, faults)).collect()
}
