//! Sockets and rooms: who comes and goes, and broadcasts to them.
//!
//! Members poll where nothing else is said: what they get waits until it is taken, which is not measured.

use roomcast::hub::{Selection, Target, user_room};

use crate::case::Case;
use crate::codecs::{MESSAGE, event};
use crate::world::{World, names};

/// Rooms that a socket may be in.
const ROOMS_MAX: usize = 1000;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "hub/join and leave a room of 100",
            || World::new().with(100, &["lobby"], None),
            |world| {
                let (key, rooms) = (world.members[0].key, names(&["lobby"]));
                let left = world.hub.leave(key, &rooms);
                (left, world.hub.join(key, &rooms, ROOMS_MAX))
            },
        ),
        Case::new(
            "hub/join and leave 10 new rooms",
            || World::new().with(100, &["lobby"], None),
            |world| {
                let rooms = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"];
                let (key, rooms) = (world.members[0].key, names(&rooms));
                let joined = world.hub.join(key, &rooms, ROOMS_MAX);
                (joined, world.hub.leave(key, &rooms))
            },
        ),
        Case::new(
            "hub/a socket of a user comes with 3 rooms, and goes",
            || World::new().with(100, &["lobby"], Some("ada")),
            |world| {
                world.add(&["lobby", "a", "b"], Some("ada"));
                world.members.pop().map(|member| world.hub.remove(member.key))
            },
        ),
        Case::new(
            "hub/members of a room of 1,000, 100 of them",
            || World::new().with(1_000, &["lobby"], Some("ada")),
            |world| world.hub.members("/", "lobby", 100),
        ),
        Case::new(
            "hub/sockets of a user",
            || World::new().with(1_000, &["lobby"], None).with(3, &[], Some("ada")),
            |world| world.hub.sockets_of("/", "ada"),
        ),
        Case::new(
            "hub/describe the sockets of a user",
            || {
                World::new()
                    .with(1_000, &["lobby"], None)
                    .with(3, &["lobby"], Some("ada"))
            },
            |world| {
                let room = user_room("ada");
                let target = Target::Rooms(roomcast::hub::Rooms::one(room));
                let selection = Selection {
                    namespace: "/",
                    target: &target,
                    except: &[],
                };
                world.hub.describe(&selection)
            },
        ),
    ];
    cases.extend(broadcasts());
    cases.extend([1, 2].map(|loops| {
        Case::prepared(
            format!("hub/4 broadcasts to a room of 4,000 WebSockets, on {loops} threads"),
            move || {
                (
                    World::on_threads(loops).with_websockets(4_000, &["lobby"]),
                    event(MESSAGE),
                )
            },
            |(world, _)| world.drain(),
            |(world, packet)| world.deliver_on_threads((0..4).map(|_| world.broadcast(&["lobby"], &[], packet))),
        )
    }));
    cases.extend([1, 8, 64].map(|loops| {
        Case::prepared(
            format!("hub/broadcast to a room of 1, with {loops} delivery loops"),
            move || (World::of(loops).with(1, &["lobby"], None), event(MESSAGE)),
            |(world, _)| world.drain(),
            |(world, packet)| world.deliver_alone(world.broadcast(&["lobby"], &[], packet)),
        )
    }));
    cases
}

fn broadcasts() -> Vec<Case> {
    let one = |name: &str, world: fn() -> World, rooms: &'static [&str], except: &'static [&str]| {
        Case::prepared(
            format!("hub/broadcast to {name}"),
            move || (world(), event(MESSAGE)),
            |(world, _)| world.drain(),
            move |(world, packet)| world.deliver([world.broadcast(rooms, except, packet)]),
        )
    };
    vec![
        one(
            "a room of 1",
            || World::new().with(1, &["lobby"], None),
            &["lobby"],
            &[],
        ),
        one(
            "a room of 100",
            || World::new().with(100, &["lobby"], None),
            &["lobby"],
            &[],
        ),
        one(
            "a room of 10,000",
            || World::new().with(10_000, &["lobby"], None),
            &["lobby"],
            &[],
        ),
        one(
            "a room of 100 WebSockets",
            || World::new().with_websockets(100, &["lobby"]),
            &["lobby"],
            &[],
        ),
        Case::prepared(
            "hub/4 broadcasts to a room of 100 WebSockets",
            || (World::new().with_websockets(100, &["lobby"]), event(MESSAGE)),
            |(world, _)| world.drain(),
            |(world, packet)| world.deliver((0..4).map(|_| world.broadcast(&["lobby"], &[], packet))),
        ),
        one(
            "a namespace of 1,000",
            || World::new().with(1_000, &["lobby"], None),
            &[],
            &[],
        ),
        one(
            "3 rooms of 1,000 that are the same, but a fourth",
            || {
                World::new()
                    .with(900, &["a", "b", "c"], None)
                    .with(100, &["a", "b", "c", "d"], None)
            },
            &["a", "b", "c"],
            &["d"],
        ),
        one(
            "a user's 3 sockets",
            || World::new().with(1_000, &["lobby"], None).with(3, &[], Some("ada")),
            &["\0user:ada"],
            &[],
        ),
    ]
}
