//! Rooms with somebody in them, and what is left of others.

use super::*;

/// A session belongs to the shard behind that of the one before it.
#[tokio::test]
async fn a_broadcast_enters_the_queues_of_shards_with_somebody_in_its_target() {
    let all = Fixture::new(8);
    let shards = |namespace: &str, names: &[&str]| {
        let target = if names.is_empty() {
            Target::Namespace
        } else {
            rooms(names)
        };
        all.hub.occupancy.of(namespace, &target).collect::<Vec<_>>()
    };
    let ada = all.enter_as(Some("ada"), "/", &["a"], None, usize::MAX);
    let alias = SocketId::from(all.ids.next().unwrap());
    let other = all.enter("/", &["a", "b"], Some(&alias), usize::MAX);
    let elsewhere = all.member("/elsewhere", &["a"]);

    assert_eq!(shards("/", &[]), [0, 1]);
    assert_eq!(shards("/", &["a"]), [0, 1]);
    assert_eq!(shards("/", &["b"]), [1]);
    assert_eq!(shards("/", &["b", &user_room("ada")]), [0, 1]);
    assert_eq!(shards("/", &[other.id.as_str()]), [1]);
    assert_eq!(shards("/", &[alias.as_str()]), [1]);
    assert_eq!(shards("/elsewhere", &["a"]), [2]);
    assert_eq!(shards("/elsewhere", &["b"]), [0; 0]);

    all.hub.leave(other.key, &names(&["a"]));
    assert_eq!(shards("/", &["a"]), [0]);
    all.hub.remove(other.key);
    all.hub.remove(elsewhere.key);
    assert_eq!(shards("/", &["b", alias.as_str(), other.id.as_str()]), [0; 0]);
    assert_eq!(shards("/elsewhere", &[]), [0; 0]);
    assert_eq!(shards("/", &[&user_room("ada")]), [0]);
    all.hub.remove(ada.key);
    assert_eq!(shards("/", &[&user_room("ada"), ada.id.as_str()]), [0; 0]);
    assert_eq!(shards("/", &[]), [0; 0]);
}

/// On one thread no loop runs until the test waits.
#[tokio::test]
async fn who_joins_late_gets_none_without_all_behind_it() {
    let all = Fixture::new(1);
    let (first, late) = (all.member("/", &["a"]), all.member("/", &[]));
    all.broadcast(rooms(&["a"]), None, "it enters the queue").await;
    all.hub.leave(first.key, &names(&["a"]));
    all.broadcast(rooms(&["a"]), None, "it does not").await;
    all.hub.join(late.key, &names(&["a"]), usize::MAX).unwrap();
    all.broadcast(rooms(&["a"]), None, "it does").await;
    all.finish().await;
    assert_eq!(late.received(), ["it does"]);
}

#[tokio::test]
async fn what_is_empty_is_forgotten() {
    let all = Fixture::new(4);
    let members: Vec<_> = (0..16)
        .map(|number| all.member(&format!("/{}", number % 8), &["a", "b"]))
        .collect();
    assert_eq!((all.hub.sockets(), all.hub.rooms()), (16, 16));
    for member in &members {
        all.hub.leave(member.key, &names(&["a"]));
    }
    assert_eq!(all.hub.rooms(), 8);
    for member in &members {
        all.hub.remove(member.key);
    }
    assert_eq!((all.hub.sockets(), all.hub.rooms()), (0, 0));
    assert!(
        all.hub.shards.iter().all(|shard| shard.is_empty()),
        "no namespace is left"
    );
}

#[tokio::test]
async fn a_room_counts_once_whatever_its_shards() {
    let all = Fixture::new(4);
    for _ in 0..8 {
        all.member("/", &["a"]);
    }
    all.member("/", &["b"]);
    all.member("/other", &["a"]);
    assert_eq!(all.hub.rooms(), 3);
}
