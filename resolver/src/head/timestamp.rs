//! Dates as IPNS records have them: RFC 3339 in UTC, `2026-11-22T09:59:00.000000001Z`, from 1970 to 9999.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

const DAY: u64 = 24 * 60 * 60;
/// The last second of the year 9999, since 1970: beyond, there is no spelling.
const LAST: u64 = 253_402_300_799;

/// Writes a time since 1970, with nanoseconds; one after 9999 as the last second of that year.
pub(super) fn write(time: Duration) -> String {
    let seconds = time.as_secs().min(LAST);
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    let nanos = time.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads a time since 1970, by the letter; the fraction of a second may be missing.
pub(super) fn read(text: &[u8]) -> Option<Duration> {
    let text = core::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, fraction) =
        time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A day that its month does not have is another day.
    if self::date(days) != (year, month, day) {
        return None;
    }
    let nanos = fraction.map_or(Some(0), nanoseconds)?;
    Some(Duration::new(days * DAY + hour * 3600 + minute * 60 + second, nanos))
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut number = |digits| parts.next().filter(|part| part.len() == digits).and_then(number);
    let [one, two, three] = digits;
    let numbers = [number(one)?, number(two)?, number(three)?];
    parts.next().is_none().then_some(numbers)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    let missing = 9usize.checked_sub(fraction.len()).filter(|_| !fraction.is_empty())?;
    let number = u32::try_from(number(fraction)?).ok()?;
    number.checked_mul(10u32.pow(u32::try_from(missing).ok()?))
}

/// Days between 1970-01-01 and a date of the Gregorian calendar. A year begins in March here, so that the odd day is its last; so
/// many days are in the months before one: 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31 and what February has.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let before = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    before - EPOCH
}

/// Days between March of the year 0 and 1970-01-01.
const EPOCH: u64 = 719_468;
/// Days in 400 years.
const ERA: u64 = 146_097;

/// The date, so many days after 1970-01-01: the reverse of [`days`].
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}
