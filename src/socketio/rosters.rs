//! Who is on other gateways, in rooms whose members are told who comes and goes: so that they can be told when a whole
//! gateway is gone. Pure.
//!
//! Learned from the announcements that come by, and by asking when a room gets its first member here. Kept for rooms with
//! members here. The first four characters of an id are the tag of its gateway.

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;

use super::announce::Movement;
use crate::cluster::Roster;
use crate::hub::Name;

/// Sockets that are kept count of. Of those beyond nobody hears when their gateway dies.
const SOCKETS_MAX: usize = 100_000;

/// Gateways that are remembered to be gone.
const GONE_MAX: usize = 1000;

/// The sockets of other gateways.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    namespaces: HashMap<Name, Rooms, RandomState>,
    sockets: usize,
    sockets_max: usize,
    /// Those for which there was no room.
    overflown: u64,
    /// Tags of gateways that are gone, the last one last: what still comes of them is late.
    gone: VecDeque<CompactString>,
}

type Rooms = HashMap<CompactString, Sockets, RandomState>;

type Sockets = HashMap<CompactString, Known, RandomState>;

/// What is known of a socket in a room.
#[derive(Clone, Debug)]
struct Known {
    presence: Presence,
    user: Option<CompactString>,
}

/// Whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It is there. Whether its own announcement has come by.
    There { is_told: bool },
    /// Members were told that it left, before its own announcement came by.
    Gone,
}

/// What members of a room here are to be told of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) movement: Movement,
    pub(super) room: CompactString,
    /// The id that it is shown by.
    pub(super) id: CompactString,
    pub(super) user: Option<CompactString>,
}

impl Rosters {
    pub(super) fn new() -> Self {
        Self {
            sockets_max: SOCKETS_MAX,
            ..Self::default()
        }
    }

    /// Rooms that have members here: those that had none so far.
    pub(super) fn want(&mut self, namespace: &Name, rooms: &[Name]) -> Vec<CompactString> {
        let mut new = Vec::new();
        if rooms.is_empty() {
            return new;
        }
        let known = self.namespaces.entry(Name::clone(namespace)).or_default();
        for room in rooms {
            let room = CompactString::from(&**room);
            if !known.contains_key(&room) {
                known.insert(room.clone(), Sockets::default());
                new.push(room);
            }
        }
        new
    }

