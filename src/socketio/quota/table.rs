//! Users and their sockets on this node: who waits, what is to be written. Pure: nothing is asked here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Seat, User};
use crate::cluster::{Beats, Counted, Sockets};

/// Users that are asked for at once.
const ASKS_MAX: usize = 256;

/// Users of whom is told at once, beside those: who leaves must not hold up who comes.
const TELLS_MAX: usize = 64;

/// A refusal is final at last.
const DOUBT_MAX: Duration = Duration::from_secs(10);

/// All users with sockets here.
#[derive(Debug, Default)]
pub(super) struct Table {
    users: HashMap<User, Count, RandomState>,
    /// Users for whom somebody waits, and then those of whom Redis does not know what is; some who are done by now.
    asking: VecDeque<User>,
    telling: VecDeque<User>,
    /// Users of whom some are refused, though not for good yet.
    doubted: HashSet<User, RandomState>,
}

/// One user's sockets.
#[derive(Debug, Default)]
struct Count {
    here: usize,
    waiting: VecDeque<Waiting>,
    /// Whether Redis may hold a number of ours.
    is_written: bool,
    mark: Mark,
}

/// Whether a user is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    #[default]
    None,
    Telling,
    Asking,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Seat>,
    doubt: Option<Doubt>,
}

/// A refusal, and what was known of the other nodes then.
#[derive(Debug)]
struct Doubt {
    beats: Arc<Beats>,
    since: Instant,
}

/// What Redis is asked and told of one user.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) user: User,
    kept: usize,
    wanted: usize,
}

impl Ask {
    pub(super) fn sockets(&self, max: usize) -> Sockets {
        Sockets {
            kept: self.kept,
            wanted: self.wanted,
            max,
        }
    }
}

impl Doubt {
    fn is_over(&self, beats: &Beats, now: Instant) -> bool {
        now.duration_since(self.since) >= DOUBT_MAX || self.beats.are_over(beats)
    }
}

impl Table {
    /// Sockets of a user here.
    pub(super) fn here(&self, user: &User) -> usize {
        self.users.get(user).map_or(0, |count| count.here)
    }

    /// One more socket.
    pub(super) fn enter(&mut self, user: &User) {
        self.users.entry_ref(user).or_default().here += 1;
    }

    /// One socket more is wanted.
    pub(super) fn wait(&mut self, user: User, answer: oneshot::Sender<Seat>) {
        let waiting = Waiting { answer, doubt: None };
        self.users.entry_ref(&user).or_default().waiting.push_back(waiting);
        self.mark(&user, Mark::Asking);
    }

    /// One socket less; `is_told` where Redis is to know it. True where there is something to do about it.
    pub(super) fn leave(&mut self, user: &User, is_told: bool) -> bool {
        let Some(count) = self.users.get_mut(user) else {
            return false;
        };
        count.here = count.here.saturating_sub(1);
        let is_awaited = !count.waiting.is_empty();
        if is_told {
            self.mark(user, if is_awaited { Mark::Asking } else { Mark::Telling });
        } else {
            self.forget(user);
        }
        is_told
    }

