//! How long to wait before the next try.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, SystemTime};

/// No server may ask for a longer pause.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Tries and pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub max_retries: u32,
    /// Pause before the second try; each later one doubles it.
    pub base: Duration,
    /// No pause of our own is longer.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    /// Nine tries within a little over two minutes.
    fn default() -> Self {
        Self { max_retries: 8, base: Duration::from_millis(500), cap: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The pause before retry `nth` (0-based): `min(cap, base·2^nth)` times a factor uniform in [½, 1), at least what the
    /// server asked for.
    ///
    /// The factor spreads clients that failed together ("equal jitter"); it is drawn from a stream of the request's own.
    pub(crate) fn pause(&self, nth: u32, stream: u64, asked: Option<Duration>) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(nth)).min(self.cap);
        let mut rng = ChaCha8Rng::seed_from_u64(stream.wrapping_add(u64::from(nth)));
        let factor: f64 = rng.random_range(0.5..1.0);
        doubled.mul_f64(factor).max(asked.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

/// `Retry-After`: whole seconds, or an HTTP date, which is read against the server's own clock where it tells it.
pub(crate) fn retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let now = date.and_then(|d| httpdate::parse_http_date(d).ok()).unwrap_or(now);
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_spread() {
        let policy = RetryPolicy { max_retries: 9, base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        for nth in 0..40 {
            let full = Duration::from_millis(100).saturating_mul(2u32.saturating_pow(nth)).min(policy.cap);
            let pause = policy.pause(nth, 7, None);
            assert!(pause >= full / 2 && pause < full, "{nth}: {pause:?} of {full:?}");
            assert_eq!(pause, policy.pause(nth, 7, None), "the same stream");
        }
        assert_ne!(policy.pause(0, 7, None), policy.pause(0, 8, None), "two requests do not wait alike");
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(0, 1, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(policy.pause(0, 1, Some(Duration::from_secs(1 << 40))), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let read = |value: &str, date: Option<&str>| retry_after(value, date, now).map(|d| d.as_secs());
        assert_eq!(read(" 12 ", None), Some(12));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:57 GMT", None), Some(20));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:57 GMT", Some("Sun, 06 Nov 1994 08:49:50 GMT")), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0), "a date that has passed");
        assert_eq!(read("soon", None), None);
        assert_eq!(read("-3", None), None);
    }
}
