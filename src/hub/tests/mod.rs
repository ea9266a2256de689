//! The hub with real outboxes: who gets what, once, and in which order.

mod finding;
mod occupancy;

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Barrier;

use super::*;
use crate::engine::Outbox;
use crate::protocol::ids::{IdGenerator, SocketId};
use crate::reason::Reason;

const DEADLINE: Duration = Duration::from_secs(30);

/// A hub and everything that its sockets need.
struct Fixture {
    hub: Arc<Hub>,
    tasks: Vec<JoinHandle<()>>,
    ids: IdGenerator,
    metrics: Arc<Metrics>,
}

/// A socket and where its packets go.
struct Member {
    key: SocketKey,
    id: SocketId,
    outbox: Arc<Outbox>,
}

impl Fixture {
    fn new(loops: usize) -> Self {
        let metrics = Arc::new(Metrics::new(&["/"]).unwrap());
        let (hub, tasks) = Hub::new(loops, Arc::clone(&metrics));
        Self {
            hub,
            tasks,
            ids: IdGenerator::new().unwrap(),
            metrics,
        }
    }

    fn member(&self, namespace: &str, rooms: &[&str]) -> Member {
        self.enter(namespace, rooms, None, usize::MAX)
    }

    fn enter(&self, namespace: &str, rooms: &[&str], alias: Option<&SocketId>, bytes_max: usize) -> Member {
        self.enter_as(None, namespace, rooms, alias, bytes_max)
    }

    fn enter_as(
        &self,
        user: Option<&str>,
        namespace: &str,
        rooms: &[&str],
        alias: Option<&SocketId>,
        bytes_max: usize,
    ) -> Member {
        let outbox = Arc::new(Outbox::new(self.ids.next().unwrap(), bytes_max));
        let id = SocketId::from(self.ids.next().unwrap());
        let user = user.map(Name::from);
        let socket = NewSocket {
            outbox: &outbox,
            namespace: &namespace.into(),
            id: &id,
            alias,
            rooms: &names(rooms),
            user: user.as_ref(),
            source: Source::nowhere(),
            data: Box::default(),
            facts: None,
        };
        let key = self
            .hub
            .add(self.hub.assign(), socket, packet("connect"), &mut Tally::default());
        assert_eq!(outbox.take(10, 1000).len(), 1, "the connect packet is the first");
        Member { key, id, outbox }
    }

    async fn broadcast(&self, target: Target, except: Option<&Member>, text: &str) {
        let broadcast = Broadcast {
            except: Except {
                sender: except.map(|member| Sender {
                    key: member.key,
                    id: member.id.clone(),
                }),
                rooms: Vec::new(),
            },
            ..broadcast(target, text)
        };
        let reservation = self.hub.reserve(&broadcast).await;
        self.hub.broadcast(broadcast, reservation, Origin::Client);
    }

    /// Waits until every broadcast so far is delivered, which is when the loops of a dropped hub have ended.
    async fn finish(self) {
        drop(self.hub);
        for task in self.tasks {
            tokio::time::timeout(DEADLINE, task).await.expect("an end").unwrap();
        }
    }
}

impl Member {
    /// The packets that came since the last time.
    fn received(&self) -> Vec<String> {
        let packets = self.outbox.take(usize::MAX, usize::MAX);
        packets.iter().map(|packet| packet.packet()[1..].to_owned()).collect()
    }
}

fn packet(text: &str) -> Arc<Encoded> {
    Arc::new(Encoded::text(&["4", text]))
}

fn names(rooms: &[&str]) -> Vec<CompactString> {
    rooms.iter().map(|room| CompactString::from(*room)).collect()
}

fn rooms(rooms: &[&str]) -> Target {
    Target::Rooms(Rooms::from_list(names(rooms)).unwrap())
}

fn broadcast(target: Target, text: &str) -> Broadcast {
    Broadcast {
        namespace: "/".into(),
        target,
        except: Except::default(),
        is_volatile: false,
        packet: packet(text),
    }
}

fn texts(rooms: &[Name]) -> Vec<&str> {
    rooms.iter().map(|room| &**room).collect()
}

#[tokio::test]
async fn a_broadcast_reaches_whom_it_names_once_and_nobody_else() {
    let all = Fixture::new(2);
    let members = [&["a"][..], &["a", "b"], &["b"], &["c"], &[]].map(|rooms| all.member("/", rooms));
    let stranger = all.member("/other", &["a", "b"]);
    all.broadcast(rooms(&["a"]), None, "a").await;
    all.broadcast(rooms(&["a", "b"]), None, "a or b").await;
    all.broadcast(rooms(&["b", "b", "a", "nobody's"]), None, "b, b or a")
        .await;
    all.broadcast(rooms(&["nobody's"]), None, "never").await;
    all.broadcast(Target::Namespace, None, "all").await;
    let metrics = Arc::clone(&all.metrics);
    all.finish().await;
    let received = members.each_ref().map(Member::received);
    assert_eq!(received[0], ["a", "a or b", "b, b or a", "all"]);
    assert_eq!(received[1], received[0]);
    assert_eq!(received[2], ["a or b", "b, b or a", "all"]);
    assert_eq!(received[3], ["all"]);
    assert_eq!(received[4], ["all"]);
    assert!(
        stranger.received().is_empty(),
        "rooms of one name in two namespaces are two"
    );
    assert_eq!(metrics.deliveries.get(), 13);
}

