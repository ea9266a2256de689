//! The rooms that this node is known to be in, and what is to be done about those that changed. Pure: time is an argument,
//! and nothing is asked here.

use std::time::Duration;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use tokio::time::Instant;

use crate::cluster::redis::Failure;
use crate::cluster::{Place, Vacated};

/// Rooms that are asked about at once.
const ASKS_MAX: usize = 128;

/// After Redis may have lost something: time in which all gateways write again what they know. Before that, nobody says
/// that a room is new, or that nobody is in it, because Redis does not know it.
const GRACE: Duration = Duration::from_secs(5);

/// How soon it is tried again where Redis refuses.
const REFUSED_AGAIN: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Table {
    known: HashMap<Place, Room, RandomState>,
    /// Rooms to be looked at.
    changed: HashSet<Place, RandomState>,
    /// Rooms to be looked at later.
    later: HashMap<Place, Instant, RandomState>,
    /// When all is written once more: others may have been about to clear up after us.
    again: Option<Instant>,
    /// Until then new rooms wait.
    hold: Option<Instant>,
    /// Redis has been there.
    has_begun: bool,
}

/// A room that we are in, as far as Redis may know.
#[derive(Debug)]
struct Room {
    /// The occupancy's id, once the application was told of it.
    told: Option<CompactString>,
    /// The id that it gets if we are the first.
    fresh: CompactString,
    /// Redis knows that we are in it.
    is_written: bool,
    /// Since when Redis is known not to know it, though we were in it.
    unknown: Option<Instant>,
}

/// What is asked of Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Occupy {
        place: Place,
        known: Option<CompactString>,
        fresh: CompactString,
    },
    Vacate {
        place: Place,
        known: CompactString,
        is_final: bool,
    },
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Answer {
    Occupied(Place, Result<CompactString, Failure>),
    Vacated(Place, Result<Vacated, Failure>),
}

/// What the application is told, with the occupancy's id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Occupied(Place, CompactString),
    Vacated(Place, CompactString),
}

impl Answer {
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Occupied(_, answer) => answer.as_ref().err(),
            Self::Vacated(_, answer) => answer.as_ref().err(),
        }
    }
}

impl Table {
    /// A table of a node that has just started; whether Redis is there already.
    pub(super) fn new(is_up: bool) -> Self {
        Self {
            has_begun: is_up,
            ..Self::default()
        }
    }

    /// These rooms may have changed.
    pub(super) fn look_at(&mut self, rooms: impl IntoIterator<Item = Place>) {
        self.changed.extend(rooms);
    }

    /// Redis may have lost everything.
    pub(super) fn write_all(&mut self, now: Instant, is_alone: bool) {
        if self.has_begun && !is_alone {
            self.hold = Some(now + GRACE);
        }
        self.has_begun = true;
        self.again = Some(now + 2 * GRACE);
        self.refresh();
    }

    /// Writes everything again.
    pub(super) fn refresh(&mut self) {
        self.known.values_mut().for_each(|room| room.is_written = false);
        self.changed.extend(self.known.keys().cloned());
    }

