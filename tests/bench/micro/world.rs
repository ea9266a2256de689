//! What outboxes and the hub stand on: a runtime, ids, sockets to nowhere.
//!
//! Never has a task of its own: what a runtime does it does while a case asks it to.

use std::io::Read as _;
use std::os::unix::net::UnixStream as Peer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use roomcast::engine::Outbox;
use roomcast::http::Lease;
use roomcast::hub::{Broadcast, Except, Hub, Name, NewSocket, Rooms, SocketKey, Source, Target};
use roomcast::metrics::{Metrics, Origin, Tally};
use roomcast::protocol::Version;
use roomcast::protocol::encoded::{Encoded, WebSocketForm};
use roomcast::protocol::ids::{IdGenerator, SocketId};
use roomcast::stream::Stream;
use tokio::runtime::Runtime;

/// Between two looks at what others do: short beside a thousand writes, and seldom enough to leave them the cores.
const LOOK: Duration = Duration::from_micros(50);

/// A hub and who is in it.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) hub: Arc<Hub>,
    pub(crate) members: Vec<Member>,
    ids: IdGenerator,
    namespace: Name,
}

/// A socket of the hub.
pub(crate) struct Member {
    pub(crate) key: SocketKey,
    pub(crate) outbox: Arc<Outbox>,
    /// The other end of its WebSocket; `None` for one that polls.
    peer: Option<Peer>,
}

/// An outbox whose WebSocket ends at `Peer`.
pub(crate) struct Attached {
    pub(crate) outbox: Outbox,
    peer: Peer,
    /// On which the WebSocket stands.
    _runtime: Runtime,
}

pub(crate) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// An outbox of a client that polls.
pub(crate) fn outbox(ids: &IdGenerator) -> Outbox {
    Outbox::new(ids.next().expect("randomness"), usize::MAX)
}

pub(crate) fn ids() -> IdGenerator {
    IdGenerator::new().expect("randomness")
}

/// Gives an outbox a WebSocket; its other end.
fn attach(outbox: &Outbox, runtime: &Runtime) -> Peer {
    let _guard = runtime.enter();
    let (socket, peer) = Peer::pair().expect("two descriptors");
    socket.set_nonblocking(true).expect("a socket");
    peer.set_nonblocking(true).expect("a socket");
    let socket = tokio::net::UnixStream::from_std(socket).expect("a socket of a runtime");
    let form = WebSocketForm {
        version: Version::V4,
        base64: false,
        double_utf8: false,
        msgpack: false,
    };
    assert!(outbox.attach(Stream::Unix(socket), Arc::new(Lease::free()), form));
    peer
}