#[tokio::test]
async fn the_exception_is_left_out_and_nobody_of_another_shard() {
    let all = Fixture::new(2);
    // The first of each shard have the same slot.
    let (sender, twin) = (all.member("/", &["a", "b"]), all.member("/", &["a", "b"]));
    assert_eq!(sender.key.slot, twin.key.slot);
    for target in [Target::Namespace, rooms(&["a"]), rooms(&["a", "b"])] {
        all.broadcast(target, Some(&sender), "x").await;
    }
    all.finish().await;
    assert!(sender.received().is_empty());
    assert_eq!(twin.received(), ["x", "x", "x"]);
}

#[tokio::test]
async fn a_socket_is_alone_in_the_rooms_of_its_id_and_of_its_alias() {
    let all = Fixture::new(2);
    let alias = SocketId::from(all.ids.next().unwrap());
    let member = all.enter("/", &["a"], Some(&alias), 1000);
    let other = all.member("/", &["a"]);
    let (id, alias) = (member.id.as_str(), alias.as_str());
    assert!(all.hub.is_member(member.key, id) && all.hub.is_member(member.key, alias));
    assert!(!all.hub.is_member(other.key, id) && !all.hub.is_member(other.key, alias));
    assert_eq!(all.hub.rooms(), 1, "private rooms are not counted");
    assert_eq!(texts(&all.hub.rooms_of(member.key)), ["a"], "nor listed");
    all.broadcast(rooms(&[id]), None, "by id").await;
    all.broadcast(rooms(&[alias]), None, "by alias").await;
    all.broadcast(rooms(&[id, "a", alias]), None, "by all").await;
    all.broadcast(rooms(&[id]), Some(&member), "never").await;
    all.hub.leave(member.key, &names(&[id, alias]));
    all.broadcast(rooms(&[id]), None, "cannot be left").await;
    all.finish().await;
    assert_eq!(member.received(), ["by id", "by alias", "by all", "cannot be left"]);
    assert_eq!(other.received(), ["by all"]);
}

#[tokio::test]
async fn somebody_may_join_the_room_that_is_anothers_private_one() {
    let all = Fixture::new(1);
    let owner = all.member("/", &[]);
    let guest = all.member("/", &[owner.id.as_str()]);
    all.broadcast(rooms(&[owner.id.as_str()]), None, "first").await;
    all.hub.remove(owner.key);
    all.broadcast(rooms(&[owner.id.as_str()]), None, "second").await;
    all.finish().await;
    assert!(owner.received().is_empty(), "it was removed before the loop ran");
    assert_eq!(guest.received(), ["first", "second"]);
}

#[tokio::test]
async fn who_left_gets_nothing_more() {
    let all = Fixture::new(1);
    let (leaver, gone, other) = (
        all.member("/", &["a", "b", "c"]),
        all.member("/", &["a", "b"]),
        all.member("/", &["a"]),
    );
    let left = all.hub.leave(leaver.key, &names(&["a", "a", "nobody's"]));
    assert_eq!(texts(&left.rooms), ["b", "c"]);
    assert_eq!(texts(&left.changed), ["a"]);
    assert!(!all.hub.is_member(leaver.key, "a") && all.hub.is_member(leaver.key, "b"));
    all.hub.remove(gone.key);
    all.hub.remove(gone.key);
    all.broadcast(rooms(&["a"]), None, "a").await;
    all.broadcast(rooms(&["a", "b"]), None, "a or b").await;
    all.broadcast(Target::Namespace, None, "all").await;
    assert_eq!(all.hub.sockets(), 2);
    assert!(all.hub.rooms_of(gone.key).is_empty() && !all.hub.is_member(gone.key, "b"));
    assert_eq!(all.hub.leave(gone.key, &names(&["a"])), Moved::default());
    assert_eq!(all.hub.join(gone.key, &names(&["a"]), 10), Ok(Moved::default()));
    all.finish().await;
    assert_eq!(leaver.received(), ["a or b", "all"]);
    assert!(gone.received().is_empty());
    assert_eq!(other.received(), ["a", "a or b", "all"]);
}

