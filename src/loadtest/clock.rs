//! One time for all: nanoseconds since 1970, steady within this process, and near enough to that of another process on the same
//! machine for a publisher there and a subscriber here.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();

pub(super) fn now() -> u64 {
    let (start, at) = ANCHOR.get_or_init(|| (Instant::now(), nanoseconds(since_1970())));
    at + nanoseconds(start.elapsed())
}

/// Five centuries fit.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_from_that_of_the_wall() {
        let (wall, first) = (nanoseconds(since_1970()), now());
        assert!(now() >= first);
        assert!(first.abs_diff(wall) < 60_000_000_000);
    }
}
