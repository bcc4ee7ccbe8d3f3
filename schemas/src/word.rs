//! The failure words: one word per failure, the same in answers, metrics, logs, dead letters and the manual.
//!
//! They are written down once, in `schemas/words.json`; this enum and its table, the page `docs`, `anygate errors` and the
//! test *word × protocol* are made from it. A transport maps a word to its protocol's answer in one exhaustive function.
use std::{fmt, str::FromStr};

include!(concat!(env!("OUT_DIR"), "/words.rs"));

/// What is known about one word.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The word itself.
    pub word: Word,
    /// As written in answers, metrics and logs: lower case with underscores.
    pub name: &'static str,
    /// One sentence for people; the `title` of an RFC 9457 problem.
    pub title: &'static str,
    /// The HTTP status of a refusal with this word (an *unknown* outcome is 503, or 504 for `timeout`).
    pub http: u16,
    /// The MQTT 5 reason code; `None` when the connection closes without an answer.
    pub mqtt5: Option<u8>,
    /// Whether the same message may succeed later: such a refusal is held where the protocol can.
    pub retryable: bool,
    /// What an MQTT 5 client sees, in words.
    pub mqtt5_text: &'static str,
    /// What an AMQP 0-9-1 client sees, in words.
    pub amqp091: &'static str,
    /// What a WebSocket client sees, in words.
    pub websocket: &'static str,
    /// What happened to the message.
    pub then: &'static str,
    /// The usual cause.
    pub cause: &'static str,
    /// What to do about it.
    pub todo: &'static str,
}

impl Word {
    /// Every word, in the order of the table.
    pub const ALL: &'static [Word] = &WORDS;

    /// This word's line of the table.
    pub fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }

    /// As written in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// Whether the same message may succeed later.
    pub fn retryable(self) -> bool {
        self.entry().retryable
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Word {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        WORDS.into_iter().find(|word| word.as_str() == text).ok_or(UnknownWord)
    }
}

impl serde::Serialize for Word {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text is none of the failure words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a failure word")
    }
}

impl std::error::Error for UnknownWord {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_at_its_own_place() {
        for word in WORDS {
            assert_eq!(word.entry().word, word);
            assert_eq!(word.as_str().parse::<Word>().unwrap(), word);
        }
        assert!("no_such_word".parse::<Word>().is_err());
    }

    #[test]
    fn retryable_words_are_never_permanent_answers() {
        for word in WORDS {
            if word.retryable() {
                assert!(word.entry().http == 429 || word.entry().http == 409 || word.entry().http >= 500, "{word}");
            }
        }
    }
}
