//! Our way to Redis: passwords, rights, TLS, and other doors.

use roomcast::cluster::redis::{Event, Failure, Redis, Settings};

use crate::client::within;
use crate::redis_commands::{both_up, connected, message, names, next, publish, settings};
use crate::redis_server::{TestRedis, certificates, free_port};

/// Tells twice that it is not let in, in words that begin like this, and is never up.
async fn is_refused(settings: &Settings, words: &str) {
    let (redis, mut events) = Redis::open(settings).unwrap();
    for _ in 0..2 {
        match next(&mut events).await {
            Event::Refused(refusal) => assert!(refusal.starts_with(words), "{refusal}"),
            other => panic!("{other:?}"),
        }
        assert!(!redis.is_publisher_up() && !redis.is_subscriber_up());
    }
}

#[tokio::test]
async fn who_has_the_password_is_let_in_and_others_are_told_why_not() {
    let server = TestRedis::start_with(&["--requirepass", "p@ss/w:rd%"]).await;
    let with = |credentials: &str| settings(&server.url().replace("//", &format!("//{credentials}")));
    is_refused(&with(""), "NOAUTH").await;
    is_refused(&with(":other@"), "WRONGPASS").await;
    is_refused(&with("nobody:p%40ss%2Fw%3Ard%25@"), "WRONGPASS").await;
    let (_redis, _events) = connected(&with(":p%40ss%2Fw%3Ard%25@")).await;
    let (_redis, _events) = connected(&with("default:p%40ss%2Fw%3Ard%25@")).await;
}

#[tokio::test]
async fn who_was_refused_comes_in_when_the_password_is_right_at_last() {
    let server = TestRedis::start().await;
    let (_redis, mut events) = Redis::open(&settings(&server.url().replace("//", "//me:late@"))).unwrap();
    assert!(matches!(next(&mut events).await, Event::Refused(_)));
    server
        .command(&["ACL", "SETUSER", "me", "on", ">late", "+@all", "~*", "&*"])
        .await;
    loop {
        match next(&mut events).await {
            Event::Refused(_) => {}
            Event::PublisherUp | Event::SubscriberUp => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_rights_do_not_cover_is_refused_and_the_rest_goes_on() {
    let server = TestRedis::start().await;
    let rights = [
        "ACL",
        "SETUSER",
        "me",
        "on",
        ">pass",
        "+@all",
        "-set",
        "~*",
        "resetchannels",
        "&mine*",
    ];
    assert_eq!(server.command(&rights).await, "+OK");
    let (redis, mut events) = connected(&settings(&server.url().replace("//", "//me:pass@"))).await;
    let is_denied = |answer: &Result<(), Failure>| {
        assert!(
            matches!(answer, Err(Failure::Refused(words)) if words.starts_with("NOPERM")),
            "{answer:?}"
        );
    };
    // An answer is left over each time, and must not be taken for that of another.
    for round in 0..20 {
        is_denied(&within(redis.subscribe(names(&["other"]))).await);
        is_denied(&within(redis.psubscribe(names(&["m*"]))).await);
        let channel = format!("mine{round}");
        within(redis.subscribe(names(&[&channel]))).await.unwrap();
        assert_eq!(within(redis.numsub(&channel)).await, Ok(1));
        assert_eq!(publish(&redis, &channel, b"x").await, Ok(1));
        assert_eq!(message(&mut events).await.channel(), channel);
    }
    let (first, second, third) = tokio::join!(
        within(redis.subscribe(names(&["mine", "other"]))),
        within(redis.subscribe(names(&["mine/1"]))),
        within(redis.subscribe(names(&["other"]))),
    );
    is_denied(&first);
    assert_eq!(second, Ok(()));
    is_denied(&third);
    is_denied(&publish(&redis, "other", b"x").await.map(|_| ()));
    let set = redis.set_px("a", bytes::Bytes::new(), std::time::Duration::from_secs(9));
    is_denied(&within(set).await);
    assert_eq!(publish(&redis, "mine/1", b"x").await, Ok(1));
    assert_eq!(message(&mut events).await.channel(), "mine/1");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let server = TestRedis::start_with(&["--databases", "2"]).await;
    is_refused(&settings(&format!("{}/2", server.url())), "ERR DB index").await;
}

#[tokio::test]
async fn tls_goes_to_whom_the_ca_knows_and_to_nobody_else() {
    let port = free_port().await;
    let tls = [
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        "FOLDER/cert.pem",
    ];
    let tls = [
        &tls[..],
        &[
            "--tls-key-file",
            "FOLDER/key.pem",
            "--tls-ca-cert-file",
            "FOLDER/ca.pem",
        ],
    ]
    .concat();
    let mut server = TestRedis::down_with(&tls).await;
    certificates(server.folder()).await;
    server.start_again().await;
    let folder = server.folder().to_owned();
    let by = |host: &str, ca: &str| Settings {
        url: format!("rediss://{host}:{port}"),
        tls_ca: Some(folder.join(ca)),
    };
    for host in ["127.0.0.1", "localhost"] {
        let (redis, mut events) = connected(&by(host, "ca.pem")).await;
        within(redis.subscribe(names(&["a"]))).await.unwrap();
        assert_eq!(publish(&redis, "a", &[7; 100_000]).await, Ok(1));
        assert_eq!(message(&mut events).await.payload.len(), 100_000);
    }
    // A CA that changes while we run is read again.
    let stranger = folder.join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    certificates(&stranger).await;
    let (_redis, mut events) = Redis::open(&by("localhost", "stranger/ca.pem")).unwrap();
    match next(&mut events).await {
        Event::Refused(words) => assert!(words.contains("certificate"), "{words}"),
        other => panic!("{other:?}"),
    }
    std::fs::copy(folder.join("ca.pem"), stranger.join("ca.pem")).unwrap();
    loop {
        match next(&mut events).await {
            Event::Refused(_) => {}
            Event::PublisherUp | Event::SubscriberUp => break,
            other => panic!("{other:?}"),
        }
    }
    for (ca, words) in [("none.pem", "none.pem"), ("key.pem", "no certificate in it")] {
        let fault = Redis::open(&by("localhost", ca)).err().unwrap();
        assert!(fault.contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_a_door_too() {
    let server = TestRedis::start_with(&["--unixsocket", "FOLDER/socket", "--requirepass", "secret"]).await;
    let path = server.folder().join("socket");
    let (redis, mut events) = Redis::open(&settings(&format!("redis+unix://:secret@{}", path.display()))).unwrap();
    both_up(&mut events).await;
    within(redis.subscribe(names(&["a"]))).await.unwrap();
    assert_eq!(publish(&redis, "a", b"x").await, Ok(1));
}
