//! How the disk is shared out: the ring, a backlog for each backend, and the dead letters. All of it must fit on the file system.
//!
//! What the config names is promised, so a start that cannot keep the promise is refused, with the figures. What it does not name
//! is [`BACKLOG`] a backend and [`LETTERS`], or less where the file system is smaller.
use crate::config::model::Config;
use journal::OsDisk;
use settings::ByteSize;
use std::{fmt::Write as _, path::Path};

/// A backend's backlog where the config does not say.
pub const BACKLOG: ByteSize = ByteSize::gib(1);
/// Dead letters whose senders got a receipt, and those whose senders got none, where the config does not say.
pub const LETTERS: (ByteSize, ByteSize) = (ByteSize::mib(256), ByteSize::mib(64));

/// Bytes for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// In the order of the config's backends.
    pub backlogs: Vec<u64>,
    /// Dead letters whose senders got a receipt.
    pub letters: u64,
    /// Dead letters whose senders got none.
    pub letters_unconfirmed: u64,
}

impl Quotas {
    /// The quotas of a config on the file system of its data folder, which must be there, or in `journal.memory`.
    ///
    /// # Errors
    /// What the config names does not fit: the figures, and what to do.
    pub fn of(config: &Config) -> Result<Self, String> {
        // A file system that does not tell its size takes everything.
        let disk = || OsDisk.total(Path::new(&config.node.data_dir)).unwrap_or(u64::MAX);
        let total = config.journal.memory.map_or_else(disk, ByteSize::bytes);
        Self::on(config, total)
    }

    fn on(config: &Config, total: u64) -> Result<Self, String> {
        let (segment, segments) = config.journal.ring();
        let ring = segment.bytes().saturating_mul(u64::try_from(segments).unwrap_or(u64::MAX));
        let (letters, others) = (config.dead_letters.max_size, config.dead_letters.max_size_unconfirmed);
        let given: Vec<Option<ByteSize>> =
            config.backends.iter().map(|(_, backend)| backend.common().backlog.max_size).collect();
        let named = given.iter().chain([&letters, &others]).flatten();
        let named = named.map(|size| size.bytes()).fold(0u64, u64::saturating_add);
        if named > 0 && ring.saturating_add(named) > total {
            return Err(too_much(config, ring, ring.saturating_add(named), total));
        }
        let open = given.iter().chain([&letters, &others]).filter(|size| size.is_none()).count();
        let left = total.saturating_sub(ring).saturating_sub(named);
        // Never 0, which means no limit.
        let most = left.checked_div(u64::try_from(open).unwrap_or(u64::MAX)).unwrap_or(0).max(1 << 20);
        let or = |size: Option<ByteSize>, default: ByteSize| size.map_or(default.bytes().min(most), ByteSize::bytes);
        Ok(Quotas {
            backlogs: given.into_iter().map(|size| or(size, BACKLOG)).collect(),
            letters: or(letters, LETTERS.0),
            letters_unconfirmed: or(others, LETTERS.1),
        })
    }
}

fn too_much(config: &Config, ring: u64, sum: u64, total: u64) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let mut text = format!(
        "the quotas do not fit {}: it has {} MiB, they are {} MiB together",
        match config.journal.memory {
            Some(_) => "into journal.memory".to_owned(),
            None => format!("on the file system of {}", config.node.data_dir),
        },
        mib(total),
        mib(sum)
    );
    // Writing to a String cannot fail.
    let _written = write!(text, "\n  = note: journal (segments × segment_size): {} MiB", mib(ring));
    for (name, backend) in config.backends.iter() {
        if let Some(size) = backend.common().backlog.max_size {
            let _written = write!(text, "\n  = note: backends.{name} backlog.max_size: {} MiB", mib(size.bytes()));
        }
    }
    let letters = [
        ("max_size", config.dead_letters.max_size),
        ("max_size_unconfirmed", config.dead_letters.max_size_unconfirmed),
    ];
    for (key, size) in letters {
        if let Some(size) = size {
            let _written = write!(text, "\n  = note: dead_letters.{key}: {} MiB", mib(size.bytes()));
        }
    }
    text.push_str("\n  = help: make them smaller, or give it more: a larger file system for node.data_dir, or more journal.memory");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn config(backlog: &str) -> Config {
        let text = format!(
            "version: 1\njournal: {{ segments: 4, segment_size: 16MiB }}\nlisteners:\n  web: {{ http: {{ listen: \"127.0.0.1:0\" }} }}\nroutes:\n  - {{ name: all, to: [a, b] }}\nbackends:\n  a: {{ \"null\": {{ {backlog} }} }}\n  b: {{ \"null\": {{}} }}\n"
        );
        let checked = crate::config::check_text("q.yaml", &text, Path::new("."), &|_| None);
        let shown = checked.render(false);
        checked.config.unwrap_or_else(|| panic!("{shown}"))
    }

    #[test]
    fn what_is_named_must_fit_and_the_rest_makes_do() {
        let roomy = Quotas::on(&config(""), 100 << 30).unwrap();
        assert_eq!(roomy.backlogs, [BACKLOG.bytes(); 2]);
        assert_eq!((roomy.letters, roomy.letters_unconfirmed), (LETTERS.0.bytes(), LETTERS.1.bytes()));
        let small = Quotas::on(&config(""), 128 * MIB).unwrap();
        assert_eq!(small.backlogs, [16 * MIB; 2], "what the ring leaves, in equal parts");
        let named = config("backlog: { max_size: 2GiB }");
        assert_eq!(Quotas::on(&named, 4 << 30).unwrap().backlogs[0], 2 << 30);
        let refused = Quotas::on(&named, 1 << 30).unwrap_err();
        for figure in ["1024 MiB", "2112 MiB", "64 MiB", "backends.a backlog.max_size: 2048 MiB"] {
            assert!(refused.contains(figure), "{figure} is not in {refused}");
        }
    }
}
