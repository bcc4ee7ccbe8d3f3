//! A time as RFC 3339 has it, in UTC: digits into a buffer on the stack, because every bare event gets one.
use std::time::SystemTime;

/// `2026-11-21T14:41:31.123456789Z`: the fraction without its last zeros, and none when it is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339 {
    text: [u8; TEXT_MAX],
    len: usize,
}

const TEXT_MAX: usize = 30;
const DAY: u64 = 86_400;
/// Days from 1970-01-01 to 9999-12-31.
const LAST_DAY: u64 = 2_932_896;

impl Rfc3339 {
    /// `None` before 1970 and after 9999.
    pub(crate) fn of(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let (days, seconds) = (since.as_secs() / DAY, since.as_secs() % DAY);
        if days > LAST_DAY {
            return None;
        }
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], seconds / 3600);
        put(&mut text[14..16], seconds / 60 % 60);
        put(&mut text[17..19], seconds % 60);
        put(&mut text[20..29], u64::from(since.subsec_nanos()));
        let mut len = 29;
        while text[len - 1] == b'0' && len > 20 {
            len -= 1;
        }
        if len == 20 {
            len = 19;
        }
        text[len] = b'Z';
        Some(Rfc3339 { text, len: len + 1 })
    }

    pub(crate) fn as_str(&self) -> &str {
        self.text.get(..self.len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// Year, month and day of a day since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

fn put(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_a_calendar_library_writes_it() {
        let mut seconds = 0u64;
        // The calendar library ends a day before the year does.
        while seconds < 253_402_200_000 {
            for nanos in [0, 1, 120_000_000, 999_999_999, 123_456_789, 5000] {
                let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
                let theirs = jiff::Timestamp::try_from(time).unwrap().to_string();
                assert_eq!(Rfc3339::of(time).unwrap().as_str(), theirs);
            }
            // A step that meets every day of the year, leap days and all hours.
            seconds += 86_400 * 11 + 7_919;
        }
        for day in 0..=LAST_DAY {
            let (year, month, day_of_month) = civil(day);
            assert!((1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day_of_month));
        }
        assert!(Rfc3339::of(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)).is_none());
        assert!(Rfc3339::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_none());
    }
}
