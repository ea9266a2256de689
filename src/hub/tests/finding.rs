//! Sockets that are looked for: by their user, and page by page.

use super::*;

#[tokio::test]
async fn all_sockets_of_a_user_are_found_by_its_name_alone() {
    let fixture = Fixture::new(3);
    let enter = |user, namespace| fixture.enter_as(Some(user), namespace, &["r"], None, usize::MAX);
    let alice: Vec<_> = (0..4).map(|_| enter("alice", "/")).collect();
    let others = [
        enter("bob", "/"),
        enter("alice", "/other"),
        fixture.member("/", &["alice"]),
    ];
    let room = user_room("alice");
    assert_eq!(fixture.hub.sockets_of("/", "alice"), 4);
    let joined = fixture
        .hub
        .join(others[2].key, std::slice::from_ref(&room), usize::MAX)
        .unwrap();
    assert!(joined.changed.is_empty(), "a user's room was joined");
    for rooms in [vec![room.clone()], vec![room.clone(), "nobody".into()]] {
        let target = Target::Rooms(Rooms::from_list(rooms).unwrap());
        fixture.broadcast(target, None, "for alice").await;
        fixture.hub.caught_up().await;
        assert!(alice.iter().all(|member| member.outbox.take(10, 1000).len() == 1));
        assert!(others.iter().all(|member| member.outbox.take(10, 1000).is_empty()));
    }
    alice.iter().for_each(|member| drop(fixture.hub.remove(member.key)));
    assert_eq!(fixture.hub.sockets_of("/", "alice"), 0);
    assert_eq!(
        fixture
            .hub
            .room_names("/")
            .iter()
            .filter(|name| is_reserved(name))
            .count(),
        0
    );
}

#[tokio::test]
async fn sockets_and_rooms_are_listed_page_by_page_and_none_is_missed_or_named_twice() {
    let fixture = Fixture::new(3);
    let mut members = Vec::new();
    for number in 0..20 {
        let user = ["even", "odd"][number % 2];
        let rooms = ["all".to_owned(), format!("r{}", number % 5), format!("s{number:02}")];
        let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
        members.push(fixture.enter_as(Some(user), "/", &rooms, None, usize::MAX));
    }
    let elsewhere = fixture.member("/chat", &["all"]);
    let pages = |wanted: Wanted<'_>| {
        let (mut ids, mut after) = (Vec::<String>::new(), None::<String>);
        loop {
            let wanted = Wanted {
                after: after.as_deref(),
                ..wanted
            };
            let page = fixture.hub.list_sockets("/", &wanted, 3);
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { return ids };
            after = Some(last.id.as_str().to_owned());
            ids.extend(page.iter().map(|socket| socket.id.as_str().to_owned()));
        }
    };
    let expected = |keep: fn(usize) -> bool| {
        let kept = members.iter().enumerate().filter(|(number, _)| keep(*number));
        let mut ids: Vec<_> = kept.map(|(_, member)| member.id.as_str().to_owned()).collect();
        ids.sort();
        ids
    };
    let wanted = Wanted::default();
    let (user, room) = (Some("even"), Some("r1"));
    assert_eq!(pages(wanted), expected(|_| true));
    assert_eq!(pages(Wanted { user, ..wanted }), expected(|number| number % 2 == 0));
    assert_eq!(pages(Wanted { room, ..wanted }), expected(|number| number % 5 == 1));
    assert_eq!(
        pages(Wanted { user, room, ..wanted }),
        expected(|number| number % 10 == 6)
    );
    let id = members[7].id.as_str();
    for wanted in [
        Wanted { id: Some(id), ..wanted },
        Wanted {
            room: Some(id),
            ..wanted
        },
    ] {
        assert_eq!(pages(wanted), [id]);
    }
    let nobody = Wanted {
        id: Some(elsewhere.id.as_str()),
        ..wanted
    };
    assert_eq!(pages(nobody), [""; 0]);

    let list = |prefix, after, max| {
        let rooms = fixture.hub.list_rooms("/", prefix, after, max);
        rooms
            .into_iter()
            .map(|(room, count)| format!("{room} {count}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(list("", None, 3), ["all 20", "r0 4", "r1 4"]);
    assert_eq!(list("", Some("r1"), 3), ["r2 4", "r3 4", "r4 4"]);
    assert_eq!(list("s1", Some("s18"), 3), ["s19 1"]);
    assert_eq!(list("x", None, 3), [""; 0]);
    let size = |room| fixture.hub.room_size("/", room);
    assert_eq!((size("all"), size("r0"), size("nobody"), size(id)), (20, 4, 0, 0));
}
