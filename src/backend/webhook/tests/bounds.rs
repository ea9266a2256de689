//! What of webhooks may wait, and be under way, at once.

use super::*;

/// A handler that never comes to an end.
#[derive(Debug)]
struct Busy;

impl Handler for Busy {
    fn obey(self: Arc<Self>, _: Kind, _: Whose, _: Orders) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_line_takes_no_more_than_it_may_and_the_last_word_always() {
    let server = Server::start(|_, _| Reply::Hang).await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    let line = webhooks.open(subject("a"), "", false);
    let taken = (0..100)
        .take_while(|number| line.tell(numbered(*number)).is_ok())
        .count();
    assert!(matches!(taken, 38..=65), "{taken}"); // by bytes; one may be under way
    assert!(line.ask(numbered(0)).is_err());
    let before = webhooks.budget.jobs();
    line.tell(event(Kind::Disconnect)).unwrap();
    assert_eq!(webhooks.budget.jobs(), before + 1);
    let other = webhooks.open(subject("b"), "", false);
    other
        .tell(event(Kind::Event).with_call("\"n\"", &format!("\"{}\"]", "x".repeat(5000)), &[]))
        .unwrap();
}

#[tokio::test]
async fn calls_are_bounded_and_who_waits_too_long_for_one_is_not_asked() {
    let mut server = Server::start(|_, _| Reply::Hang).await;
    let (webhooks, _) = webhooks(server.address, &json!({"concurrency": 1, "timeout": "300ms"}));
    let (first, second, third) = tokio::join!(ask(&webhooks, "a"), ask(&webhooks, "b"), ask(&webhooks, "c"),);
    assert_eq!(first, Err(Failure::Timeout));
    let busy = [second, third]
        .into_iter()
        .filter(|answer| *answer == Err(Failure::Busy))
        .count();
    assert!(busy >= 1, "{busy}");
    server.next().await;
}

#[tokio::test]
async fn what_nobody_waits_for_leaves_room_for_who_waits() {
    let mut server = Server::start(|_, request| match request.body["type"].as_str() {
        Some("connect") => say(200, "{}"),
        _ => Reply::Hang,
    })
    .await;
    let (webhooks, _) = webhooks(server.address, &json!({"timeout": "20s"}));
    for id in ["a", "b", "c", "d", "e", "f"] {
        webhooks.open(subject(id), "", false).tell(numbered(0)).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(server.next().await.body["type"], "event");
    }
    assert!(ask(&webhooks, "x").await.is_ok()); // sooner than any of them ends
    assert_eq!(server.next().await.body["type"], "connect");
    assert!(server.requests.is_empty());
}

#[tokio::test]
async fn what_others_fill_the_memory_with_hides_nobody_who_comes_or_goes() {
    let server = Server::start(|_, _| Reply::Hang).await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    let mut lines = Vec::new();
    for number in 0..1000 {
        let line = webhooks.open(subject(&format!("{number}")), "", false);
        let taken = (0..1000).take_while(|_| line.tell(event(Kind::Join)).is_ok()).count();
        if taken == 0 {
            break;
        }
        assert_eq!(taken, 256); // of one line; a whole number of them fits
        lines.push(line);
    }
    let other = webhooks.open(subject("x"), "", false);
    assert_eq!(other.tell(event(Kind::Leave)), Err(Full));
    assert_eq!(other.tell(numbered(0)), Err(Full));
    assert_eq!(other.ask(event(Kind::Connect)).map(drop), Ok(()));
    for line in &lines {
        line.tell(event(Kind::Disconnect)).unwrap();
    }
}

#[tokio::test]
async fn what_an_answer_wants_counts_until_it_is_done() {
    let server = Server::start(|_, _| say(200, "{}")).await;
    let (webhooks, metrics) = webhooks(server.address, &json!({}));
    let handler: Arc<dyn Handler> = Arc::new(Busy);
    webhooks.obeyed_by(&handler);
    let orders = |bytes: usize| Orders {
        data: None,
        actions: vec![Action {
            name: "emit".into(),
            json: " ".repeat(bytes).into(),
        }],
    };
    let line = webhooks.open(subject("a"), "", false);
    line.obey(Kind::Connect, orders(40 << 20));
    assert_eq!(webhooks.budget.jobs(), 1);
    line.obey(Kind::Connect, orders(40 << 20)); // more than there is room for
    assert_eq!(webhooks.budget.jobs(), 1);
    let text = metrics.render(&crate::metrics::Snapshot::default()).unwrap();
    let lost = "roomcast_webhook_failures_total{reason=\"action\",type=\"connect\"} 1";
    assert!(String::from_utf8(text).unwrap().contains(lost));
    let emptied = tokio::time::timeout(Duration::from_millis(20), webhooks.emptied());
    assert!(emptied.await.is_err());
}
