//! What must hold for every run of joins, leaves and broadcasts: the hub does what a naive model of it does.
//!
//! The model has one list of sockets and looks at all of them each time. Delivery is only let run between steps, on one
//! thread, so that both agree on when it happens. Who joins between a broadcast and its delivery may get it or not, but none of a room without all behind it.

use std::sync::OnceLock;

use super::*;
use crate::engine::Outbox;
use crate::protocol::ids::Sid;

const NAMESPACES: [&str; 2] = ["/", "/other"];
const ROOMS: [&str; 4] = ["a", "b", "c", "d"];

/// Rooms that a socket may be in by itself.
const ROOMS_MAX: usize = 3;

/// Sockets that one run adds.
const SOCKETS_MAX: usize = 40;

/// The first byte is the number of shards; each three after it a step: what, who, and which rooms.
pub(crate) fn hub(data: &[u8]) {
    let Some((loops, steps)) = data.split_first() else {
        return;
    };
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| Arc::new(Metrics::new(&NAMESPACES).expect("names that metrics may have")));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime of one thread needs nothing");
    runtime.block_on(async {
        let (hub, tasks) = Hub::new(usize::from(loops % 4), Arc::clone(metrics));
        let mut model = Model {
            hub: &hub,
            sockets: Vec::new(),
            waiting: Vec::new(),
            added: 0,
            count: 0,
        };
        for step in steps.chunks_exact(3) {
            model.step([step[0], step[1], step[2]]).await;
        }
        model.deliver().await;
        model.compare();
        while !model.sockets.is_empty() {
            model.remove(0);
        }
        assert!(
            hub.shards.iter().all(|shard| shard.is_empty()),
            "what is empty is forgotten"
        );
        drop(hub);
        for task in tasks {
            task.await.expect("a loop ends without a panic");
        }
    });
}

/// The hub beside what it should be.
struct Model<'a> {
    hub: &'a Hub,
    sockets: Vec<Socket>,
    /// Broadcasts that are not delivered.
    waiting: Vec<Waiting>,
    /// Sockets so far.
    added: usize,
    /// Broadcasts so far.
    count: usize,
}

struct Socket {
    key: SocketKey,
    outbox: Arc<Outbox>,
    namespace: &'static str,
    id: SocketId,
    alias: Option<SocketId>,
    rooms: Vec<String>,
    leaves: u32,
    expected: Vec<Expected>,
}

/// A packet that comes, or that may come.
struct Expected {
    text: String,
    /// Whom it was for, beside the namespace, and how often the socket had left rooms when it was delivered.
    to: (Option<Vec<String>>, u32),
    is_sure: bool,
}

struct Waiting {
    /// Who was meant when it was broadcast, and has not left since.
    meant: Vec<SocketKey>,
    namespace: &'static str,
    rooms: Option<Vec<String>>,
    except: Option<SocketKey>,
    except_rooms: Vec<String>,
    text: String,
}

