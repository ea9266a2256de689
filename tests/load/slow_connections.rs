//! Thousands of connections that get nowhere keep nobody out.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Connection, POLLING, WEBSOCKET, post_head, upgrade_head};
use crate::gateway::{Gateway, report, until};
use crate::{alone, for_each, within_minutes};

const SLOW: usize = 5_000;

/// Good clients, and how many of them come at a time.
const GOOD: u64 = 1_000;
const WIDTH: usize = 50;

/// A byte is dribbled this often.
const DRIBBLE: Duration = Duration::from_millis(500);

/// The upgrade takes as long as it likes here, so that those who never finish it stay.
const SETTINGS: &str = "engine.upgrade_timeout = \"60s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_slow_connections_keep_nobody_out() {
    let _alone = alone().await;
    let gateway = Gateway::start(SETTINGS);
    let address = gateway.address;
    let empty = gateway.descriptors();
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        // Whoever is thrown out, as many are in time, comes back.
        slow.spawn(async move {
            loop {
                let _ = match number % 4 {
                    0 => dribble_a_head(address).await,
                    1 => dribble_a_body(address).await,
                    2 => upgrade_by_half(address).await,
                    _ => say_nothing(address).await,
                };
            }
        });
    }
    let slow_now = || gateway.descriptors() - empty;
    // Those that upgrade have two connections; a few are always on their way back.
    let are_there = || (slow_now() > SLOW * 9 / 10).then_some(());
    until(Duration::from_secs(60), are_there, || {
        format!("{} slow connections", slow_now())
    })
    .await;

    let (started, mut fewest) = (Instant::now(), usize::MAX);
    for _ in 0..3 {
        let good = for_each(GOOD / 3, WIDTH, move |number| async move {
            let started = Instant::now();
            good(address, number)
                .await
                .unwrap_or_else(|error| panic!("client {number}: {error}"));
            started.elapsed()
        });
        let mut times = within_minutes(2, good).await;
        times.sort_unstable();
        fewest = fewest.min(slow_now());
        report(
            "slow connections",
            &[
                ("slow", slow_now() as f64),
                ("good", times.len() as f64),
                ("median_ms", times[times.len() / 2].as_secs_f64() * 1e3),
                ("longest_ms", times[times.len() - 1].as_secs_f64() * 1e3),
                ("since_s", started.elapsed().as_secs_f64()),
                ("MB", gateway.resident_bytes() as f64 / 1e6),
            ],
        );
    }
    assert!(fewest > SLOW * 9 / 10, "only {fewest} slow connections were there");
    slow.shutdown().await;
}

/// A whole client: handshake, namespace, room, and away.
async fn good(address: SocketAddr, number: u64) -> io::Result<()> {
    if number.is_multiple_of(2) {
        let mut client = Connection::client(address).await?;
        client.does("[\"join\",\"room\"]").await?;
        client.reset();
        return Ok(());
    }
    let mut client = Connection::open(address).await?;
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    for (sent, expected) in [("40", "40{"), ("420[\"join\",\"room\"]", "430[{\"ok\":true")] {
        client.post(&session, sent.as_bytes()).await?;
        let (status, answer) = client.get(&session).await?;
        if status != 200 || !answer.starts_with(expected) {
            return Err(io::Error::other(format!("{status} {answer}")));
        }
    }
    client.post(&session, b"1").await?;
    client.reset();
    Ok(())
}

async fn dribble(client: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes.chunks(1) {
        client.write(byte).await?;
        tokio::time::sleep(DRIBBLE).await;
    }
    Ok(())
}

async fn dribble_a_head(address: SocketAddr) -> io::Result<()> {
    let mut client = Connection::open(address).await?;
    dribble(&mut client, upgrade_head(WEBSOCKET).as_bytes()).await
}

async fn dribble_a_body(address: SocketAddr) -> io::Result<()> {
    let mut client = Connection::open(address).await?;
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    client.write(post_head(&session, 1_000).as_bytes()).await?;
    dribble(&mut client, &[b'4'; 1_000]).await
}

async fn upgrade_by_half(address: SocketAddr) -> io::Result<()> {
    let mut client = Connection::open(address).await?;
    let sid = client.open_polling().await?;
    let mut probe = Connection::open(address).await?;
    probe.upgrade(&format!("{WEBSOCKET}&sid={sid}")).await?;
    probe.send("2probe").await?;
    probe.message().await?; // 3probe, and no 5 behind it
    Err(probe.idle().await)
}

async fn say_nothing(address: SocketAddr) -> io::Result<()> {
    let mut client = Connection::open(address).await?;
    Err(client.idle().await)
}
