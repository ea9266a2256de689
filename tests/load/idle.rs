//! Ten thousand clients that say nothing cost little, and no more after a while than at once.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Connection;
use crate::gateway::{Gateway, report, until};
use crate::{alone, for_each};

const CLIENTS: u64 = 10_000;

/// Clients that connect at a time.
const WIDTH: usize = 200;

/// How long they are watched. More by hand: `ROOMCAST_LOAD_IDLE_SECONDS` watches longer, at the default interval.
const WATCHED: Duration = Duration::from_secs(20);

/// The interval of heartbeats while nobody asks for more, and the default one.
const INTERVAL_SECONDS: f64 = 5.0;
const DEFAULT_INTERVAL_SECONDS: f64 = 25.0;

/// Share of a core that these clients may take at the default interval. It is 0.03 that is promised; a machine that is
/// busy or slow must not fail here.
const CORE_SHARE_MAX: f64 = 0.09;

/// What may come on top while they are idle: less than a tenth of a kilobyte a client.
const GROWTH_BYTES_MAX: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_clients_cost_little_and_always_the_same() {
    let _alone = alone().await;
    let by_hand = std::env::var("ROOMCAST_LOAD_IDLE_SECONDS")
        .ok()
        .map(|seconds| seconds.parse().unwrap());
    let (settings, interval) = match by_hand {
        Some(_) => ("", DEFAULT_INTERVAL_SECONDS),
        None => ("engine.ping_interval = \"5s\"\n", INTERVAL_SECONDS),
    };
    let gateway = Gateway::start(settings);
    let (empty, address) = (gateway.resident_bytes(), gateway.address);
    let connect = move |_| async move { Connection::client(address).await.unwrap() };
    let mut clients = JoinSet::new();
    for mut client in for_each(CLIENTS, WIDTH, connect).await {
        clients.spawn(async move { client.idle().await });
    }
    let pings = || gateway.metric("roomcast_packets_sent_total{type=\"ping\"}");
    // Everybody's first ping comes within an interval; what one needs for it is there then.
    let first = Duration::from_secs_f64(3.0 * interval);
    until(
        first,
        || (pings() >= CLIENTS as f64).then_some(()),
        || format!("{} pings", pings()),
    )
    .await;

    let (started, resident, processor, pinged) = (
        Instant::now(),
        gateway.resident_bytes(),
        gateway.processor_seconds(),
        pings(),
    );
    tokio::time::sleep(by_hand.map_or(WATCHED, Duration::from_secs)).await; // the time is what is tested
    let seconds = started.elapsed().as_secs_f64();
    let spent = gateway.processor_seconds() - processor;
    let share = spent / (pings() - pinged) * CLIENTS as f64 / DEFAULT_INTERVAL_SECONDS;
    let after = gateway.resident_bytes();
    report(
        "idle",
        &[
            ("clients", CLIENTS as f64),
            ("seconds", seconds),
            ("bytes_a_client", (resident - empty) as f64 / CLIENTS as f64),
            ("grown_bytes", after as f64 - resident as f64),
            ("core_share", spent / seconds),
            ("core_share_at_25s", share),
        ],
    );
    assert_eq!((clients.len() as u64, gateway.holdings().sockets), (CLIENTS, CLIENTS));
    assert!(clients.try_join_next().is_none(), "a client was cut");
    assert_eq!(gateway.ended("ping_timeout"), 0.0);
    assert!(after < resident + GROWTH_BYTES_MAX, "{resident} bytes became {after}");
    assert!(share < CORE_SHARE_MAX, "{share} of a core at the default interval");
}
