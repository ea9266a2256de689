//! Our way to Redis, while Redis is well.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use roomcast::cluster::redis::{Event, Events, Failure, Message, Redis, Settings};

use crate::client::within;
use crate::redis_server::TestRedis;

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        tls_ca: None,
    }
}

/// Both connections, up.
pub(crate) async fn connected(settings: &Settings) -> (Redis, Events) {
    let (redis, mut events) = Redis::open(settings).unwrap();
    both_up(&mut events).await;
    (redis, events)
}

pub(crate) async fn both_up(events: &mut Events) {
    let (mut publisher, mut subscriber) = (false, false);
    while !(publisher && subscriber) {
        match next(events).await {
            Event::PublisherUp => publisher = true,
            Event::SubscriberUp => subscriber = true,
            Event::PublisherDown => publisher = false,
            Event::SubscriberDown => subscriber = false,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn next(events: &mut Events) -> Event {
    within(events.next()).await
}

/// The next event, a message.
pub(crate) async fn message(events: &mut Events) -> Message {
    match next(events).await {
        Event::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

pub(crate) async fn publish(redis: &Redis, channel: &str, payload: &[u8]) -> Result<u64, Failure> {
    within(redis.publish(channel.into(), Bytes::copy_from_slice(payload))).await
}

#[tokio::test]
async fn what_is_published_comes_by_channels_and_by_patterns_be_it_text_or_not() {
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    within(redis.subscribe(names(&["a#", "é"]))).await.unwrap();
    within(redis.psubscribe(names(&["a*"]))).await.unwrap();
    for payload in [&b"text"[..], b"\xff\x00\xfe", b"", b"17", "é".as_bytes()] {
        assert_eq!(publish(&redis, "a#", payload).await, Ok(2));
        for is_by_pattern in [false, true] {
            let message = message(&mut events).await;
            assert_eq!((message.channel(), &message.payload[..]), ("a#", payload));
            assert_eq!(message.is_by_pattern(), is_by_pattern);
        }
    }
    within(redis.punsubscribe(names(&["a*"]))).await.unwrap();
    within(redis.unsubscribe(names(&["a#"]))).await.unwrap();
    assert_eq!(publish(&redis, "a#", b"nobody").await, Ok(0));
    assert_eq!(publish(&redis, "é", b"last").await, Ok(1));
    assert_eq!(&message(&mut events).await.payload[..], b"last");
}

#[tokio::test]
async fn a_subscription_is_answered_when_redis_has_it() {
    let server = TestRedis::start().await;
    let (redis, _events) = connected(&settings(&server.url())).await;
    for round in 0..20 {
        let channels: Vec<_> = (0..500).map(|number| format!("{round}/{number}")).collect();
        let channels: Vec<_> = channels.iter().map(String::as_str).collect();
        within(redis.subscribe(names(&channels))).await.unwrap();
        assert_eq!(within(redis.numsub(&format!("{round}/499"))).await, Ok(1));
        within(redis.unsubscribe(names(&channels))).await.unwrap();
        assert_eq!(within(redis.numsub(&format!("{round}/499"))).await, Ok(0));
    }
}

#[tokio::test]
async fn to_unsubscribe_from_nothing_leaves_all_subscriptions() {
    let server = TestRedis::start().await;
    let (redis, _events) = connected(&settings(&server.url())).await;
    within(redis.subscribe(names(&["a"]))).await.unwrap();
    within(redis.unsubscribe(Vec::new())).await.unwrap();
    within(redis.punsubscribe(Vec::new())).await.unwrap();
    assert_eq!(within(redis.numsub("a")).await, Ok(1));
}

/// Polls each once, in this order, then waits for all.
pub(crate) async fn all<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let first = poll_fn(|context| {
        let polled = futures.iter_mut().map(|future| future.as_mut().poll(context));
        Poll::Ready(polled.collect::<Vec<_>>())
    });
    let first = first.await;
    let mut outputs = Vec::new();
    let waiting = futures.into_iter().zip(first).map(|(future, polled)| match polled {
        Poll::Ready(output) => Err(output),
        Poll::Pending => Ok(tokio::spawn(future)),
    });
    for future in waiting.collect::<Vec<_>>() {
        outputs.push(match future {
            Ok(task) => task.await.unwrap(),
            Err(output) => output,
        });
    }
    outputs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_publishes_a_thousand_at_once_arrive_in_the_order_of_their_first_polls() {
    const COUNT: u32 = 10_000;
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    within(redis.subscribe(names(&["order"]))).await.unwrap();
    let received = tokio::spawn(async move {
        for number in 0..COUNT {
            let payload = message(&mut events).await.payload;
            assert_eq!(payload, number.to_string());
        }
    });
    let channel: Arc<str> = "order".into();
    for thousand in 0..COUNT / 1_000 {
        // Made in another order than polled: only polls count.
        let numbers = (thousand * 1_000..(thousand + 1) * 1_000).rev();
        let publishes = numbers.map(|number| redis.publish(channel.clone(), Bytes::from(number.to_string())));
        let publishes: Vec<_> = publishes.collect();
        let answers = within(all(publishes.into_iter().rev())).await;
        assert!(answers.iter().all(|answer| *answer == Ok(1)));
    }
    within(received).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_not_taken_in_time_are_counted() {
    const COUNT: u64 = 20_000;
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    within(redis.subscribe(names(&["flood"]))).await.unwrap();
    let channel: Arc<str> = "flood".into();
    for thousand in 0..COUNT / 1_000 {
        let numbers = (0..1_000).map(|number| (thousand * 1_000 + number).to_string());
        let publishes = numbers.map(|number| redis.publish(channel.clone(), Bytes::from(number)));
        let answers = within(all(publishes)).await;
        assert!(answers.iter().all(|answer| *answer == Ok(1)));
    }
    // Its answer comes behind all messages.
    within(redis.subscribe(names(&["end"]))).await.unwrap();
    let Event::Lagged(lost) = next(&mut events).await else {
        panic!("lag comes first");
    };
    assert!(lost > 0);
    for number in lost..COUNT {
        assert_eq!(message(&mut events).await.payload, number.to_string());
    }
    assert_eq!(publish(&redis, "flood", b"on").await, Ok(1));
    assert_eq!(message(&mut events).await.payload, "on");
}

#[tokio::test]
async fn too_much_that_waits_for_redis_is_refused_at_once() {
    let server = TestRedis::start().await;
    let (redis, _events) = connected(&settings(&server.url())).await;
    let large = Bytes::from(vec![b'x'; 9 * 1024 * 1024]);
    let channel: Arc<str> = "large".into();
    let answers = within(all((0..3).map(|_| redis.publish(channel.clone(), large.clone())))).await;
    assert_eq!(answers[0], Ok(0));
    assert!(matches!(answers[1], Err(Failure::Refused(_))), "{:?}", answers[1]);
    assert!(matches!(answers[2], Err(Failure::Refused(_))), "{:?}", answers[2]);
    assert_eq!(publish(&redis, "large", &large).await, Ok(0));
}

#[tokio::test]
async fn keys_are_set_read_found_and_deleted() {
    let server = TestRedis::start().await;
    let (redis, _events) = connected(&settings(&format!("{}/3", server.url()))).await;
    let long = Duration::from_secs(60);
    let set = |key, value: &'static [u8]| redis.set_nx_px(key, Bytes::from_static(value), long);
    assert_eq!(within(set("p*:a", b"\xff1")).await, Ok(true));
    assert_eq!(within(set("p*:a", b"2")).await, Ok(false));
    assert_eq!(within(redis.get("p*:a")).await, Ok(Some(Bytes::from_static(b"\xff1"))));
    assert_eq!(within(redis.get("none")).await, Ok(None));
    within(redis.set_px("p*:b", Bytes::from_static(b"3"), long))
        .await
        .unwrap();
    within(redis.set_px("pp:c", Bytes::from_static(b"4"), long))
        .await
        .unwrap();
    let keys = ["p*:b", "none", "p*:a"].map(str::to_owned);
    let values = [Some(Bytes::from_static(b"3")), None, Some(Bytes::from_static(b"\xff1"))];
    assert_eq!(within(redis.mget(keys.to_vec())).await, Ok(values.to_vec()));
    let mut found = within(redis.scan("p*:", 10)).await.unwrap();
    found.sort();
    assert_eq!(found, ["p*:a", "p*:b"]);
    assert_eq!(within(redis.scan("p", 2)).await.unwrap().len(), 2);
    assert_eq!(within(redis.del(keys.to_vec())).await, Ok(2));
    within(redis.set_px("short", Bytes::from_static(b"5"), Duration::from_millis(1)))
        .await
        .unwrap();
    within(async { while redis.get("short").await.unwrap().is_some() {} }).await;
    server.shows(&["DBSIZE"], ":0").await;
}
