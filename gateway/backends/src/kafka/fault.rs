//! Kafka's and librdkafka's error codes as outcomes: what to wait for, what is wrong with one record, what people must mend.
use crate::{Outcome, Why};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};
use schemas::Word;

/// The outcome of a record that failed with `code`. `context` says more, in words, where there is more to say.
///
/// What may pass by itself is a retry; this is also what unknown codes are, for a wrong retry only costs time.
pub(crate) fn outcome(code: Code, context: &str) -> Outcome {
    let why = |word| {
        let more = if context.is_empty() { String::new() } else { format!(" ({context})") };
        Why::new(word, format!("{code}{more}"))
    };
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Outcome::Record(why(Word::TooLarge)),
        Code::InvalidRecord
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidTimestamp
        | Code::BadMessage => Outcome::Record(why(Word::Malformed)),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
            Outcome::Destination(why(Word::BackendUnavailable))
        }
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Outcome::Destination(why(Word::Forbidden)),
        Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Outcome::Destination(why(Word::Unauthenticated)),
        Code::InvalidRequiredAcks
        | Code::SecurityDisabled
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedCompressionType
        | Code::PolicyViolation => Outcome::Destination(why(Word::BackendUnavailable)),
        Code::QueueFull => Outcome::Retry(why(Word::Overloaded)),
        _ => Outcome::Retry(why(Word::BackendUnavailable)),
    }
}

/// The code of an error; `Fail` for those of the wrapper.
pub(crate) fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault() {
        let kind = |code| match outcome(code, "") {
            Outcome::Done(_) => "done",
            Outcome::Retry(_) => "retry",
            Outcome::Record(_) => "record",
            Outcome::Destination(_) => "destination",
        };
        for (code, expected) in [
            (Code::MessageSizeTooLarge, "record"),
            (Code::InvalidRecord, "record"),
            (Code::UnknownTopicOrPartition, "destination"),
            (Code::UnknownTopic, "destination"),
            (Code::TopicAuthorizationFailed, "destination"),
            (Code::ClusterAuthorizationFailed, "destination"),
            (Code::SaslAuthenticationFailed, "destination"),
            (Code::NotLeaderForPartition, "retry"),
            (Code::NotEnoughReplicas, "retry"),
            (Code::NotEnoughReplicasAfterAppend, "retry"),
            (Code::RequestTimedOut, "retry"),
            (Code::BrokerTransportFailure, "retry"),
            (Code::PurgeQueue, "retry"),
            (Code::PurgeInflight, "retry"),
            (Code::Fatal, "retry"),
            (Code::OutOfOrderSequenceNumber, "retry"),
            (Code::QueueFull, "retry"),
        ] {
            assert_eq!(kind(code), expected, "{code:?}");
        }
    }
}
