//! Calendar time, for what outlives a process.

use core::fmt;
use core::str::FromStr;

const DAY: u64 = 86_400;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted; at most
/// [`LAST`](Self::LAST), so that each has a text.
///
/// The text is that of RFC 3339 in UTC, in one of two forms: `2027-03-01T12:00:00Z`, or `2027-03-01` for the
/// first second of that day. It is written in the shorter one that fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// 9999-12-31T23:59:59Z.
    pub const LAST: Self = Self(253_402_300_799);

    /// The moment `seconds` after 1970-01-01T00:00:00Z, and [`LAST`](Self::LAST) for all later ones.
    pub const fn from_secs(seconds: u64) -> Self {
        if seconds < Self::LAST.0 { Self(seconds) } else { Self::LAST }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

#[cfg(feature = "std")]
impl From<std::time::SystemTime> for UnixTime {
    /// Parts of a second are cut off; what lies before 1970 becomes 1970, what lies behind
    /// [`LAST`](Self::LAST) becomes that.
    fn from(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_secs(since.as_secs())
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / DAY);
        write!(f, "{year:04}-{month:02}-{day:02}")?;
        match self.0 % DAY {
            0 => Ok(()),
            rest => write!(f, "T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60),
        }
    }
}

impl FromStr for UnixTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (day, time) = match *text.as_bytes() {
            [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, ref time @ ..] => {
                (days(number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?)?, time)
            }
            _ => return Err(TimeError::Form),
        };
        let seconds = match *time {
            [] => 0,
            [b'T', h0, h1, b':', m0, m1, b':', s0, s1, b'Z'] => {
                let (hour, minute, second) = (number(&[h0, h1])?, number(&[m0, m1])?, number(&[s0, s1])?);
                if hour > 23 || minute > 59 || second > 59 {
                    return Err(TimeError::NoSuchTime);
                }
                hour * 3600 + minute * 60 + second
            }
            _ => return Err(TimeError::Form),
        };
        Ok(Self(day * DAY + seconds))
    }
}

/// The number that a few digits make.
fn number(digits: &[u8]) -> Result<u64, TimeError> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + u64::from(digit - b'0')),
        _ => Err(TimeError::Form),
    })
}

// Both directions count from 0000-03-01 in eras of 400 years (146 097 days): with March first, the leap day
// is the last of its year, and the months' lengths follow one formula. See H. Hinnant, "chrono-Compatible
// Low-Level Date Algorithms". 1970-01-01 is day 719 468 of that count.
const ERA: u64 = 146_097;
const EPOCH: u64 = 719_468;

/// Days from 1970-01-01 to a date of the years 1970 to 9999.
fn days(year: u64, month: u64, day: u64) -> Result<u64, TimeError> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(TimeError::NoSuchTime),
    };
    if day == 0 || day > length {
        return Err(TimeError::NoSuchTime);
    }
    if year < 1970 {
        return Err(TimeError::Before1970);
    }
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = year % 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok(year / 400 * ERA + day_of_era - EPOCH)
}

/// Year, month and day of the date that many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let day_of_era = days % ERA;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = days / ERA * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Why a text is no [`UnixTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeError {
    /// It has neither of the two forms.
    Form,
    /// It has the form, but there is no such day or time of day. Leap seconds count as such.
    NoSuchTime,
    /// The year lies before 1970.
    Before1970,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "is no time in UTC: write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            Self::NoSuchTime => "is a day or a time of day that does not exist",
            Self::Before1970 => "lies before 1970",
        })
    }
}

impl core::error::Error for TimeError {}
