//! The books of a fan-out: what was published, what came of it, and what was lost.
//!
//! No I/O and no clock: time is an argument. Every delivery passes here, so nothing here allocates for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::Notify;

use super::quantiles::Times;
use super::stamp::Stamp;
use super::unanswered::Unanswered;

/// Nanoseconds without a delivery after which a message is written off.
const PATIENCE: u64 = 2_000_000_000;

/// The books of a run.
pub(super) struct Books {
    publishers: Vec<Publisher>,
    /// Whether this is the measured part of the run.
    is_measuring: Cell<bool>,
    /// Deliveries that must come, of the whole run.
    pub(super) expected: Cell<u64>,
    /// Deliveries that came.
    pub(super) received: Cell<u64>,
    /// Deliveries that were not newer than the one before them, from the same publisher to the same subscriber.
    pub(super) out_of_order: Cell<u64>,
    /// Messages that were written off.
    pub(super) written_off: Cell<u64>,
    /// Messages that were published.
    pub(super) published: Cell<u64>,
    /// From a publish to its delivery, measured part.
    pub(super) delays: Times,
    /// From a publish to its acknowledgement, measured part.
    pub(super) answers: Times,
}

/// What one publisher has under way.
struct Publisher {
    flight: RefCell<Flight>,
    unanswered: RefCell<Unanswered>,
    /// Told when a message has reached everybody.
    complete: Notify,
}

/// Messages under way, the oldest first.
#[derive(Default)]
struct Flight {
    /// Number of the first.
    first: u32,
    messages: VecDeque<Message>,
    /// How many of them are neither complete nor written off.
    open: usize,
}

struct Message {
    /// Deliveries that are still to come; 0 for one that is done with.
    left: u32,
    /// When it was sent or last delivered.
    moved: u64,
}

/// What one subscriber has seen: by publisher, the number behind the last message.
pub(super) type Seen = Vec<u32>;

impl Books {
    pub(super) fn new(publishers: usize) -> Self {
        let publisher = || Publisher {
            flight: RefCell::default(),
            unanswered: RefCell::default(),
            complete: Notify::new(),
        };
        Self {
            publishers: (0..publishers).map(|_| publisher()).collect(),
            is_measuring: Cell::new(false),
            expected: Cell::new(0),
            received: Cell::new(0),
            out_of_order: Cell::new(0),
            written_off: Cell::new(0),
            published: Cell::new(0),
            delays: Times::new(),
            answers: Times::new(),
        }
    }

    pub(super) fn measure(&self, is_measuring: bool) {
        self.is_measuring.set(is_measuring);
    }

    /// Enters a message of `publisher` that `subscribers` are to get, one at least, and returns its number and the one under
    /// which it is to be acknowledged.
    pub(super) fn publish(&self, publisher: usize, subscribers: u32, now: u64) -> (u32, u64) {
        debug_assert!(subscribers > 0, "a message to nobody is never complete");
        let publisher = &self.publishers[publisher];
        let mut flight = publisher.flight.borrow_mut();
        let number = flight.first.wrapping_add(flight.messages.len() as u32);
        flight.messages.push_back(Message {
            left: subscribers,
            moved: now,
        });
        flight.open += 1;
        add(&self.expected, subscribers.into());
        add(&self.published, 1);
        (number, publisher.unanswered.borrow_mut().push(now))
    }

    /// Enters a delivery.
    #[inline]
    pub(super) fn deliver(&self, stamp: Stamp, seen: &mut Seen, now: u64) {
        let index = stamp.publisher as usize;
        let Some(publisher) = self.publishers.get(index) else {
            return;
        };
        if seen.len() <= index {
            seen.resize(index + 1, 0);
        }
        let behind_last = std::mem::replace(&mut seen[index], stamp.number.saturating_add(1));
        if stamp.number < behind_last {
            add(&self.out_of_order, 1);
        }
        if stamp.number.saturating_add(1) == behind_last {
            return; // a repeat makes good for nobody's loss
        }
        add(&self.received, 1);
        if self.is_measuring.get() {
            self.delays.add(now.saturating_sub(stamp.sent));
        }
        if publisher.flight.borrow_mut().deliver(stamp.number, now) {
            publisher.complete.notify_one();
        }
    }

    /// Enters the acknowledgement of a message.
    pub(super) fn answer(&self, publisher: usize, number: u64, now: u64) {
        let said = self.publishers[publisher].unanswered.borrow_mut().take(number);
        if let Some(said) = said.filter(|_| self.is_measuring.get()) {
            self.answers.add(now.saturating_sub(said));
        }
    }

    /// Messages of a publisher that have not reached everybody.
    pub(super) fn open(&self, publisher: usize) -> usize {
        self.publishers[publisher].flight.borrow().open
    }

    /// Waits until a message of this publisher has reached everybody.
    pub(super) async fn completed(&self, publisher: usize) {
        self.publishers[publisher].complete.notified().await;
    }

