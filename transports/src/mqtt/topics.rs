//! Topic names of one connection: aliases, and the last one, so that a client that keeps to a topic costs one text.
use super::fault::{Fault, code};
use schemas::ByteStr;

/// The names that a connection has used.
#[derive(Debug, Default)]
pub struct Topics {
    last: ByteStr,
    aliases: Vec<Option<ByteStr>>,
}

impl Topics {
    /// The topic of a PUBLISH after aliases (MQTT 5 section 3.3.2.3.4). `alias` was checked against the announced maximum, so
    /// the table is bounded by it.
    ///
    /// # Errors
    /// 0x82 for an alias that stands for nothing yet.
    pub fn resolve(&mut self, topic: &str, alias: Option<u16>) -> Result<ByteStr, Fault> {
        let place = alias.map(|alias| usize::from(alias) - 1);
        if topic.is_empty() {
            let known = place.and_then(|place| self.aliases.get(place)?.clone());
            return known.ok_or_else(|| Fault::new(code::PROTOCOL, "the topic alias stands for no topic"));
        }
        if self.last.as_str() != topic {
            self.last = ByteStr::from(topic);
        }
        if let Some(place) = place {
            if self.aliases.len() <= place {
                self.aliases.resize(place + 1, None);
            }
            self.aliases[place] = Some(self.last.clone());
        }
        Ok(self.last.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_set_used_and_replaced() {
        let mut topics = Topics::default();
        assert!(topics.resolve("", Some(2)).is_err());
        assert_eq!(topics.resolve("a", Some(2)).unwrap().as_str(), "a");
        assert_eq!(topics.resolve("b", None).unwrap().as_str(), "b");
        assert_eq!(topics.resolve("", Some(2)).unwrap().as_str(), "a");
        assert!(topics.resolve("", Some(1)).is_err());
        assert_eq!(topics.resolve("c", Some(2)).unwrap().as_str(), "c");
        assert_eq!(topics.resolve("", Some(2)).unwrap().as_str(), "c");
    }
}
