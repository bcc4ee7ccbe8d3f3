//! From a verdict to MQTT: one exhaustive function per version, and nothing else decides what a sender sees.
use super::fields::Version;
use schemas::{Refusal, Verdict, Word};

/// What a QoS 1 or QoS 2 sender sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// PUBACK or PUBREC with this code; the reason string is empty for success.
    Ack(u8, String),
    /// MQTT 5 DISCONNECT with this code and reason string, then the connection closes.
    Disconnect(u8, String),
    /// The connection closes without a word.
    Close,
}

/// The answer to a QoS 1 or QoS 2 PUBLISH.
pub fn answer(verdict: &Verdict, version: Version) -> Answer {
    match version {
        Version::V311 => answer_v311(verdict),
        Version::V5 => answer_v5(verdict),
    }
}

/// MQTT 5. A PUBACK of 0x80 and above ends the message (MQTT-4.4.0-2), so only permanent refusals are one; what may succeed
/// later was held by the gateway, and when it is still refused the connection closes, so that the client sends it again.
fn answer_v5(verdict: &Verdict) -> Answer {
    let refusal = match verdict {
        Verdict::Receipt(_) => return Answer::Ack(0, String::new()),
        Verdict::Unknown(_) => return Answer::Close,
        Verdict::Refusal(refusal) => refusal,
    };
    let Some(code) = refusal.word.entry().mqtt5 else { return Answer::Close };
    match refusal.word {
        Word::Unauthenticated
        | Word::Forbidden
        | Word::Malformed
        | Word::NotFound
        | Word::MethodNotAllowed
        | Word::MissingAttribute
        | Word::MixedPaths
        | Word::UnsupportedFormat
        | Word::SchemaInvalid
        | Word::ReservedAttribute
        | Word::NoRoute
        | Word::IdReused => Answer::Ack(code, reason(refusal)),
        Word::Duplicate | Word::Filtered | Word::Unrouted | Word::Expired => Answer::Ack(code, String::new()),
        Word::ProtocolError
        | Word::TooLarge
        | Word::IdInUse
        | Word::RateLimited
        | Word::Overloaded
        | Word::StorageFull
        | Word::BackendUnavailable
        | Word::ShuttingDown
        | Word::Internal => Answer::Disconnect(code, reason(refusal)),
        Word::Timeout => Answer::Close,
    }
}

/// MQTT 3.1.1 can say only yes, or close. With `on_reject: ack` the gateway has made a dead letter of what it refuses for
/// good, and its verdict is a receipt; a refusal that comes here means that nothing was kept, so there is no PUBACK.
fn answer_v311(verdict: &Verdict) -> Answer {
    match verdict {
        Verdict::Receipt(_) => Answer::Ack(0, String::new()),
        Verdict::Unknown(_) => Answer::Close,
        Verdict::Refusal(refusal) => match refusal.word {
            Word::Duplicate | Word::Filtered | Word::Unrouted | Word::Expired => Answer::Ack(0, String::new()),
            Word::Unauthenticated
            | Word::Forbidden
            | Word::Malformed
            | Word::NotFound
            | Word::MethodNotAllowed
            | Word::MissingAttribute
            | Word::MixedPaths
            | Word::UnsupportedFormat
            | Word::SchemaInvalid
            | Word::ReservedAttribute
            | Word::NoRoute
            | Word::IdReused
            | Word::ProtocolError
            | Word::TooLarge
            | Word::IdInUse
            | Word::RateLimited
            | Word::Overloaded
            | Word::StorageFull
            | Word::BackendUnavailable
            | Word::ShuttingDown
            | Word::Timeout
            | Word::Internal => Answer::Close,
        },
    }
}

/// The reason string of a refusal: `word: detail`.
pub fn reason(refusal: &Refusal) -> String {
    if refusal.detail.is_empty() { refusal.word.to_string() } else { format!("{}: {}", refusal.word, refusal.detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::WORDS;

    /// The table's own words decide: `PUBACK 0x99`, `DISCONNECT 0x95`, `hold; DISCONNECT 0x97`, `close without an answer`.
    #[test]
    fn every_word_is_answered_as_the_table_says() {
        for word in WORDS {
            let text = word.entry().mqtt5_text;
            let got = answer(&Refusal::new(word, "why").into(), Version::V5);
            let expected = match word.entry().mqtt5 {
                None => Answer::Close,
                Some(0) => Answer::Ack(0, String::new()),
                Some(code) if text.contains("DISCONNECT") => Answer::Disconnect(code, format!("{word}: why")),
                Some(code) => Answer::Ack(code, format!("{word}: why")),
            };
            assert_eq!(got, expected, "{word}: {text}");
            if word.retryable() {
                assert!(!matches!(got, Answer::Ack(..)), "{word} may succeed later, so it is never acknowledged");
            }
            let old = answer(&Refusal::new(word, "why").into(), Version::V311);
            let kept = word.entry().mqtt5 == Some(0);
            assert_eq!(old, if kept { Answer::Ack(0, String::new()) } else { Answer::Close }, "{word} on 3.1.1");
        }
    }
}
