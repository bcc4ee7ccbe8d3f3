//! Reading and writing the small parts of a record: varints and lengths, each read with its bound.
use super::RecordError;

/// Appends a LEB128 varint. Lengths are bounded far below 4 GiB; a larger one is cut to what a reader refuses.
pub(super) fn put_varint(out: &mut Vec<u8>, value: usize) {
    let mut rest = u32::try_from(value).unwrap_or(u32::MAX);
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// A place in a record's body.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The part `at..end` of a body; places are given as in the whole body.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn corrupt(&self, what: &'static str) -> RecordError {
        RecordError::Corrupt { offset: self.at, what }
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let array = *found.ok_or_else(|| self.corrupt("it ends too early"))?;
        self.at += N;
        Ok(array)
    }

    pub(super) fn varint(&mut self) -> Result<usize, RecordError> {
        let (start, mut value) = (self.at, 0_u64);
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let value = u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
                return value.ok_or(RecordError::Corrupt { offset: start, what: "a length above 32 bits" });
            }
        }
        Err(RecordError::Corrupt { offset: start, what: "a length above 32 bits" })
    }

    /// Takes the next `len` bytes as a cursor of their own.
    pub(super) fn part(&mut self, len: usize) -> Result<Cursor<'a>, RecordError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.corrupt("a section is longer than the record"))?;
        let part = Cursor { bytes: &self.bytes[..end], at: self.at };
        self.at = end;
        Ok(part)
    }

    /// All bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}