    /// A room has no members here any more.
    pub(super) fn forget(&mut self, namespace: &str, room: &str) {
        if let Some(rooms) = self.namespaces.get_mut(namespace) {
            self.sockets -= rooms.remove(room).map_or(0, |sockets| sockets.len());
            if rooms.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// All rooms that are kept.
    pub(super) fn rooms(&self) -> Vec<(Name, Vec<CompactString>)> {
        let namespaces = self.namespaces.iter();
        namespaces
            .map(|(name, rooms)| (Name::clone(name), rooms.keys().cloned().collect()))
            .collect()
    }

    /// A socket is announced: whether members here are to hear of it.
    pub(super) fn announced(
        &mut self,
        namespace: &str,
        room: &str,
        movement: Movement,
        (id, user): (&str, Option<&str>),
    ) -> bool {
        if self.gone.iter().any(|tag| id.starts_with(&**tag)) {
            return false;
        }
        let Some(sockets) = self.namespaces.get_mut(namespace).and_then(|rooms| rooms.get_mut(room)) else {
            return true;
        };
        match movement {
            Movement::Join => {
                let there = Presence::There { is_told: true };
                match sockets.get_mut(id) {
                    Some(known) => std::mem::replace(&mut known.presence, there) != there,
                    None => {
                        if self.sockets < self.sockets_max {
                            let user = user.map(CompactString::from);
                            sockets.insert(id.into(), Known { presence: there, user });
                            self.sockets += 1;
                        } else {
                            self.overflown += 1;
                        }
                        true
                    }
                }
            }
            Movement::Leave => {
                let known = sockets.remove(id);
                self.sockets -= usize::from(known.is_some());
                known.is_none_or(|known| known.presence != Presence::Gone)
            }
        }
    }

    /// A gateway says who is in rooms there: what members here are to be told, if something may have been missed.
    pub(super) fn learn(&mut self, roster: &Roster) -> Vec<News> {
        let mut news = Vec::new();
        if self.gone.contains(&roster.tag) {
            return news;
        }
        let Some(rooms) = self.namespaces.get_mut(&*roster.namespace) else {
            return news;
        };
        for (room, ids) in &roster.rooms {
            let Some(sockets) = rooms.get_mut(room) else {
                continue;
            };
            if roster.is_again && roster.is_complete {
                let named: hashbrown::HashSet<&CompactString, RandomState> = ids.iter().collect();
                for (id, known) in sockets.iter_mut() {
                    let is_there = matches!(known.presence, Presence::There { .. });
                    if is_there && id.starts_with(&*roster.tag) && !named.contains(id) {
                        known.presence = Presence::Gone;
                        news.push(News {
                            movement: Movement::Leave,
                            room: room.clone(),
                            id: id.clone(),
                            user: known.user.clone(),
                        });
                    }
                }
            }
            for id in ids.iter().filter(|id| id.starts_with(&*roster.tag)) {
                let there = Presence::There {
                    is_told: roster.is_again,
                };
                let is_there = |known: &Known| matches!(known.presence, Presence::There { .. });
                let is_known = sockets.get(id).is_some_and(is_there);
                if is_known {
                    continue;
                }
                if self.sockets >= self.sockets_max && !sockets.contains_key(id) {
                    self.overflown += 1;
                    continue;
                }
                let user = roster.users.get(id).cloned();
                let known = Known {
                    presence: there,
                    user: user.clone(),
                };
                self.sockets += usize::from(sockets.insert(id.clone(), known).is_none());
                if roster.is_again {
                    news.push(News {
                        movement: Movement::Join,
                        room: room.clone(),
                        id: id.clone(),
                        user,
                    });
                }
            }
        }
        news
    }

    /// A gateway is gone, and all its sockets with it: what members here are to be told.
    pub(super) fn lose(&mut self, tag: &str) -> Vec<(Name, News)> {
        let mut news = Vec::new();
        for (namespace, rooms) in &mut self.namespaces {
            for (room, sockets) in rooms {
                for (id, Known { presence, user }) in sockets.extract_if(|id, _| id.starts_with(tag)) {
                    self.sockets -= 1;
                    if presence != Presence::Gone {
                        let (movement, room) = (Movement::Leave, room.clone());
                        let gone = News {
                            movement,
                            room,
                            id,
                            user,
                        };
                        news.push((Name::clone(namespace), gone));
                    }
                }
            }
        }
        self.found(tag);
        if self.gone.len() >= GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(tag.into());
        news
    }

    /// A gateway is there, perhaps again.
    pub(super) fn found(&mut self, tag: &str) {
        self.gone.retain(|gone| gone != tag);
    }

    /// How many were announced for whom there was no room since this was asked last.
    pub(super) fn take_overflown(&mut self) -> u64 {
        std::mem::take(&mut self.overflown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Users;

    const A: &str = "AAAA0000000000000001";
    const B: &str = "BBBB0000000000000001";

    fn rosters() -> Rosters {
        let mut rosters = Rosters::new();
        assert_eq!(rosters.want(&"/".into(), &["r".into()]), ["r"]);
        assert!(rosters.want(&"/".into(), &["r".into()]).is_empty());
        rosters
    }

    fn roster(tag: &str, ids: &[&str], is_again: bool) -> Roster {
        Roster {
            tag: tag.into(),
            namespace: "/".into(),
            rooms: vec![("r".into(), ids.iter().map(|id| CompactString::from(*id)).collect())],
            users: Users::from([(A.into(), "alice".into())]),
            is_again,
            is_complete: true,
        }
    }

    fn lost(rosters: &mut Rosters, tag: &str) -> Vec<CompactString> {
        let lost = rosters.lose(tag).into_iter();
        let mut lost: Vec<_> = lost
            .map(|(_, news)| {
                assert_eq!(news.movement, Movement::Leave);
                news.id
            })
            .collect();
        lost.sort();
        lost
    }

    #[test]
    fn the_sockets_of_a_gateway_that_died_leave_once() {
        let mut rosters = rosters();
        let second = "AAAA0000000000000002";
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert!(rosters.announced("/", "r", Movement::Join, (B, None)));
        assert!(rosters.learn(&roster("AAAA", &[A, second, B], false)).is_empty());
        assert_eq!(lost(&mut rosters, "AAAA"), [A, second]);
        assert_eq!(lost(&mut rosters, "AAAA"), [""; 0]);
        for movement in [Movement::Join, Movement::Leave] {
            assert!(!rosters.announced("/", "r", movement, (A, Some("alice"))), "it is late");
        }
        assert!(rosters.learn(&roster("AAAA", &[A], true)).is_empty(), "it is late");
        rosters.found("AAAA");
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert_eq!(lost(&mut rosters, "BBBB"), [B]);
    }

    #[test]
    fn who_was_there_before_is_announced_when_its_announcement_comes() {
        let mut rosters = rosters();
        assert!(rosters.learn(&roster("AAAA", &[A], false)).is_empty());
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert!(!rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert!(rosters.announced("/", "r", Movement::Leave, (A, Some("alice"))));
        assert!(
            rosters.announced("/", "r", Movement::Leave, (B, None)),
            "known to somebody"
        );
        assert_eq!(rosters.sockets, 0);
    }

    #[test]
    fn what_was_missed_is_made_up_for_and_not_told_twice() {
        let mut rosters = rosters();
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert!(rosters.announced("/", "r", Movement::Join, (B, None)));
        let new = "AAAA0000000000000002";
        let news = rosters.learn(&roster("AAAA", &[new], true));
        let told = |movement, id: &str| News {
            movement,
            room: "r".into(),
            id: id.into(),
            user: (id == A).then(|| "alice".into()),
        };
        assert_eq!(news, [told(Movement::Leave, A), told(Movement::Join, new)]);
        assert!(rosters.learn(&roster("AAAA", &[new], true)).is_empty());
        assert!(!rosters.announced("/", "r", Movement::Leave, (A, Some("alice"))));
        assert!(!rosters.announced("/", "r", Movement::Join, (new, None)));
        let unsure = Roster {
            is_complete: false,
            ..roster("AAAA", &[], true)
        };
        assert!(rosters.learn(&unsure).is_empty());
        assert_eq!(lost(&mut rosters, "AAAA"), [new]);
    }

    #[test]
    fn rooms_without_members_here_cost_nothing() {
        let mut rosters = rosters();
        assert!(rosters.announced("/", "other", Movement::Join, (A, Some("alice"))));
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert_eq!(rosters.sockets, 1);
        rosters.forget("/", "r");
        rosters.forget("/", "r");
        rosters.forget("/x", "r");
        assert!(rosters.want(&"/x".into(), &[]).is_empty());
        assert_eq!((rosters.sockets, rosters.rooms()), (0, vec![]));
        assert!(lost(&mut rosters, "AAAA").is_empty());
    }

    #[test]
    fn sockets_beyond_the_bound_are_counted_and_announced_all_the_same() {
        let mut rosters = rosters();
        rosters.sockets_max = 1;
        assert!(rosters.announced("/", "r", Movement::Join, (A, Some("alice"))));
        assert!(rosters.announced("/", "r", Movement::Join, (B, None)));
        assert!(rosters.announced("/", "r", Movement::Leave, (B, None)));
        rosters.learn(&roster("BBBB", &[B], false));
        assert_eq!(
            (rosters.sockets, rosters.take_overflown(), rosters.take_overflown()),
            (1, 2, 0)
        );
        assert!(lost(&mut rosters, "BBBB").is_empty());
    }
}
