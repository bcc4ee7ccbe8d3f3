//! `ids/<20 digits>.ids`: the dedupe ids of the events of a sealed segment, so that a start knows them without reading the
//! segment, also when that was used again.
//!
//! ```text
//!  0  magic 8 | format u8, min_reader u8, 6 zero bytes | segment number u64 | newest time u64 (µs since 1970) | count u64
//! 40  count × (key 16, lsn u64, time u64)
//!     crc u32, seeded, over the rows and then the head
//! ```

use super::{FORMAT, MIN_READER, Take};

const MAGIC: &[u8; 8] = b"AnygIds\n";
pub(crate) const HEAD: usize = 40;
pub(crate) const ROW: usize = 32;

/// The head of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub number: u64,
    pub newest: u64,
    pub count: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[FORMAT, MIN_READER, 0, 0, 0, 0, 0, 0]);
        for n in [self.number, self.newest, self.count] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out
    }

    /// Plausible; proven by the checksum of the whole file only.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes(8)? != MAGIC {
            return None;
        }
        let (_format, min_reader) = (take.u8()?, take.u8()?);
        take.bytes(6)?;
        let head = Self { number: take.u64()?, newest: take.u64()?, count: take.u64()? };
        (min_reader <= FORMAT).then_some(head)
    }

    /// What stands behind the rows; `crc` is that of the rows, seeded.
    pub(crate) fn tail(&self, crc: u32) -> [u8; 4] {
        crc32c::crc32c_append(crc, &self.encode()).to_le_bytes()
    }

    /// The file's length.
    pub(crate) fn len(&self) -> Option<u64> {
        self.count.checked_mul(ROW as u64)?.checked_add(HEAD as u64 + 4)
    }
}

pub(crate) fn row(out: &mut Vec<u8>, key: &[u8; 16], lsn: u64, time: u64) {
    out.extend_from_slice(key);
    out.extend_from_slice(&lsn.to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
}

/// The rows of a whole file that verifies: key, LSN, time.
pub(crate) fn rows(file: &[u8], number: u64, seed: u32) -> Option<Vec<([u8; 16], u64, u64)>> {
    let head = Head::decode(file)?;
    if head.number != number || head.len()? != file.len() as u64 {
        return None;
    }
    let (rows, crc) = file.get(HEAD..)?.split_at_checked(file.len().checked_sub(HEAD + 4)?)?;
    // The head as it stands there: a flipped bit in what is not looked at counts, too.
    if file.get(..HEAD)? != head.encode() || crc != head.tail(crc32c::crc32c_append(seed, rows)) {
        return None;
    }
    let mut take = Take(rows);
    let mut out = Vec::with_capacity(rows.len() / ROW);
    for _ in 0..head.count {
        out.push((take.uuid()?, take.u64()?, take.u64()?));
    }
    Some(out)
}

/// `<20 digits>.ids`
pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.ids")
}

/// The segment's number in a file name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".ids")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        row(&mut bytes, &[1; 16], 7, 100);
        row(&mut bytes, &[2; 16], 9, 90);
        let head = Head { number: 5, newest: 100, count: 2 };
        let tail = head.tail(crc32c::crc32c_append(3, &bytes));
        let file = [&head.encode()[..], &bytes, &tail].concat();
        assert_eq!(rows(&file, 5, 3).unwrap(), [([1; 16], 7, 100), ([2; 16], 9, 90)]);
        assert!(rows(&file, 6, 3).is_none() && rows(&file, 5, 4).is_none() && rows(&file[..90], 5, 3).is_none());
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(rows(&bad, 5, 3).is_none(), "bit {bit}");
        }
        assert_eq!(number(&name(12)), Some(12));
        assert_eq!(number("12.ids"), None);
    }
}
