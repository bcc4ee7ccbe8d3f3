//! The `null` backend: confirms everything and keeps nothing. For benches.
mod build;
pub mod config;

use crate::{Backend, Events, Order, Outcome, Position};
use futures_util::future::BoxFuture;
use std::future::ready;

/// Confirms at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl Backend for Null {
    fn kind(&self) -> &'static str {
        "null"
    }

    fn order(&self) -> Order {
        Order::Pipelined
    }

    fn discards(&self) -> bool {
        true
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let position = Position { place: "null".into(), partition: -1, offset: -1 };
        Box::pin(ready(vec![Outcome::Done(position); events.len()]))
    }
}