impl Model<'_> {
    async fn step(&mut self, [what, who, which]: [u8; 3]) {
        if what % 8 < 2 && self.added < SOCKETS_MAX {
            return self.add(who, which);
        }
        if self.sockets.is_empty() {
            return;
        }
        let index = usize::from(who) % self.sockets.len();
        match what % 8 {
            0..=2 => self.join(index, which),
            3 => self.leave(index, which),
            4 if what & 8 == 0 => self.remove(index),
            4 | 5 => self.broadcast(index, which, what),
            6 => self.deliver().await,
            _ => self.compare(),
        }
    }

    fn add(&mut self, who: u8, which: u8) {
        let number = self.added;
        self.added += 1;
        let id = |kind: &str| {
            let sid = Sid::parse(&format!("{kind}{number:0>19}"));
            SocketId::from(sid.expect("twenty characters of an id"))
        };
        let (own, alias) = (id("A"), (who & 1 != 0).then(|| id("B")));
        let namespace = NAMESPACES[usize::from(who >> 1) % NAMESPACES.len()];
        let rooms = self.rooms(which, None);
        let outbox = Arc::new(Outbox::new(Sid::parse(own.as_str()).expect("an id"), usize::MAX));
        let socket = NewSocket {
            outbox: &outbox,
            namespace: &namespace.into(),
            id: &own,
            alias: alias.as_ref(),
            rooms: &compact(&rooms),
            user: None,
            source: Source::nowhere(),
            data: Box::default(),
            facts: None,
        };
        let connect = Arc::new(Encoded::text(&["4connect"]));
        let key = self.hub.add(self.hub.assign(), socket, connect, &mut Tally::default());
        self.sockets.push(Socket {
            key,
            outbox,
            namespace,
            id: own,
            alias,
            rooms,
            leaves: 0,
            expected: vec![Expected {
                text: "4connect".into(),
                to: (None, u32::MAX), // no broadcast
                is_sure: true,
            }],
        });
    }

    /// The rooms that a byte stands for: common ones, and the private one of somebody else than `except`.
    fn rooms(&self, which: u8, except: Option<usize>) -> Vec<String> {
        let bits = ROOMS.iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0);
        let mut rooms: Vec<_> = bits.map(|(_, room)| (*room).to_owned()).collect();
        let other = usize::from(which >> 5);
        if which & 16 != 0
            && Some(other) != except
            && let Some(other) = self.sockets.get(other)
        {
            rooms.push(other.alias.as_ref().unwrap_or(&other.id).to_string());
        }
        rooms
    }

    fn join(&mut self, index: usize, which: u8) {
        let rooms = self.rooms(which, Some(index));
        let socket = &mut self.sockets[index];
        let joined = self.hub.join(socket.key, &compact(&rooms), ROOMS_MAX);
        let new: Vec<_> = rooms.into_iter().filter(|room| !socket.rooms.contains(room)).collect();
        let total = socket.rooms.len() + new.len();
        if total > ROOMS_MAX && !new.is_empty() {
            return assert_eq!(joined, Err(total), "all or none");
        }
        socket.rooms.extend(new.iter().cloned());
        let moved = joined.expect("they are not too many");
        assert_eq!(
            (texts(&moved.rooms), texts(&moved.changed)),
            (socket.rooms.clone(), new)
        );
    }

    fn leave(&mut self, index: usize, which: u8) {
        let rooms = self.rooms(which, Some(index));
        let socket = &mut self.sockets[index];
        let moved = self.hub.leave(socket.key, &compact(&rooms));
        let left: Vec<_> = rooms.into_iter().filter(|room| socket.rooms.contains(room)).collect();
        socket.rooms.retain(|room| !left.contains(room));
        socket.leaves += 1;
        for waiting in &mut self.waiting {
            if waiting.rooms.iter().flatten().any(|room| left.contains(room)) {
                waiting.meant.retain(|key| *key != socket.key);
            }
        }
        assert_eq!(
            (texts(&moved.rooms), texts(&moved.changed)),
            (socket.rooms.clone(), left)
        );
    }

    fn remove(&mut self, index: usize) {
        let gone = self.sockets.remove(index);
        for waiting in &mut self.waiting {
            waiting.meant.retain(|key| *key != gone.key); // which may be another socket's soon
        }
        assert_eq!(texts(&self.hub.remove(gone.key)), gone.rooms);
        assert!(self.hub.rooms_of(gone.key).is_empty());
        let received = gone.outbox.take(usize::MAX, usize::MAX);
        gone.assert_received(&received);
    }

    fn broadcast(&mut self, index: usize, which: u8, what: u8) {
        let rooms = self.rooms(which, None);
        let target = match Rooms::from_list(compact(&rooms)) {
            Some(rooms) => Target::Rooms(rooms),
            None => Target::Namespace,
        };
        let socket = &self.sockets[index];
        let except = (what & 16 != 0).then_some(socket.key);
        let except_rooms = match what & 32 {
            0 => Vec::new(),
            _ => vec![ROOMS[usize::from(what >> 6)].to_owned()],
        };
        let text = format!("4{}", self.count);
        self.count += 1;
        let broadcast = Broadcast {
            namespace: socket.namespace.into(),
            target,
            except: Except {
                sender: except.map(|key| Sender {
                    key,
                    id: socket.id.clone(),
                }),
                rooms: compact(&except_rooms),
            },
            packet: Arc::new(Encoded::text(&[&text])),
            is_volatile: false,
        };
        if let Ok(reservation) = self.hub.try_reserve(&broadcast) {
            self.hub.broadcast(broadcast, reservation, Origin::Client);
            let mut waiting = Waiting {
                meant: Vec::new(),
                namespace: socket.namespace,
                rooms: (!rooms.is_empty()).then_some(rooms),
                except,
                except_rooms,
                text,
            };
            let meant = self.sockets.iter().filter(|socket| waiting.is_for(socket));
            waiting.meant = meant.map(|socket| socket.key).collect();
            self.waiting.push(waiting);
        }
    }

    /// Lets the loops run until they have nothing to do.
    async fn deliver(&mut self) {
        for waiting in self.waiting.drain(..) {
            for socket in self.sockets.iter_mut().filter(|socket| waiting.is_for(socket)) {
                socket.expected.push(Expected {
                    text: waiting.text.clone(),
                    to: (waiting.rooms.clone(), socket.leaves),
                    is_sure: waiting.meant.contains(&socket.key),
                });
            }
        }
        let is_full = || self.hub.room.available_permits() == delivery::UNITS_MAX as usize;
        for turn in 0.. {
            tokio::task::yield_now().await;
            if is_full() {
                break;
            }
            assert!(turn < 100_000, "a broadcast is never delivered");
        }
    }

    fn compare(&mut self) {
        let mut rooms = std::collections::BTreeSet::new();
        for socket in &mut self.sockets {
            assert_eq!(texts(&self.hub.rooms_of(socket.key)), socket.rooms);
            rooms.extend(socket.rooms.iter().map(|room| (socket.namespace, room.clone())));
            assert!(
                self.hub.is_member(socket.key, socket.id.as_str()),
                "of its private room"
            );
            for room in ROOMS {
                assert_eq!(self.hub.is_member(socket.key, room), socket.is_in(room));
            }
        }
        assert_eq!(
            (self.hub.sockets(), self.hub.rooms()),
            (self.sockets.len(), rooms.len())
        );
        for namespace in NAMESPACES {
            let (ids, total) = self.hub.members(namespace, ROOMS[0], 5);
            let inside = |socket: &&Socket| socket.namespace == namespace && socket.is_in(ROOMS[0]);
            let expected: Vec<_> = self.sockets.iter().filter(inside).collect();
            assert_eq!((total, ids.len()), (expected.len(), expected.len().min(5)));
            let shown = |member: &Member| {
                let is_shown = |socket: &&Socket| *socket.alias.as_ref().unwrap_or(&socket.id) == member.id;
                expected.iter().any(is_shown)
            };
            assert!(ids.iter().all(shown), "members are shown by the ids that others know");
        }
        if self.waiting.is_empty() {
            for socket in &mut self.sockets {
                let received = socket.outbox.take(usize::MAX, usize::MAX);
                socket.assert_received(&received);
                socket.expected.clear();
            }
        }
    }
}