/// Reads what is there.
fn drain(mut peer: &Peer) {
    let mut buffer = [0; 64 * 1024];
    while peer.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

impl Attached {
    pub(crate) fn new() -> Self {
        let (runtime, outbox) = (runtime(), outbox(&ids()));
        let peer = attach(&outbox, &runtime);
        runtime.block_on(async { tokio::task::yield_now().await }); // learns that the socket takes bytes
        Self {
            outbox,
            peer,
            _runtime: runtime,
        }
    }

    /// Reads all that was written.
    pub(crate) fn drain(&self) {
        drain(&self.peer);
        assert_eq!(self.outbox.bytes(), 0, "everything was written");
    }
}

impl World {
    /// One with one delivery loop, in which nobody is.
    pub(crate) fn new() -> Self {
        Self::of(1)
    }

    /// One with so many, as on a machine of so many cores.
    pub(crate) fn of(loops: usize) -> Self {
        Self::on(runtime(), loops)
    }

    /// One with so many, on a thread each.
    pub(crate) fn on_threads(loops: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(loops)
            .enable_all()
            .build();
        Self::on(runtime.expect("a runtime"), loops)
    }

    fn on(runtime: Runtime, loops: usize) -> Self {
        let metrics = Arc::new(Metrics::new(&["/"]).expect("names that metrics may have"));
        let hub = runtime.block_on(async { Hub::new(loops, metrics).0 }); // its loops end with the runtime
        Self {
            runtime,
            hub,
            members: Vec::new(),
            ids: ids(),
            namespace: "/".into(),
        }
    }

    /// The same with so many members of these rooms and of a user, who poll.
    pub(crate) fn with(mut self, count: usize, rooms: &[&str], user: Option<&str>) -> Self {
        for _ in 0..count {
            self.add(rooms, user);
        }
        self.drain();
        self
    }

    /// The same, on WebSockets.
    pub(crate) fn with_websockets(mut self, count: usize, rooms: &[&str]) -> Self {
        for _ in 0..count {
            self.add(rooms, None);
        }
        self.drain();
        for member in &mut self.members {
            member.peer = Some(attach(&member.outbox, &self.runtime));
        }
        self.runtime.block_on(async { tokio::task::yield_now().await });
        self
    }

    pub(crate) fn add(&mut self, rooms: &[&str], user: Option<&str>) {
        let outbox = Arc::new(outbox(&self.ids));
        let id = SocketId::from(self.ids.next().expect("randomness"));
        let user = user.map(Name::from);
        let socket = NewSocket {
            outbox: &outbox,
            namespace: &self.namespace,
            id: &id,
            alias: None,
            user: user.as_ref(),
            rooms: &names(rooms),
            source: Source {
                address: [127, 0, 0, 1].into(),
                version: Version::V4,
                since: SystemTime::UNIX_EPOCH,
            },
            data: Box::default(),
            facts: None,
        };
        let connect = Arc::new(Encoded::text(&["40{}"]));
        let key = self.hub.add(self.hub.assign(), socket, connect, &mut Tally::default());
        self.members.push(Member {
            key,
            outbox,
            peer: None,
        });
    }

    /// Takes from everybody what came.
    pub(crate) fn drain(&self) {
        for member in &self.members {
            match &member.peer {
                Some(peer) => drain(peer),
                None => drop(member.outbox.take(usize::MAX, usize::MAX)),
            }
            assert_eq!(member.outbox.bytes(), 0);
        }
    }

    /// A broadcast to these rooms.
    pub(crate) fn broadcast(&self, rooms: &[&str], except: &[&str], packet: &Arc<Encoded>) -> Broadcast {
        Broadcast {
            namespace: Name::clone(&self.namespace),
            target: Rooms::from_list(names(rooms)).map_or(Target::Namespace, Target::Rooms),
            except: Except {
                sender: None,
                rooms: names(except),
            },
            packet: Arc::clone(packet),
            is_volatile: false,
        }
    }

    /// Sends these and waits until all are delivered.
    pub(crate) fn deliver(&self, broadcasts: impl IntoIterator<Item = Broadcast>) {
        self.runtime.block_on(async {
            for broadcast in broadcasts {
                let reservation = self.hub.try_reserve(&broadcast).expect("room");
                self.hub.broadcast(broadcast, reservation, Origin::Client);
            }
            self.hub.caught_up().await;
            tokio::task::yield_now().await; // flushing comes behind what `caught_up` waits for
        });
    }

    /// Sends these and looks from outside how far the loops' threads are.
    pub(crate) fn deliver_on_threads(&self, broadcasts: impl IntoIterator<Item = Broadcast>) {
        for broadcast in broadcasts {
            let reservation = self.hub.try_reserve(&broadcast).expect("room");
            self.hub.broadcast(broadcast, reservation, Origin::Client);
        }
        self.runtime.block_on(self.hub.caught_up());
        while self.members.iter().any(|member| member.outbox.bytes() > 0) {
            std::thread::sleep(LOOK);
        }
    }

    /// Sends this and lets those loops run that have something to do: waiting for all would wake all.
    pub(crate) fn deliver_alone(&self, broadcast: Broadcast) {
        self.runtime.block_on(async {
            let reservation = self.hub.try_reserve(&broadcast).expect("room");
            self.hub.broadcast(broadcast, reservation, Origin::Client);
            while self.members.iter().all(|member| member.outbox.bytes() == 0) {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        });
    }
}

pub(crate) fn names(rooms: &[&str]) -> Vec<CompactString> {
    rooms.iter().map(|room| CompactString::from(*room)).collect()
}
