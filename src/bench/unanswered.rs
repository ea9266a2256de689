//! Events whose acknowledgement is waited for, by number.

use std::collections::VecDeque;

/// More are not waited for: the oldest are forgotten.
const LENGTH_MAX: usize = 65_536;

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

/// An event that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// When it was said.
    pub(super) said: u64,
    /// Whether all before it were answered.
    pub(super) is_in_order: bool,
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

    /// Takes out the event of this number, unless it is answered or forgotten.
    pub(super) fn take(&mut self, number: u64) -> Option<Answered> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let place = self.said.get_mut(index).filter(|said| **said != ANSWERED)?;
        let said = std::mem::replace(place, ANSWERED);
        while self.said.front() == Some(&ANSWERED) {
            self.said.pop_front();
            self.first += 1;
        }
        Some(Answered {
            said,
            is_in_order: index == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_once_and_their_order_is_seen() {
        let mut events = Unanswered::default();
        assert_eq!([10, 20, 30].map(|now| events.push(now)), [0, 1, 2]);
        let taken = |said, is_in_order| Some(Answered { said, is_in_order });
        assert_eq!(events.take(1), taken(20, false));
        assert_eq!(events.take(1), None);
        assert_eq!(events.take(0), taken(10, true));
        assert_eq!(events.take(2), taken(30, true));
        assert_eq!(events.take(2), None);
        assert_eq!(events.take(u64::MAX), None);
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
