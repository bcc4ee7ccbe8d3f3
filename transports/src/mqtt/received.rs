//! QoS 2 as a receiver (section 4.3.3): which packet identifiers are between PUBLISH and PUBREL.
//!
//! A message is handed over once, at its first PUBLISH; the same identifier before its PUBREL is the same message. What is kept
//! is four bytes per identifier, sorted, with a limit. It ends with the connection, as the session does: a client that resends
//! after a reconnect sends a new message, so across connections QoS 2 is *at least once*, like QoS 1.
use std::num::NonZeroU16;

/// The identifiers of one connection.
#[derive(Debug, Default)]
pub struct Received(Vec<(NonZeroU16, bool)>);

impl Received {
    /// Identifiers that are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A PUBLISH came. Says whether its message is new.
    pub fn publish(&mut self, id: NonZeroU16) -> bool {
        match self.find(id) {
            Ok(_) => false,
            Err(place) => {
                self.0.insert(place, (id, false));
                true
            }
        }
    }

    /// Its message has a receipt: PUBREC goes out, and PUBREL may come.
    pub fn kept(&mut self, id: NonZeroU16) {
        if let Ok(place) = self.find(id) {
            self.0[place].1 = true;
        }
    }

    /// Whether its message has a receipt.
    pub fn is_kept(&self, id: NonZeroU16) -> bool {
        self.find(id).is_ok_and(|place| self.0[place].1)
    }

    /// Its message was refused: a PUBREC of 0x80 and above ends the handshake (MQTT-4.3.3-11).
    pub fn refused(&mut self, id: NonZeroU16) {
        self.forget(id);
    }

    /// PUBREL came. Says whether there was anything to release: no, before PUBREC or for an identifier that nobody used.
    pub fn release(&mut self, id: NonZeroU16) -> bool {
        let kept = self.is_kept(id);
        if kept {
            self.forget(id);
        }
        kept
    }

    fn find(&self, id: NonZeroU16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(known, _)| *known)
    }

    fn forget(&mut self, id: NonZeroU16) {
        if let Ok(place) = self.find(id) {
            self.0.remove(place);
        }
        // An idle connection keeps no memory of a burst.
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_one_message_until_it_is_released() {
        let id = |id| NonZeroU16::new(id).unwrap();
        let mut received = Received::default();
        assert!(received.publish(id(7)) && received.publish(id(3)));
        assert!(!received.publish(id(7)), "the same message");
        assert!(!received.release(id(7)), "PUBREL before PUBREC releases nothing");
        received.kept(id(7));
        assert!(received.is_kept(id(7)) && !received.is_kept(id(3)));
        assert!(received.release(id(7)) && !received.release(id(7)));
        assert!(received.publish(id(7)), "free again");
        received.refused(id(7));
        received.refused(id(3));
        assert_eq!((received.len(), received.0.capacity()), (0, 0));
    }
}
