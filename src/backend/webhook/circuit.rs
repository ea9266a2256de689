//! Whether the application is worth asking: after many failures in a row it is not, but for one call a second.
//!
//! A failure is a connection that broke, time that ran out, or a proxy which says that nobody is behind it. Whatever
//! else comes back shows that somebody is there. Pure: time is an argument.

use std::time::{Duration, Instant};

/// Failures in a row, and sockets that they are of, after which nobody is asked.
const FAILURES: u32 = 10;
const SOCKETS: usize = 3;

/// Time between calls that look whether the application is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What is remembered of the last calls.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// Some of the sockets whose calls these were.
    sockets: Vec<Box<str>>,
    /// When the next call may look; closed where there is none.
    probe_at: Option<Instant>,
}

/// What a call changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

impl Circuit {
    /// Whether a call may be made now.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        match &mut self.probe_at {
            None => true,
            Some(at) if *at <= now => {
                *at = now + PROBE_EVERY;
                true
            }
            Some(_) => false,
        }
    }

    /// A call of this socket, if it was one's, has failed.
    pub(super) fn failed(&mut self, socket: Option<&str>, now: Instant) -> Option<Change> {
        if self.probe_at.is_some() {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(socket) = socket
            && self.sockets.len() < SOCKETS
            && self.sockets.iter().all(|known| **known != *socket)
        {
            self.sockets.push(socket.into());
        }
        if self.failures < FAILURES || self.sockets.len() < SOCKETS {
            return None;
        }
        self.probe_at = Some(now + PROBE_EVERY);
        Some(Change::Opened)
    }

    /// Somebody has answered a call.
    pub(super) fn answered(&mut self) -> Option<Change> {
        let was_open = self.probe_at.is_some();
        if was_open || self.failures > 0 {
            *self = Self::default();
        }
        was_open.then_some(Change::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_ten_failures_in_a_row_of_three_sockets() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        let fail = |circuit: &mut Circuit, socket| circuit.failed(Some(socket), now);
        for _ in 0..100 {
            assert_eq!(fail(&mut circuit, "a"), None);
            assert_eq!(fail(&mut circuit, "b"), None);
            assert_eq!(circuit.failed(None, now), None);
        }
        assert!(circuit.admit(now));
        assert_eq!(fail(&mut circuit, "c"), Some(Change::Opened));
        assert!(!circuit.admit(now));

        let mut circuit = Circuit::default();
        for round in 0..20 {
            for socket in ["a", "b", "c"] {
                assert_eq!(fail(&mut circuit, socket), None, "{round}");
            }
            for _ in 0..6 {
                assert_eq!(fail(&mut circuit, "d"), None, "{round}");
            }
            assert_eq!(circuit.answered(), None);
        }
    }

    #[test]
    fn one_call_a_second_looks_whether_somebody_is_there_again() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for index in 0..10 {
            let _ = circuit.failed(Some(["a", "b", "c"][index % 3]), now);
        }
        for second in 1..5 {
            let at = now + PROBE_EVERY * second;
            assert!(!circuit.admit(at - Duration::from_millis(1)));
            assert!(circuit.admit(at));
            assert!(!circuit.admit(at));
            assert_eq!(circuit.failed(Some("a"), at), None);
        }
        assert_eq!(circuit.answered(), Some(Change::Closed));
        assert_eq!(circuit.answered(), None);
        assert!(circuit.admit(now) && circuit.admit(now));
    }
}
