//! What processes have used up to now, as Linux tells it.
//!
//! Reads `/proc` and nothing else; a process that is gone has used nothing more.

use std::fs;

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What one process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Use {
    /// Seconds of processor time, in user and in system mode.
    pub(super) cpu_seconds: f64,
    /// Bytes of memory that are resident.
    pub(super) resident_bytes: u64,
}

/// A reading of several processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading(pub(super) Vec<Use>);

impl Reading {
    /// Reads these processes now.
    pub(super) fn now(pids: &[u32]) -> Self {
        Self(pids.iter().map(|pid| Use::of(*pid).unwrap_or_default()).collect())
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        self.0.iter().map(|one| one.resident_bytes).sum()
    }

    /// Seconds of processor time of each process since `before`.
    pub(super) fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = f64> {
        let pairs = self.0.iter().zip(&before.0);
        pairs.map(|(now, before)| hundredths((now.cpu_seconds - before.cpu_seconds).max(0.0)))
    }

    /// Seconds of processor time of all processes since `before`.
    pub(super) fn cpu_since(&self, before: &Self) -> f64 {
        hundredths(self.since(before).sum())
    }
}

impl Use {
    /// What a process has used; `None` where there is no such process.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        Self::parse(&read("stat")?, &read("status")?)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The second field is the program's name, which may hold anything, in parentheses.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut ticks = fields
            .split_ascii_whitespace()
            .skip(11)
            .map_while(|field| field.parse::<u64>().ok());
        let ticks = ticks.next()? + ticks.next()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")); // a zombie has none
        let kibibytes = resident.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        Some(Self {
            cpu_seconds: ticks as f64 / TICKS,
            resident_bytes: kibibytes.unwrap_or(0) * 1024,
        })
    }
}

/// Without the noise of sums behind the digits that are there.
fn hundredths(seconds: f64) -> f64 {
    (seconds * TICKS).round() / TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 3 0 100 1000 200";
        let status = "Name:\ta\nVmHWM:\t  9999 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        let expected = Use {
            cpu_seconds: 3.25,
            resident_bytes: 2 << 20,
        };
        assert_eq!(Use::parse(stat, status), Some(expected));
        assert_eq!(Use::parse(stat, "Name:\ta\n").unwrap().resident_bytes, 0);
        for stat in ["", "7 (a", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 1 1 0 0 0 x y"] {
            assert_eq!(Use::parse(stat, status), None, "{stat}");
        }
    }

    #[test]
    fn this_process_is_there_and_others_are_not() {
        assert!(Use::of(std::process::id()).unwrap().resident_bytes > 0);
        assert_eq!(Use::of(u32::MAX), None);
        assert_eq!(Reading::now(&[u32::MAX]).resident_bytes(), 0);
    }

    #[test]
    fn differences_are_told_by_process_and_together() {
        let reading = |seconds: [f64; 2]| {
            Reading(
                seconds
                    .map(|cpu_seconds| Use {
                        cpu_seconds,
                        resident_bytes: 1,
                    })
                    .into(),
            )
        };
        let (before, after) = (reading([1.1, 5.0]), reading([1.4, 4.0]));
        assert_eq!(after.since(&before).collect::<Vec<_>>(), [0.3, 0.0]);
        assert_eq!(after.cpu_since(&before), 0.3);
    }
}
