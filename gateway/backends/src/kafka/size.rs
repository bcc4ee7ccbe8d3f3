//! The size of a record as the broker counts it: the record batch (format v2) that holds it alone, without compression.
//!
//! The broker compares whole batches with `max.message.bytes`. librdkafka fills a batch with more than one record only up to
//! `batch.size`, which never exceeds what the topic takes; so a record that fits alone fits. The size without compression
//! counts, whatever `compression` says: what a record becomes is known only after it was compressed, with its neighbours, and a
//! batch that a broker refuses costs an idempotent producer its sequence. Java's producer counts the same way.

/// Bytes of a batch before its records: offset, length, leader epoch, magic, CRC, attributes, last offset, two times, producer
/// id and epoch, sequence, count.
const BATCH_HEADER: usize = 61;
/// Bytes of a record that are always the same when it is alone: attributes, time and offset relative to the batch's.
const RECORD_FIXED: usize = 3;

/// Adds up a record's headers; then [`RecordSize::batch`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecordSize {
    count: usize,
    bytes: usize,
}

impl RecordSize {
    /// One more header.
    pub(crate) fn header(&mut self, name: usize, value: usize) {
        self.count += 1;
        self.bytes += varint(name) + name + varint(value) + value;
    }

    /// Bytes of the batch with this one record; `None` for no key or no value.
    pub(crate) fn batch(self, key: Option<usize>, value: Option<usize>) -> usize {
        let field = |bytes: Option<usize>| bytes.map_or(1, |bytes| varint(bytes) + bytes);
        let record = RECORD_FIXED + field(key) + field(value) + varint(self.count) + self.bytes;
        BATCH_HEADER + varint(record) + record
    }
}

/// Bytes of a length as a zigzag varint: seven bits a byte, the lowest says that it is not negative.
fn varint(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (length, bytes) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3), (1 << 20, 4)] {
            assert_eq!(varint(length), bytes, "{length}");
        }
    }

    #[test]
    fn a_batch_by_hand() {
        // attributes, time, offset, key length, value length, count of headers: one byte each; the record's length: one.
        assert_eq!(RecordSize::default().batch(None, None), 61 + 1 + 6);
        let mut size = RecordSize::default();
        size.header(5, 2);
        // The header: 1 + 5 + 1 + 2. The value of 100 has a length of two bytes, so has the record.
        assert_eq!(size.batch(Some(3), Some(100)), 61 + 2 + (3 + (1 + 3) + (2 + 100) + 1 + 9));
    }
}