impl Waiting {
    fn is_for(&self, socket: &Socket) -> bool {
        let is_meant = |rooms: &Vec<String>| rooms.iter().any(|room| socket.is_in(room));
        socket.namespace == self.namespace
            && Some(socket.key) != self.except
            && self.rooms.as_ref().is_none_or(is_meant)
            && !is_meant(&self.except_rooms)
    }
}

impl Socket {
    /// Each once, in order.
    fn assert_received(&self, received: &[Arc<Encoded>]) {
        let mut received = received.iter().map(|packet| packet.packet()).peekable();
        let mut begun = Vec::new();
        for expected in &self.expected {
            let is_sure = expected.is_sure || begun.contains(&&expected.to);
            if received.next_if_eq(&expected.text.as_str()).is_some() {
                begun.push(&expected.to);
            } else {
                assert!(!is_sure, "{} is missing", expected.text);
            }
        }
        assert_eq!(received.next(), None, "nobody expects this");
    }

    fn is_in(&self, room: &str) -> bool {
        let is_own = |id: &SocketId| id.as_str() == room;
        is_own(&self.id) || self.alias.as_ref().is_some_and(is_own) || self.rooms.iter().any(|own| own == room)
    }
}

fn compact(rooms: &[String]) -> Vec<CompactString> {
    rooms.iter().map(CompactString::from).collect()
}

fn texts(rooms: &[Name]) -> Vec<String> {
    rooms.iter().map(|room| room.to_string()).collect()
}
