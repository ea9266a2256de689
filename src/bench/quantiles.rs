//! Times, counted in bounded memory, and what is said of them.
//!
//! The only place that names the histogram's crate. Three digits are exact; what took longer than two minutes counts as
//! two minutes.

use std::cell::RefCell;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told from longer ones: two minutes, in microseconds.
const LONGEST: u64 = 120_000_000;

/// Digits that are exact.
const DIGITS: u8 = 3;

/// How long things took.
pub(super) struct Times(RefCell<Histogram<u64>>);

/// What is said of many times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half took at most so long.
    pub p50: u64,
    /// Nine of ten took at most so long.
    pub p90: u64,
    /// 99 of a hundred took at most so long.
    pub p99: u64,
    /// 999 of a thousand took at most so long.
    pub p999: u64,
    /// None took longer.
    pub max: u64,
    /// The mean.
    pub mean: f64,
}

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self(RefCell::new(histogram.expect("1 to two minutes are bounds")))
    }

    /// Adds a time in nanoseconds.
    #[inline]
    pub(super) fn add(&self, nanoseconds: u64) {
        self.0.borrow_mut().saturating_record((nanoseconds / 1000).max(1));
    }

    /// What is said of them, once there are any.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let times = self.0.borrow();
        // The histogram gives the upper end of a step; nothing took longer than the longest.
        let at = |quantile| times.value_at_quantile(quantile).min(times.max());
        (!times.is_empty()).then(|| Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: times.max(),
            mean: (times.mean() * 10.0).round() / 10.0,
        })
    }
}

/// A time in microseconds as people read it, three digits long.
pub(super) struct Readable(pub(super) f64);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.0;
        let (value, unit) = match microseconds {
            value if value < 1e3 => (value, "us"),
            value if value < 1e6 => (value / 1e3, "ms"),
            value => (value / 1e6, "s"),
        };
        let digits = match value {
            value if unit == "us" || value >= 100.0 => 0,
            value if value >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let times = Times::new();
        assert_eq!(times.quantiles(), None);
        for microseconds in 1..=1000u64 {
            times.add(microseconds * 1000 + 999);
        }
        let found = times.quantiles().unwrap();
        let exact = [found.p50, found.p90, found.p99, found.p999, found.max];
        assert_eq!(exact, [500, 900, 990, 999, 1000]);
        assert_eq!(found.mean, 500.5);
    }

    #[test]
    fn times_out_of_bounds_count_as_the_nearest() {
        let times = Times::new();
        times.add(0);
        times.add(u64::MAX);
        let found = times.quantiles().unwrap();
        assert_eq!(found.p50, 1);
        assert!(found.max.abs_diff(LONGEST) < LONGEST / 1000, "{}", found.max);
        assert!(found.p999 <= found.max);
    }

    #[test]
    fn times_are_three_digits_and_a_unit() {
        for (microseconds, expected) in [
            (0.4, "0 us"),
            (999.0, "999 us"),
            (1_000.0, "1.00 ms"),
            (7_864.0, "7.86 ms"),
            (31_982.0, "32.0 ms"),
            (780_141.0, "780 ms"),
            (1_058_918.0, "1.06 s"),
        ] {
            assert_eq!(Readable(microseconds).to_string(), expected);
        }
    }
}
