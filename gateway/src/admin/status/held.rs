//! Streams that wait behind a held head, as `status` shows them.
use crate::{admin::rfc3339, stack::held::HeldStream};
use serde::{Deserialize, Serialize};

/// Most held streams that are named.
pub const HELD_SHOWN: usize = 20;

/// A stream whose head is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldStatus {
    /// The listener.
    pub listener: String,
    /// Who sends: principal and client id as far as they are known, and the address.
    pub sender: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// For how long.
    pub seconds: u64,
    /// The failure word of what it waits for.
    pub failure: String,
    /// In words.
    pub why: String,
}

impl HeldStatus {
    pub(super) fn of(stream: &HeldStream) -> Self {
        let known = [stream.principal.as_str(), stream.client.as_str()];
        let mut sender: Vec<String> =
            known.iter().filter(|name| !name.is_empty()).map(|name| (*name).to_owned()).collect();
        sender.push(stream.peer.to_string());
        HeldStatus {
            listener: stream.listener.to_string(),
            sender: sender.join(" "),
            since: rfc3339(stream.since),
            seconds: stream.since.elapsed().unwrap_or_default().as_secs(),
            failure: stream.word.as_str().to_owned(),
            why: stream.why.clone(),
        }
    }
}
