//! Times, always with a unit, and ranges of times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Bad, text_value};

/// A time: a whole number and one of `ms s m h d`. A bare number is refused, except 0. At most ten years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const MAX_MILLIS: u64 = 10 * 366 * 86_400_000;

impl Period {
    /// A time in milliseconds.
    #[must_use]
    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// A time in seconds.
    #[must_use]
    pub const fn secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = UNITS.iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)).unwrap_or(&UNITS[3]);
        write!(f, "{}{}", millis / fits.1, fits.0)
    }
}

impl FromStr for Period {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let help = "write a whole number and ms, s, m, h or d, such as 10s";
        let Ok(number) = number.parse::<u64>() else {
            return Err(Bad::new(format!("\"{text}\" is none")).help(help));
        };
        let unit = unit.trim_start();
        if unit.is_empty() && number == 0 {
            return Ok(Self::default());
        }
        if unit.is_empty() {
            return Err(Bad::new("the unit is missing").help(format!("write {number}s, {number}ms, or another unit")));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Bad::new(format!("\"{unit}\" is no unit of time")).help(help));
        };
        match number.checked_mul(*factor) {
            Some(millis) if millis <= MAX_MILLIS => Ok(Self::millis(millis)),
            _ => Err(Bad::new(format!("\"{text}\" is longer than ten years"))),
        }
    }
}

text_value!(Period, "duration", "A time with its unit: 250ms, 10s, 24h.", "[0-9]+ ?(ms|s|m|h|d)|0");

/// From a shortest to a longest time, as backoff uses it: `200ms..30s`. The shortest is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodRange {
    /// The first wait.
    pub low: Period,
    /// The longest wait.
    pub high: Period,
}

impl fmt::Display for PeriodRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

impl FromStr for PeriodRange {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let help = "write the shortest and the longest time, such as 200ms..30s";
        let Some((low, high)) = text.split_once("..") else {
            return Err(Bad::new(format!("\"{text}\" is none")).help(help));
        };
        let (low, high): (Period, Period) = (low.trim().parse()?, high.trim().parse()?);
        if low.get().is_zero() || low > high {
            return Err(Bad::new(format!("\"{text}\" does not rise from above zero")).help(help));
        }
        Ok(Self { low, high })
    }
}

text_value!(PeriodRange, "backoff", "The shortest and the longest time: 200ms..30s.");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!("250ms".parse::<Period>().unwrap().get(), Duration::from_millis(250));
        assert_eq!("24h".parse::<Period>().unwrap().to_string(), "1d");
        assert_eq!(Period::secs(90).to_string(), "90s");
        assert_eq!(Period::default().to_string(), "0s");
        assert!("10".parse::<Period>().unwrap_err().help.unwrap().contains("10s"));
        assert!("10 sec".parse::<Period>().unwrap_err().message.contains("sec"));
        assert!("99999999d".parse::<Period>().is_err());
        assert_eq!("200ms..30s".parse::<PeriodRange>().unwrap().to_string(), "200ms..30s");
        assert!("30s..1s".parse::<PeriodRange>().is_err());
        assert!("0s..1s".parse::<PeriodRange>().is_err());
        assert!("1s".parse::<PeriodRange>().is_err());
    }
}
