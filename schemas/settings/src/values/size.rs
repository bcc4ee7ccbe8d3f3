//! Sizes in bytes, always with a unit.

use std::fmt;
use std::str::FromStr;

use super::{Bad, text_value};

/// A size: a whole number and one of `B KiB MiB GiB TiB` (powers of 1024). A bare number is refused, except 0, so that
/// nobody has to guess the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// A size in bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// A size in MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// A size in GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The bytes as a length in memory; the largest one where it does not fit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The bytes as `u32`; the largest one where it does not fit.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)).unwrap_or(&UNITS[4]);
        write!(f, "{}{}", self.0 / fits.1, fits.0)
    }
}

impl FromStr for ByteSize {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let help = "write a whole number and B, KiB, MiB, GiB or TiB, such as 64KiB";
        let Ok(number) = number.parse::<u64>() else {
            return Err(Bad::new(format!("\"{text}\" is none")).help(help));
        };
        let unit = unit.trim_start();
        if unit.is_empty() && number == 0 {
            return Ok(Self(0));
        }
        if unit.is_empty() {
            return Err(Bad::new("the unit is missing").help(format!("write {}, or another unit", Self(number))));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let nearest =
                UNITS.iter().find(|(name, _)| unit.starts_with(|c: char| name.starts_with(c.to_ascii_uppercase())));
            let help = nearest
                .map_or_else(|| help.to_owned(), |(name, _)| format!("write {number}{name}; units count in 1024s"));
            return Err(Bad::new(format!("\"{unit}\" is no unit of size")).help(help));
        };
        number.checked_mul(*factor).map(Self).ok_or_else(|| Bad::new(format!("\"{text}\" is too large")))
    }
}

text_value!(ByteSize, "size", "A size with its unit: 64KiB, 1MiB, 1GiB.", "[0-9]+ ?(B|KiB|MiB|GiB|TiB)|0");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("64KiB".parse::<ByteSize>().unwrap().bytes(), 65_536);
        assert_eq!("0".parse::<ByteSize>().unwrap().bytes(), 0);
        assert_eq!(ByteSize::new(1536).to_string(), "1536B");
        assert_eq!(ByteSize::gib(2).to_string(), "2GiB");
        assert_eq!("1048576".parse::<ByteSize>().unwrap_err().help.unwrap(), "write 1MiB, or another unit");
        assert!("1MB".parse::<ByteSize>().unwrap_err().help.unwrap().contains("1MiB"));
        assert!("99999999TiB".parse::<ByteSize>().is_err());
        assert!("-1KiB".parse::<ByteSize>().is_err());
        assert!("1éB".parse::<ByteSize>().is_err());
    }
}
