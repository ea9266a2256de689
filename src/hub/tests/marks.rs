//! What is done once the delivery loops have caught up.

use super::*;

/// On one thread no loop runs until the test waits.
#[tokio::test]
async fn who_waits_for_the_loops_changes_rooms_behind_all_broadcasts() {
    let all = Fixture::new(3);
    let members = [(); 6].map(|()| all.member("/", &["r"]));
    for number in 0..100 {
        all.broadcast(rooms(&["r"]), None, &number.to_string()).await;
    }
    tokio::time::timeout(DEADLINE, all.hub.caught_up())
        .await
        .expect("the loops run");
    let selection = Selection {
        namespace: "/",
        target: &Target::Namespace,
        except: &[],
    };
    assert_eq!(all.hub.leave_others(&selection, &names(&["r"])).len(), 6);
    all.broadcast(rooms(&["r"]), None, "late").await;
    all.finish().await;
    for member in members {
        let received = member.received();
        assert_eq!((received.len(), &*received[99]), (100, "99"));
    }
}
