//! Sequences that ask for what an MQTT server may decline, by title, with the section that lets it.
//!
//! This is the whole list: a case that is not on it has to be green. And a case that is on it is let off only if the server
//! declined just that, in the way the specification has for it.
use super::{judge::Difference, sequences::Case};

/// What a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A subscription that is granted.
    Subscribe,
    /// A retained message that is kept.
    Retain,
}

impl Need {
    /// Why a server may decline it.
    pub fn reason(self) -> &'static str {
        match self {
            Need::Subscribe => {
                "needs SUBSCRIBE, which a server may refuse for each filter: 0x80 (3.1.1, section 3.9.3), 0x87 (5, section 3.9.3)"
            }
            Need::Retain => {
                "needs retained messages, which a server need not keep: Retain Available 0, then 0x9A (5, section 3.2.2.3.5)"
            }
        }
    }

    /// Whether this difference is the server declining it.
    pub fn is_declined(self, difference: &Difference) -> bool {
        match self {
            Need::Subscribe => difference.expected.starts_with("SUBACK") && difference.seen.starts_with("SUBACK"),
            Need::Retain => difference.seen.starts_with("DISCONNECT 0x9a"),
        }
    }
}

/// What the case needs that a server may decline.
pub fn why(case: &Case) -> Option<Need> {
    NEEDS.iter().find(|(_, titles)| titles.contains(&case.title.as_str())).map(|(need, _)| *need)
}

/// All of them.
pub const NEEDS: [(Need, &[&str]); 2] = [
    (
        Need::Subscribe,
        &[
            "v3.1.1 FLOW · QoS 0 self receive ok",
            "v3.1.1 FLOW · QoS 1 receive ok",
            "v3.1.1 FLOW · QoS 1 PUBLISH-PUBREC",
            "v3.1.1 FLOW · QoS 1 PUBLISH-PUBCOMP",
            "v3.1.1 FLOW · QoS 2 receive ok",
            "v3.1.1 FLOW · QoS 2 PUBLISH-PUBACK",
            "v3.1.1 FLOW · QoS 2 PUBLISH-PUBCOMP",
            "v3.1.1 FLOW · QoS 2 PUBLISH-PUBREC-PUBREL-PUBACK",
            "v3.1.1 FLOW · QoS 2 PUBLISH-PUBREC-PUBREL-PUBREC",
            "v5.0 FLOW · QoS 0 self receive ok",
            "v5.0 FLOW · QoS 1 receive ok",
            "v5.0 FLOW · QoS 1 PUBLISH-PUBREC",
            "v5.0 FLOW · QoS 1 PUBLISH-PUBCOMP",
            "v5.0 FLOW · QoS 2 receive ok",
            "v5.0 FLOW · QoS 2 PUBLISH-PUBACK",
            "v5.0 FLOW · QoS 2 PUBLISH-PUBCOMP",
            "v5.0 FLOW · QoS 2 PUBLISH-PUBREC-PUBREL-PUBACK",
            "v5.0 FLOW · QoS 2 PUBLISH-PUBREC-PUBREL-PUBREC",
            "v5.0 FLOW WITH PROPERTIES · payload-format-indicator=1 (byte)",
            "v5.0 FLOW WITH PROPERTIES · message-expiry-interval=1 (four byte integer)",
            "v5.0 FLOW WITH PROPERTIES · topic-alias",
            "v5.0 FLOW WITH PROPERTIES · response-topic",
            "v5.0 FLOW WITH PROPERTIES · correlation-data",
            "v5.0 FLOW WITH PROPERTIES · user-property",
            "v5.0 FLOW WITH PROPERTIES · subscription-identifier",
            "v5.0 FLOW WITH PROPERTIES · content-type",
            "v5.0 PUBLISH ALLOWED PROPERTIES · maximum packet size",
            "REGRESSIONS · subscribe-unsubscribe-crash part 1",
            "REGRESSIONS · subscribe-unsubscribe-crash part 2",
            "REGRESSIONS · mismatched-shared-normal-subscribe-unsubscribe-leak",
            "REGRESSIONS · shared-sub-uaf",
            "v3.1.1 SUBSCRIBE · 82 single ok QoS 0 [MQTT-3.8.4-1]",
            "v3.1.1 SUBSCRIBE · 82 single ok QoS 1 [MQTT-3.8.4-1]",
            "v3.1.1 SUBSCRIBE · 82 single ok QoS 2 [MQTT-3.8.4-1]",
            "v3.1.1 SUBSCRIBE · 82 multiple ok [MQTT-3.8.4-4]",
            "v5.0 SUBSCRIBE · 82 single ok QoS 0 [MQTT-3.8.4-1]",
            "v5.0 SUBSCRIBE · 82 single ok QoS 1 [MQTT-3.8.4-1]",
            "v5.0 SUBSCRIBE · 82 single ok QoS 2 [MQTT-3.8.4-1]",
            "v5.0 SUBSCRIBE · 82 QoS 0 no local 0x04",
            "v5.0 SUBSCRIBE · 82 QoS 0 retain as published 0x08",
            "v5.0 SUBSCRIBE · 82 QoS 0 retain handling=1 0x10",
            "v5.0 SUBSCRIBE · 82 QoS 0 retain handling=2 0x20",
            "v5.0 SUBSCRIBE · 82 multiple ok [MQTT-3.8.4-4]",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with user-property",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with 2*user-property",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=1 (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0x7F (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0x8001 (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0xFF7F (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0x808001 (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0xFFFF7F (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0x80808001 (variable byte integer)",
            "v5.0 SUBSCRIBE ALLOWED PROPERTIES · 82 with subscription-identifier=0xFFFFFF7F (variable byte integer)",
            "v3.1.1 UNSUBSCRIBE · A2 (with subscribe) [MQTT-3.10.4-5]",
            "v5.0 UNSUBSCRIBE · A2 (with subscribe) [MQTT-3.10.4-5]",
        ],
    ),
    (Need::Retain, &["v5.0 PUBLISH · 31 retain 1", "v5.0 PUBLISH · 31 retain 1 zero length"]),
];
