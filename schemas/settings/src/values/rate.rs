//! Rates: so many per time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Bad, text_value};

/// So many events per second, minute or hour: `200/s`, `1000/m`, `50/h`. At least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In which time.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            3600 => "h",
            60 => "m",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Rate {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let help = "write a whole number and /s, /m or /h, such as 200/s";
        let bad = || Bad::new(format!("\"{text}\" is none")).help(help);
        let (count, unit) = text.split_once('/').ok_or_else(bad)?;
        let count = count.trim().parse::<u64>().map_err(|_| bad())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(bad()),
        };
        if count == 0 || count > 1_000_000_000 {
            return Err(Bad::new(format!("\"{text}\" is not between 1 and 1000000000")));
        }
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

text_value!(Rate, "rate", "So many per time: 200/s, 1000/m.", "[0-9]+ ?/ ?[smh]");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!("200/s".parse::<Rate>().unwrap(), Rate { count: 200, per: Duration::from_secs(1) });
        assert_eq!("5/m".parse::<Rate>().unwrap().to_string(), "5/m");
        for bad in ["200", "0/s", "x/s", "1/day", "-1/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
