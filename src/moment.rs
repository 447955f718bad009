//! Moments as the API and the notices tell them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last moment that RFC 3339 can say: the end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// Milliseconds since 1970 as RFC 3339 in UTC, always with its milliseconds: then texts sort as times do.
pub fn rfc3339(ms: i64) -> String {
    let ms = ms.clamp(0, LAST_MS);
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, ms) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Milliseconds since 1970 of a text in RFC 3339.
pub fn parse(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_utc_with_milliseconds_whatever_the_number() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_377_600_007), "2026-11-22T20:00:00.007Z");
        assert_eq!(rfc3339(-5), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
