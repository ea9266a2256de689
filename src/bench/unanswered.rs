//! Events whose acknowledgement is waited for, by number.

use std::collections::VecDeque;

/// More are not waited for: the oldest are forgotten.
pub(super) const LENGTH_MAX: usize = 65_536;

/// Stands for an event that was answered.
const ANSWERED: u64 = u64::MAX;

/// Events in the order in which they were said.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// Number of the first.
    first: u64,
    /// When each was said.
    said: VecDeque<u64>,
}

impl Unanswered {
    /// Enters an event and returns its number.
    pub(super) fn push(&mut self, now: u64) -> u64 {
        if self.said.len() == LENGTH_MAX {
            self.said.pop_front();
            self.first += 1;
        }
        self.said.push_back(now.min(ANSWERED - 1));
        self.first + self.said.len() as u64 - 1
    }

    /// Takes out the event of this number, unless it is answered or forgotten, and tells when it was said.
    pub(super) fn take(&mut self, number: u64) -> Option<u64> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let place = self.said.get_mut(index).filter(|said| **said != ANSWERED)?;
        let said = std::mem::replace(place, ANSWERED);
        while self.said.front() == Some(&ANSWERED) {
            self.said.pop_front();
            self.first += 1;
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_once_and_in_any_order() {
        let mut events = Unanswered::default();
        assert_eq!([10, 20, 30].map(|now| events.push(now)), [0, 1, 2]);
        for (number, expected) in [
            (1, Some(20)),
            (1, None),
            (0, Some(10)),
            (2, Some(30)),
            (2, None),
            (u64::MAX, None),
        ] {
            assert_eq!(events.take(number), expected, "{number}");
        }
        assert_eq!(events.push(40), 3);
    }

    #[test]
    fn what_is_never_answered_is_forgotten() {
        let mut events = Unanswered::default();
        for now in 0..LENGTH_MAX as u64 + 2 {
            events.push(now);
        }
        assert_eq!(events.said.len(), LENGTH_MAX);
        assert_eq!(events.take(1), None);
        assert!(events.take(2).is_some());
    }
}
