//! A moment as one types it: a time of day and date, or how long ago.

use crate::clock::{Clock, span};
use crate::moment::{self, rfc3339};

/// `2026-11-22T20:00:00Z`, or `90m` for an hour and a half ago: as the API takes it.
pub(super) fn moment(text: &str) -> Result<String, String> {
    if moment::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let ago = span(text)
        .map_err(|_| "a time like 2026-11-22T20:00:00Z, or how long ago: 30s, 90m, 2h".to_owned())?;
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(rfc3339(Clock::start().now().wall_ms.saturating_sub(ago_ms).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("2026-11-22T20:00:00Z").as_deref(), Ok("2026-11-22T20:00:00Z"));
        let now = moment::parse(&moment("0s").unwrap()).unwrap();
        let then = moment::parse(&moment("2h").unwrap()).unwrap();
        assert!((7_199_000..=7_201_000).contains(&(now - then)), "{then} to {now}");
        assert!(moment("yesterday").is_err());
    }
}
