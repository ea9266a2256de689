//! Our way to Redis, while Redis goes away, hangs, changes its mind, or is replaced.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::cluster::redis::{Event, Events, Failure, Redis};

use crate::client::within;
use crate::redis_commands::{both_up, connected, message, names, next, publish, settings};
use crate::redis_server::{TestRedis, TestSentinels};

/// Waits for this event; only changes of connections may come before.
async fn until(events: &mut Events, wanted: fn(&Event) -> bool) {
    loop {
        let event = next(events).await;
        if wanted(&event) {
            return;
        }
        assert!(!matches!(event, Event::Message(_) | Event::Refused(_)), "{event:?}");
    }
}

async fn both_down(events: &mut Events) {
    let (mut publisher, mut subscriber) = (false, false);
    while !(publisher && subscriber) {
        match next(events).await {
            Event::PublisherDown => publisher = true,
            Event::SubscriberDown => subscriber = true,
            other => panic!("{other:?}"),
        }
    }
}

/// What is subscribed is heard.
async fn works(redis: &Redis, events: &mut Events) {
    within(redis.subscribe(names(&["works"]))).await.unwrap();
    assert_eq!(publish(redis, "works", b"yes").await, Ok(1));
    assert_eq!(message(events).await.payload, "yes");
}

/// How often the server was told to PUBLISH.
async fn publishes(server: &TestRedis) -> u32 {
    let statistics = server.command(&["INFO", "commandstats"]).await;
    let calls = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn redis_may_come_after_us() {
    let mut server = TestRedis::down().await;
    let (redis, mut events) = Redis::open(&settings(&server.url())).unwrap();
    assert!(!redis.is_publisher_up() && !redis.is_subscriber_up());
    assert_eq!(publish(&redis, "a", b"1").await, Err(Failure::Away));
    assert_eq!(within(redis.subscribe(names(&["a"]))).await, Err(Failure::Away));
    assert_eq!(within(redis.get("a")).await, Err(Failure::Away));
    server.start_again().await;
    both_up(&mut events).await;
    assert!(redis.is_publisher_up() && redis.is_subscriber_up());
    works(&redis, &mut events).await;
}

#[tokio::test]
async fn a_connection_is_used_only_after_its_event_was_taken() {
    let server = TestRedis::start().await;
    let (redis, mut events) = Redis::open(&settings(&server.url())).unwrap();
    // Both are there: three commands of each were done, those of greeting and our PING.
    within(async {
        while server
            .command(&["INFO", "commandstats"])
            .await
            .matches("cmdstat_ping:calls=")
            .count()
            == 0
            || server.command(&["CLIENT", "LIST"]).await.matches("cmd=ping").count() < 2
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(publish(&redis, "a", b"1").await, Err(Failure::Away));
    both_up(&mut events).await;
    works(&redis, &mut events).await;
}

#[tokio::test]
async fn after_a_crash_the_connections_are_fresh_and_nothing_is_made_up_for() {
    let mut server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    works(&redis, &mut events).await;
    for _ in 0..2 {
        server.kill().await;
        both_down(&mut events).await;
        for _ in 0..10 {
            assert_eq!(publish(&redis, "works", b"lost").await, Err(Failure::Away));
        }
        server.start_again().await;
        both_up(&mut events).await;
        assert_eq!(within(redis.numsub("works")).await, Ok(0));
        works(&redis, &mut events).await;
        assert_eq!(publishes(&server).await, 1);
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_dropped_and_hears_nothing_of_what_came_later() {
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    works(&redis, &mut events).await;
    server.hang().await;
    assert_eq!(publish(&redis, "works", b"hangs").await, Err(Failure::Timeout));
    assert!(matches!(next(&mut events).await, Event::PublisherDown));
    assert_eq!(publish(&redis, "works", b"away").await, Err(Failure::Away));
    // Nothing tells that the subscriber hangs, but whoever misses a message of its own.
    assert!(redis.is_subscriber_up());
    redis.reset_subscriber();
    assert!(!redis.is_subscriber_up());
    assert!(matches!(next(&mut events).await, Event::SubscriberDown));
    assert_eq!(within(redis.subscribe(names(&["works"]))).await, Err(Failure::Away));
    server.wake().await;
    both_up(&mut events).await;
    works(&redis, &mut events).await;
    // The one that hung was already on its way; the one that failed at once was not.
    assert!(publishes(&server).await <= 3);
}

#[tokio::test]
async fn a_subscription_that_is_not_answered_drops_its_connection() {
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    server.hang().await;
    let (first, second) = tokio::join!(
        within(redis.subscribe(names(&["a"]))),
        within(redis.subscribe(names(&["b"]))),
    );
    assert_eq!(first, Err(Failure::Timeout));
    assert!(second.is_err());
    assert!(matches!(next(&mut events).await, Event::SubscriberDown));
    server.wake().await;
    until(&mut events, |event| matches!(event, Event::SubscriberUp)).await;
    works(&redis, &mut events).await;
}

#[tokio::test]
async fn hundreds_of_publishes_to_a_redis_that_hangs_all_fail_within_their_second() {
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    server.hang().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..500 {
        waiting.spawn(redis.publish("a".into(), Bytes::from_static(&[b'x'; 20_000])));
    }
    let since = Instant::now();
    while let Some(answer) = within(waiting.join_next()).await {
        assert!(matches!(answer.unwrap(), Err(Failure::Timeout | Failure::Away)));
    }
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(matches!(next(&mut events).await, Event::PublisherDown));
    server.wake().await;
    until(&mut events, |event| matches!(event, Event::PublisherUp)).await;
    works(&redis, &mut events).await;
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    let (server, other) = (TestRedis::start().await, TestRedis::start().await);
    let (redis, mut events) = connected(&settings(&server.url())).await;
    server
        .command(&["REPLICAOF", "127.0.0.1", &other.port.to_string()])
        .await;
    let refused = within(redis.set_px("a", Bytes::new(), Duration::from_secs(9))).await;
    assert!(
        matches!(&refused, Err(Failure::Refused(words)) if words.starts_with("READONLY")),
        "{refused:?}"
    );
    both_down(&mut events).await;
    server.command(&["REPLICAOF", "NO", "ONE"]).await;
    both_up(&mut events).await;
    within(redis.set_px("a", Bytes::new(), Duration::from_secs(9)))
        .await
        .unwrap();
    works(&redis, &mut events).await;
}

#[tokio::test]
async fn a_redis_that_still_reads_its_data_is_waited_for() {
    let slowly = [
        "--key-load-delay",
        "30000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    for login in [&[][..], &["--requirepass", "secret"]] {
        let mut server = TestRedis::down_with(&[&slowly[..], login].concat()).await;
        server.start_again().await;
        let (redis, mut events) = connected(&settings(&server.url().replace("//", "//:secret@"))).await;
        let value = Bytes::from(vec![b'x'; 2_000]);
        for number in 0..40 {
            let key = number.to_string();
            within(redis.set_px(&key, value.clone(), Duration::from_secs(600)))
                .await
                .unwrap();
        }
        let saved = tokio::process::Command::new("redis-cli")
            .args([
                "-a",
                "secret",
                "--no-auth-warning",
                "-p",
                &server.port.to_string(),
                "save",
            ])
            .output();
        within(saved).await.unwrap();
        server.kill().await;
        both_down(&mut events).await;
        server.begin_again();
        both_up(&mut events).await;
        assert_eq!(within(redis.get("39")).await, Ok(Some(value)));
    }
}

#[tokio::test]
async fn when_a_primary_dies_the_one_that_sentinel_names_is_taken() {
    let mut service = TestSentinels::start().await;
    let (redis, mut events) = connected(&settings(&service.url())).await;
    works(&redis, &mut events).await;
    service.primary.kill().await;
    both_down(&mut events).await;
    assert_eq!(publish(&redis, "works", b"away").await, Err(Failure::Away));
    both_up(&mut events).await;
    works(&redis, &mut events).await;
    service.replica.shows(&["PUBSUB", "CHANNELS", "works"], "*1").await;
    within(redis.set_px("a", Bytes::new(), Duration::from_secs(9)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_primary_that_hangs_is_left_for_the_one_that_sentinel_names() {
    let service = TestSentinels::start().await;
    let (redis, mut events) = connected(&settings(&service.url())).await;
    service.primary.hang().await;
    assert_eq!(publish(&redis, "a", b"1").await, Err(Failure::Timeout));
    redis.reset_subscriber();
    both_down(&mut events).await;
    both_up(&mut events).await;
    works(&redis, &mut events).await;
    service.primary.wake().await;
    works(&redis, &mut events).await;
    service.replica.shows(&["PUBSUB", "CHANNELS", "works"], "*1").await;
}