    /// Writes off what has not moved for two seconds: a loss must not hold up the run.
    pub(super) fn write_off(&self, publisher: usize, now: u64) {
        let count = self.publishers[publisher].flight.borrow_mut().write_off(now);
        add(&self.written_off, count);
    }

    /// Deliveries that have not come.
    pub(super) fn missing(&self) -> u64 {
        self.expected.get().saturating_sub(self.received.get())
    }
}

impl Flight {
    /// Enters a delivery; whether it was the message's last.
    #[inline]
    fn deliver(&mut self, number: u32, now: u64) -> bool {
        let index = number.wrapping_sub(self.first) as usize;
        let Some(message) = self.messages.get_mut(index).filter(|message| message.left > 0) else {
            return false; // one too many, or too late
        };
        message.left -= 1;
        message.moved = now;
        if message.left > 0 {
            return false;
        }
        self.open -= 1;
        self.forget();
        true
    }

    fn write_off(&mut self, now: u64) -> u64 {
        let mut count = 0;
        for message in &mut self.messages {
            if message.left > 0 && now.saturating_sub(message.moved) >= PATIENCE {
                message.left = 0;
                count += 1;
            }
        }
        self.open -= count;
        self.forget();
        count as u64
    }

    /// Takes out what is done with.
    fn forget(&mut self) {
        while self.messages.front().is_some_and(|message| message.left == 0) {
            self.messages.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u32, sent: u64) -> Stamp {
        Stamp {
            publisher: 1,
            number,
            sent,
        }
    }

    #[test]
    fn a_message_is_complete_when_everybody_has_it() {
        let books = Books::new(2);
        let (mut first, mut second) = (Seen::new(), Seen::new());
        assert_eq!([books.publish(1, 2, 0), books.publish(1, 2, 5)], [(0, 0), (1, 1)]);
        books.deliver(stamp(0, 0), &mut first, 10);
        assert_eq!(books.open(1), 2);
        books.deliver(stamp(1, 5), &mut first, 10);
        books.deliver(stamp(1, 5), &mut second, 10);
        assert_eq!((books.open(1), books.missing()), (1, 1));
        books.deliver(stamp(0, 0), &mut second, 10);
        assert_eq!((books.open(1), books.open(0), books.missing()), (0, 0, 0));
        assert_eq!(
            (books.expected.get(), books.received.get(), books.published.get()),
            (4, 4, 2)
        );
        assert_eq!(books.out_of_order.get(), 1, "the second one saw 1 before 0");
        assert_eq!(books.publish(1, 1, 20), (2, 2));
    }

    #[test]
    fn repeats_are_counted_and_complete_nothing() {
        let books = Books::new(2);
        let mut seen = Seen::new();
        books.publish(1, 2, 0);
        for _ in 0..2 {
            books.deliver(stamp(0, 0), &mut seen, 1);
        }
        assert_eq!((books.received.get(), books.out_of_order.get()), (1, 1));
        books.deliver(stamp(0, 0), &mut seen, 1);
        assert_eq!((books.received.get(), books.open(1), books.missing()), (1, 1, 1));
        books.deliver(
            Stamp {
                publisher: 9,
                ..stamp(0, 0)
            },
            &mut seen,
            1,
        );
        assert_eq!(books.received.get(), 1, "of no publisher of ours");
    }

    #[test]
    fn what_does_not_move_is_written_off_once_and_may_still_come() {
        let books = Books::new(2);
        let mut seen = Seen::new();
        books.publish(1, 2, 0);
        books.publish(1, 2, 0);
        books.deliver(stamp(1, 0), &mut seen, 1_000_000_000);
        books.write_off(1, PATIENCE - 1);
        assert_eq!((books.written_off.get(), books.open(1)), (0, 2));
        books.write_off(1, PATIENCE);
        assert_eq!((books.written_off.get(), books.open(1)), (1, 1));
        books.write_off(1, PATIENCE + 1_000_000_000);
        assert_eq!((books.written_off.get(), books.open(1)), (2, 0));
        assert_eq!(books.missing(), 3);
        books.deliver(stamp(0, 0), &mut Seen::new(), PATIENCE * 2);
        assert_eq!((books.missing(), books.open(1)), (2, 0));
        assert_eq!(books.publish(1, 1, 0), (2, 2));
    }

    #[test]
    fn times_count_in_the_measured_part_alone() {
        let books = Books::new(2);
        let mut seen = Seen::new();
        for number in 0..3 {
            books.measure(number == 1);
            books.publish(1, 1, 1_000_000);
            books.deliver(stamp(number, 1_000_000), &mut seen, 3_000_000);
            books.answer(1, number.into(), 2_000_000);
            books.answer(1, number.into(), 9_000_000);
        }
        let (delays, answers) = (books.delays.quantiles().unwrap(), books.answers.quantiles().unwrap());
        assert_eq!((delays.max, delays.mean), (2000, 2000.0));
        assert_eq!((answers.max, answers.mean), (1000, 1000.0));
    }
}
