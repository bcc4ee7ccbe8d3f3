//! Changed bytes, always the same ones: what a broken sender, a broken wire or an attacker makes of a good payload.

/// A small generator (xorshift64*), so that a failure comes again.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 when `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// `payload` with one to three changes: a bit, a byte, a cut, a byte more, a part twice, a part gone.
    pub(crate) fn change(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = payload.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.byte(),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, *b"{}[]\",:\\\n\0\x80\xff".get(self.below(12)).unwrap_or(&0)),
                4 => bytes.extend_from_within(at..end),
                _ => drop(bytes.drain(at..end)),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_differ_and_come_again() {
        let all = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| random.change(b"{\"a\":1}")).collect::<Vec<_>>()
        };
        let first = all(7);
        assert_eq!(first, all(7));
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert!(distinct.len() > 100, "{}", distinct.len());
        assert!(first.iter().filter(|bytes| bytes.as_slice() == b"{\"a\":1}").count() < 20);
    }
}