    /// Redis may know nothing, or something else.
    pub(super) fn write_all(&mut self) {
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.mark(&user, Mark::Telling);
        }
    }

    /// Whether somebody is refused, though not for good yet.
    pub(super) fn has_doubts(&self) -> bool {
        !self.doubted.is_empty()
    }

    /// Asks again for those whose refusals are final if they are repeated.
    pub(super) fn look_again(&mut self, beats: &Beats, now: Instant) {
        let is_over = |waiting: &Waiting| waiting.doubt.as_ref().is_some_and(|doubt| doubt.is_over(beats, now));
        let users: Vec<_> = self.doubted.iter().cloned().collect();
        for user in users {
            match self.users.get(&user) {
                Some(count) if count.waiting.iter().any(is_over) => self.mark(&user, Mark::Asking),
                Some(count) if !count.waiting.is_empty() => {}
                _ => drop(self.doubted.remove(&user)),
            }
        }
    }

    fn mark(&mut self, user: &User, mark: Mark) {
        let Some(count) = self.users.get_mut(user) else {
            return;
        };
        if count.mark >= mark {
            return;
        }
        count.mark = mark;
        match mark {
            Mark::Asking => self.asking.push_back(user.clone()),
            Mark::Telling => self.telling.push_back(user.clone()),
            Mark::None => {}
        }
    }

    /// The next users to be asked for, and to be told of.
    pub(super) fn batch(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        let mut take = |queue: &mut VecDeque<User>, mark: Mark, max: usize| {
            let mut left = max;
            while left > 0
                && let Some(user) = queue.pop_front()
            {
                let Some(count) = self.users.get_mut(&user).filter(|count| count.mark == mark) else {
                    continue; // it was in the other queue as well, and is done
                };
                count.mark = Mark::None;
                count.waiting.retain(|waiting| !waiting.answer.is_closed());
                let (kept, wanted) = (count.here, count.here + count.waiting.len());
                asks.push(Ask { user, kept, wanted });
                left -= 1;
            }
        };
        take(&mut self.asking, Mark::Asking, ASKS_MAX);
        take(&mut self.telling, Mark::Telling, TELLS_MAX);
        asks
    }

    /// What came of it: those who are let in. Others hear it by their answers being dropped.
    pub(super) fn counted(
        &mut self,
        ask: &Ask,
        counted: &Counted,
        max: usize,
        beats: &Arc<Beats>,
        now: Instant,
    ) -> Vec<oneshot::Sender<Seat>> {
        let Some(count) = self.users.get_mut(&ask.user) else {
            return Vec::new();
        };
        let allowed = match counted {
            Counted::Now(sockets) => *sockets,
            Counted::Untold | Counted::Unknown(_) => ask.wanted.min(max),
        };
        count.is_written = match counted {
            Counted::Now(sockets) => *sockets > 0,
            Counted::Untold => count.is_written,
            Counted::Unknown(_) => true,
        };
        let mut asked: VecDeque<_> = count.waiting.drain(..ask.wanted - ask.kept).collect();
        let granted = asked.drain(..allowed.saturating_sub(ask.kept).min(asked.len()));
        let granted: Vec<_> = granted.map(|waiting| waiting.answer).collect();
        count.here += granted.len();
        for mut waiting in asked.into_iter().rev() {
            let doubt = waiting.doubt.get_or_insert_with(|| Doubt {
                beats: Arc::clone(beats),
                since: now,
            });
            if !doubt.is_over(beats, now) {
                count.waiting.push_front(waiting);
                self.doubted.insert(ask.user.clone());
            }
        }
        self.forget(&ask.user);
        granted
    }

    /// Forgets a user of whom there is nothing to know.
    fn forget(&mut self, user: &User) {
        let is_over = |count: &Count| {
            count.here == 0 && count.waiting.is_empty() && !count.is_written && count.mark == Mark::None
        };
        if self.users.get(user).is_some_and(is_over) {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 2;

    fn user(name: &str) -> User {
        ("/".into(), name.into())
    }

    /// So many want a socket for this user.
    fn want(table: &mut Table, user: &User, count: usize) -> Vec<oneshot::Receiver<Seat>> {
        let pairs = (0..count).map(|_| oneshot::channel());
        pairs
            .map(|(sender, receiver)| {
                table.wait(user.clone(), sender);
                receiver
            })
            .collect()
    }

    /// What one batch asks of the only user in it.
    fn ask(table: &mut Table) -> Ask {
        let mut asks = table.batch();
        assert_eq!(asks.len(), 1, "{asks:?}");
        asks.remove(0)
    }

    fn counted(table: &mut Table, ask: &Ask, counted: &Counted, beats: &Beats) -> usize {
        let beats = Arc::new(beats.clone());
        table.counted(ask, counted, MAX, &beats, Instant::now()).len()
    }

    #[test]
    fn as_many_are_let_in_as_redis_says_and_the_rest_is_refused() {
        let (mut table, alice) = (Table::default(), user("alice"));
        let mut waiting = want(&mut table, &alice, 3);
        let first = ask(&mut table);
        assert_eq!((first.kept, first.wanted), (0, 3));
        assert_eq!(counted(&mut table, &first, &Counted::Now(2), &Beats::default()), 2);
        assert_eq!(table.here(&alice), 2);
        // There is nobody else whose sockets could be gone: it is final, and told by the answer that is dropped.
        assert!(waiting.iter_mut().all(|waiting| waiting.try_recv().is_err()));
        assert!(!table.has_doubts() && table.batch().is_empty());
        assert!(table.leave(&alice, true) && table.leave(&alice, true));
        let last = ask(&mut table);
        assert_eq!((last.kept, last.wanted), (0, 0));
        assert_eq!(counted(&mut table, &last, &Counted::Now(0), &Beats::default()), 0);
        assert!(table.users.is_empty());
    }

    #[test]
    fn without_redis_those_here_are_counted_alone() {
        for unknown in [Counted::Untold, Counted::Unknown(None)] {
            let (mut table, alice) = (Table::default(), user("alice"));
            let _waiting = want(&mut table, &alice, 3);
            let first = ask(&mut table);
            assert_eq!(counted(&mut table, &first, &unknown, &Beats::default()), MAX);
            table.leave(&alice, true);
            table.leave(&alice, true);
            let last = ask(&mut table);
            counted(&mut table, &last, &unknown, &Beats::default());
            // What Redis may have taken is written again; what it never heard of is forgotten.
            assert_eq!(table.users.is_empty(), unknown == Counted::Untold);
            table.write_all();
            let again: Vec<_> = table.batch();
            for ask in &again {
                assert_eq!((ask.kept, ask.wanted), (0, 0));
                counted(&mut table, ask, &Counted::Now(0), &Beats::default());
            }
            assert!(table.users.is_empty());
        }
    }

    #[test]
    fn a_refusal_that_rests_on_others_is_final_once_they_were_heard_of() {
        let (mut table, alice) = (Table::default(), user("alice"));
        let beats = |times| Beats::of(&[("other", times)]);
        let mut waiting = want(&mut table, &alice, 1);
        let first = ask(&mut table);
        counted(&mut table, &first, &Counted::Now(0), &beats(1));
        assert!(table.has_doubts());
        table.look_again(&beats(1), Instant::now());
        assert!(table.batch().is_empty() && !waiting[0].is_terminated());
        // A second one of this user asks meanwhile: that changes nothing for the first.
        let _second = want(&mut table, &alice, 1);
        let both = ask(&mut table);
        assert_eq!((both.kept, both.wanted), (0, 2));
        counted(&mut table, &both, &Counted::Now(0), &beats(1));
        table.look_again(&beats(2), Instant::now());
        let again = ask(&mut table);
        counted(&mut table, &again, &Counted::Now(0), &beats(2));
        assert!(matches!(
            waiting[0].try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        // Or it is let in, as the other is gone.
        let mut waiting = want(&mut table, &alice, 1);
        let first = ask(&mut table);
        counted(&mut table, &first, &Counted::Now(0), &beats(2));
        table.look_again(&Beats::default(), Instant::now());
        let again = ask(&mut table);
        assert_eq!(counted(&mut table, &again, &Counted::Now(1), &Beats::default()), 1);
        drop(waiting.pop());
        table.look_again(&Beats::default(), Instant::now());
        assert!(!table.has_doubts());
    }

    #[test]
    fn nobody_is_left_in_doubt() {
        let (mut table, alice) = (Table::default(), user("alice"));
        let mut waiting = want(&mut table, &alice, 1);
        let silent = Beats::of(&[("silent", 1)]);
        let first = ask(&mut table);
        counted(&mut table, &first, &Counted::Now(0), &silent);
        let late = Instant::now() + DOUBT_MAX;
        table.look_again(&silent, late);
        let again = ask(&mut table);
        table.counted(&again, &Counted::Now(0), MAX, &Arc::new(silent), late);
        assert!(matches!(
            waiting[0].try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }

    #[test]
    fn who_does_not_wait_any_more_takes_no_place() {
        let (mut table, alice) = (Table::default(), user("alice"));
        let mut waiting = want(&mut table, &alice, 3);
        waiting.truncate(1);
        let first = ask(&mut table);
        assert_eq!((first.kept, first.wanted), (0, 1));
        drop(waiting);
        assert_eq!(counted(&mut table, &first, &Counted::Now(1), &Beats::default()), 1);
        table.leave(&alice, true); // what its seat does, which nobody takes
        assert_eq!(ask(&mut table).wanted, 0);
    }

    #[test]
    fn many_who_leave_are_told_of_once_and_hold_nobody_up() {
        let mut table = Table::default();
        let users: Vec<_> = (0..10_000).map(|number| user(&number.to_string())).collect();
        for user in &users {
            table.enter(user);
            table.enter(user);
        }
        for user in users.iter().chain(&users) {
            table.leave(user, true);
        }
        let _waiting = want(&mut table, &users[9_999], 1);
        let mut told = 0;
        loop {
            let batch = table.batch();
            assert!(batch.len() <= TELLS_MAX + 1);
            if told == 0 {
                assert_eq!((&batch[0].user, batch[0].wanted), (&users[9_999], 1));
            }
            if batch.is_empty() {
                break;
            }
            told += batch.len();
        }
        assert_eq!(told, 10_000);
    }
}