#[tokio::test]
async fn a_socket_joins_all_rooms_or_none() {
    let all = Fixture::new(1);
    let member = all.member("/", &["a"]);
    let join = |rooms: &[&str]| {
        all.hub
            .join(member.key, &names(rooms), 3)
            .map(|joined| texts(&joined.rooms).join(" "))
    };
    assert_eq!(join(&["b", "c", "d"]), Err(4));
    assert_eq!(all.hub.rooms(), 1, "none of them");
    assert_eq!(join(&["b", "b", "a", "c"]), Ok("a b c".into()), "counted once");
    assert_eq!(join(&["c", "a"]), Ok("a b c".into()), "those it is in already are free");
    assert_eq!(join(&["a", "d"]), Err(4));
    all.hub.leave(member.key, &names(&["a"]));
    assert_eq!(
        join(&["d"]),
        Ok("b c d".into()),
        "in the order in which they were joined"
    );
    // A rule may put a socket into more rooms than it may join by itself: those it keeps.
    let full = all.member("/", &["a", "b", "c", "d"]);
    assert_eq!(
        all.hub
            .join(full.key, &names(&["a"]), 3)
            .map(|joined| joined.rooms.len()),
        Ok(4)
    );
    assert_eq!(all.hub.join(full.key, &names(&["e"]), 3), Err(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_members_see_all_broadcasts_once_and_in_one_order() {
    const PUBLISHERS: usize = 8;
    const BROADCASTS: usize = 500;
    let all = Fixture::new(4);
    let members: Vec<_> = (0..10).map(|_| all.member("/", &["a", "b"])).collect();
    let start = Arc::new(Barrier::new(PUBLISHERS));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (hub, start) = (Arc::clone(&all.hub), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                for number in 0..BROADCASTS {
                    // The three ways to find members; a large one now and then, so that publishers wait at times.
                    let target = [Target::Namespace, rooms(&["a"]), rooms(&["a", "b"])][number % 3].clone();
                    let filler = "x".repeat(if number % 50 == 0 { 1 << 20 } else { 0 });
                    let broadcast = broadcast(target, &format!("{publisher} {number} {filler}"));
                    let reservation = hub.reserve(&broadcast).await;
                    hub.broadcast(broadcast, reservation, Origin::Client);
                }
            })
        })
        .collect();
    // They are drained meanwhile, as polls do; a packet is then its publisher and its number.
    let mut received = vec![Vec::new(); members.len()];
    let collect = async {
        while received
            .iter()
            .any(|of_one: &Vec<_>| of_one.len() < PUBLISHERS * BROADCASTS)
        {
            for (member, of_one) in members.iter().zip(&mut received) {
                let packets = member.outbox.take(usize::MAX, usize::MAX);
                of_one.extend(packets.iter().map(|packet| {
                    let mut words = packet.packet()[1..].split(' ').map(|word| word.parse::<usize>());
                    (words.next().unwrap().unwrap(), words.next().unwrap().unwrap())
                }));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, collect).await.expect("none is lost");
    for publisher in publishers {
        publisher.await.unwrap();
    }
    all.finish().await;
    let mut next = HashMap::new();
    for (publisher, number) in &received[0] {
        let expected = next.entry(publisher).or_insert(0);
        assert_eq!(number, expected, "the next one of publisher {publisher}");
        *expected += 1;
    }
    assert!(next.values().all(|count| *count == BROADCASTS), "{next:?}");
    for (member, of_one) in members.iter().zip(&received) {
        assert!(*of_one == received[0], "another order");
        assert!(member.received().is_empty(), "none comes twice");
    }
}

/// On one thread no loop runs until the test waits.
#[tokio::test]
async fn a_publisher_waits_while_the_queues_are_full() {
    let all = Fixture::new(2);
    let members = [all.member("/", &["a"]), all.member("/", &["a"])];
    let small = (delivery::UNITS_MAX / 4) as usize; // the least that a broadcast takes
    for number in 0..small {
        let broadcast = broadcast(rooms(&["a"]), "x");
        let reservation = all.hub.try_reserve(&broadcast);
        let reservation = reservation.unwrap_or_else(|_| panic!("full after {number}"));
        all.hub.broadcast(broadcast, reservation, Origin::Client);
    }
    let last = broadcast(rooms(&["a"]), "the last");
    assert_eq!(all.hub.try_reserve(&last).map(drop), Err(Full));
    {
        let mut waiting = pin!(all.hub.reserve(&last));
        let poll = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        assert!(members[0].received().is_empty());
        let reservation = tokio::time::timeout(DEADLINE, waiting)
            .await
            .expect("room in the queues");
        all.hub.broadcast(last.clone(), reservation, Origin::Client);
    }
    // One that is larger than all queues waits until they are empty, and not for ever.
    let huge = "y".repeat(66 << 20);
    let huge = broadcast(rooms(&["nobody's"]), &huge);
    let reservation = all.hub.reserve(&huge);
    let reservation = tokio::time::timeout(DEADLINE, reservation).await.expect("empty queues");
    all.hub.broadcast(huge, reservation, Origin::Client);
    all.finish().await;
    for member in members {
        let received = member.received();
        assert_eq!(received.len(), small + 1);
        assert_eq!(received[small], "the last");
    }
}

#[tokio::test]
async fn who_cannot_keep_up_is_dropped_alone() {
    let all = Fixture::new(1);
    let slow = all.enter("/", &["a"], None, 500);
    let fast = all.member("/", &["a"]);
    let texts: Vec<_> = (0..50).map(|number| format!("{number:20}")).collect();
    for text in &texts {
        all.broadcast(rooms(&["a"]), None, text).await;
    }
    all.finish().await;
    assert_eq!(fast.received(), texts);
    assert!(
        slow.received().is_empty(),
        "what waited is dropped, and so is all that comes"
    );
    assert_eq!(slow.outbox.ended(), Some(Reason::TooSlow));
}