    /// When something is to be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.values().copied().chain(self.again).min()
    }

    /// Looks again at what is due.
    pub(super) fn wake(&mut self, now: Instant) {
        let due = self.later.extract_if(|_, due| *due <= now);
        self.changed.extend(due.map(|(place, _)| place));
        if self.again.take_if(|again| *again <= now).is_some() {
            self.refresh();
        }
    }

    /// What is to be asked about some of the rooms that changed; `None` where none did.
    pub(super) fn batch(
        &mut self,
        now: Instant,
        is_occupied: impl Fn(&Place) -> bool,
        new_id: impl Fn() -> CompactString,
    ) -> Option<Vec<Ask>> {
        if self.changed.is_empty() {
            return None;
        }
        let places: Vec<_> = self.changed.iter().take(ASKS_MAX).cloned().collect();
        let mut asks = Vec::new();
        for place in places {
            self.changed.remove(&place);
            let ask = if is_occupied(&place) {
                self.occupy(place, now, &new_id)
            } else {
                self.vacate(place, now)
            };
            asks.extend(ask);
        }
        Some(asks)
    }

    fn occupy(&mut self, place: Place, now: Instant, new_id: impl Fn() -> CompactString) -> Option<Ask> {
        let room = self.known.entry_ref(&place).or_insert_with(|| Room {
            told: None,
            fresh: new_id(),
            is_written: false,
            unknown: None,
        });
        if room.unknown.take().is_some() {
            room.is_written = false;
        }
        if room.is_written {
            return None;
        }
        if let Some(hold) = self.hold.filter(|hold| room.told.is_none() && *hold > now) {
            self.later.insert(place, hold);
            return None;
        }
        if room.told.as_ref() == Some(&room.fresh) {
            room.fresh = new_id(); // the next occupancy is another one
        }
        Some(Ask::Occupy {
            known: room.told.clone(),
            fresh: room.fresh.clone(),
            place,
        })
    }

    fn vacate(&mut self, place: Place, now: Instant) -> Option<Ask> {
        let room = self.known.get(&place)?;
        let waits_until = room.unknown.map(|since| since + GRACE);
        if let Some(until) = waits_until.filter(|until| *until > now) {
            self.later.insert(place, until);
            return None;
        }
        let known = room.told.as_ref().unwrap_or(&room.fresh).clone();
        // What nobody was told of needs no end.
        let is_final = waits_until.is_some() && room.told.is_some();
        Some(Ask::Vacate { place, known, is_final })
    }

    /// Redis has answered, or has not: what the application is to be told.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) -> Option<Told> {
        if let Some(failure) = answer.failure() {
            // Where it is away, all is written anew when it is back.
            let again = matches!(failure, Failure::Refused(_)).then(|| now + REFUSED_AGAIN);
            let (Answer::Occupied(place, _) | Answer::Vacated(place, _)) = answer;
            self.later.extend(again.map(|again| (place, again)));
            return None;
        }
        match answer {
            Answer::Occupied(place, Ok(id)) => {
                let room = self.known.get_mut(&place)?;
                room.is_written = true;
                let is_new = id == room.fresh;
                room.told = Some(id.clone());
                is_new.then_some(Told::Occupied(place, id))
            }
            Answer::Vacated(place, Ok(Vacated::Unknown)) => {
                let room = self.known.get_mut(&place)?;
                if room.told.is_none() {
                    self.known.remove(&place);
                    return None;
                }
                room.unknown = Some(now);
                self.later.insert(place, now + GRACE);
                None
            }
            Answer::Vacated(place, Ok(vacated)) => {
                let room = self.known.remove(&place)?;
                match vacated {
                    Vacated::Last(id) if room.told.is_some() || id != room.fresh => Some(Told::Vacated(place, id)),
                    _ => None,
                }
            }
            Answer::Occupied(_, Err(_)) | Answer::Vacated(_, Err(_)) => None, // seen above
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const ROOM: &str = "r";

    /// A table with one room, and a clock.
    struct Fixture {
        table: Table,
        is_occupied: bool,
        ids: Cell<u32>,
        now: Instant,
    }

    fn place() -> Place {
        ("/".into(), ROOM.into())
    }

    fn occupy(known: Option<&str>, fresh: &str) -> Option<Ask> {
        Some(Ask::Occupy {
            place: place(),
            known: known.map(CompactString::from),
            fresh: fresh.into(),
        })
    }

    fn vacate(known: &str, is_final: bool) -> Option<Ask> {
        Some(Ask::Vacate {
            place: place(),
            known: known.into(),
            is_final,
        })
    }

    impl Fixture {
        fn new() -> Self {
            let mut table = Table::new(false);
            table.write_all(Instant::now(), true);
            Self {
                table,
                is_occupied: false,
                ids: Cell::new(0),
                now: Instant::now(),
            }
        }

        /// The room is so now; what is asked.
        fn changes(&mut self, is_occupied: bool) -> Option<Ask> {
            self.is_occupied = is_occupied;
            self.table.look_at([place()]);
            self.asks()
        }

        fn asks(&mut self) -> Option<Ask> {
            let is_occupied = self.is_occupied;
            let new_id = || {
                self.ids.set(self.ids.get() + 1);
                CompactString::from(format!("id-{}", self.ids.get()))
            };
            let asks = self.table.batch(self.now, |_| is_occupied, new_id)?;
            assert!(asks.len() <= 1, "{asks:?}");
            asks.into_iter().next()
        }

        fn later(&mut self, time: Duration) -> Option<Ask> {
            self.now += time;
            self.table.wake(self.now);
            self.asks()
        }

        fn occupied(&mut self, id: &str) -> Option<Told> {
            self.table.answered(Answer::Occupied(place(), Ok(id.into())), self.now)
        }

        fn vacated(&mut self, vacated: Vacated) -> Option<Told> {
            self.table.answered(Answer::Vacated(place(), Ok(vacated)), self.now)
        }

        fn fails(&mut self, failure: Failure) {
            assert_eq!(
                self.table.answered(Answer::Occupied(place(), Err(failure)), self.now),
                None
            );
        }
    }

    #[test]
    fn the_first_tells_and_the_last() {
        let mut room = Fixture::new();
        assert_eq!(room.changes(true), occupy(None, "id-1"));
        assert_eq!(room.occupied("id-1"), Some(Told::Occupied(place(), "id-1".into())));
        assert_eq!(room.changes(true), None, "that is known");
        assert_eq!(room.changes(false), vacate("id-1", false));
        assert_eq!(
            room.vacated(Vacated::Last("id-1".into())),
            Some(Told::Vacated(place(), "id-1".into()))
        );
        assert_eq!(room.changes(false), None);
        // Somebody else is in it.
        assert_eq!(room.changes(true), occupy(None, "id-2"));
        assert_eq!(room.occupied("theirs"), None);
        assert_eq!(room.changes(false), vacate("theirs", false));
        assert_eq!(room.vacated(Vacated::Occupied), None);
        assert!(room.table.known.is_empty());
    }

    #[test]
    fn what_redis_did_without_saying_so_is_told_when_it_says_so() {
        let mut room = Fixture::new();
        assert_eq!(room.changes(true), occupy(None, "id-1"));
        room.fails(Failure::Timeout);
        room.table.write_all(room.now, true);
        assert_eq!(room.asks(), occupy(None, "id-1"), "the same id: it is known to be ours");
        assert_eq!(room.occupied("id-1"), Some(Told::Occupied(place(), "id-1".into())));
        // And what nobody was told of needs no end.
        let mut room = Fixture::new();
        assert_eq!(room.changes(true), occupy(None, "id-1"));
        room.fails(Failure::Away);
        assert_eq!(room.changes(false), vacate("id-1", false));
        assert_eq!(room.vacated(Vacated::Last("id-1".into())), None);
        assert!(room.table.known.is_empty());
    }

    #[test]
    fn what_redis_lost_is_written_again_and_what_is_new_waits_for_the_others() {
        let mut room = Fixture::new();
        room.changes(true);
        room.occupied("id-1");
        room.table.write_all(room.now, false);
        assert_eq!(room.asks(), occupy(Some("id-1"), "id-2"));
        assert_eq!(room.occupied("id-1"), None);
        assert_eq!(
            room.later(2 * GRACE),
            occupy(Some("id-1"), "id-2"),
            "once more, to be sure"
        );
        assert_eq!(
            room.occupied("id-2"),
            Some(Told::Occupied(place(), "id-2".into())),
            "taken for dead"
        );
        let mut room = Fixture::new();
        room.table.write_all(room.now, false);
        assert_eq!(room.changes(true), None);
        assert_eq!(room.table.due(), Some(room.now + GRACE));
        assert_eq!(room.later(GRACE), occupy(None, "id-1"));
    }

    #[test]
    fn a_room_that_redis_does_not_know_is_vacated_once_all_have_written_theirs() {
        let mut room = Fixture::new();
        room.changes(true);
        room.occupied("id-1");
        assert_eq!(room.changes(false), vacate("id-1", false));
        assert_eq!(room.vacated(Vacated::Unknown), None);
        assert_eq!(room.changes(false), None);
        assert_eq!(room.later(GRACE), vacate("id-1", true));
        assert_eq!(
            room.vacated(Vacated::Last("id-1".into())),
            Some(Told::Vacated(place(), "id-1".into()))
        );
        // Or somebody comes back before.
        room.changes(true);
        room.occupied("id-2");
        room.changes(false);
        room.vacated(Vacated::Unknown);
        assert_eq!(room.changes(true), occupy(Some("id-2"), "id-3"));
        assert_eq!(room.occupied("id-2"), None);
    }

    #[test]
    fn what_redis_refuses_is_tried_again() {
        let mut room = Fixture::new();
        room.changes(true);
        room.fails(Failure::Refused("NOPERM".into()));
        assert_eq!(room.later(REFUSED_AGAIN), occupy(None, "id-1"));
    }
}
