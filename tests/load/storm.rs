//! Thousands of clients that are cut at once and come back together all get in, and nobody else is lost meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::gateway::{Gateway, report, until};
use crate::{alone, for_each};

const CLIENTS: usize = 10_000;

/// Clients that connect at a time, in the beginning.
const WIDTH: usize = 200;

/// Time in which all are back.
const BACK: Duration = Duration::from_secs(30);

/// The stock client's `reconnectionDelay`, `reconnectionDelayMax` and `randomizationFactor`.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(5);
const RANDOMIZATION: f64 = 0.5;

/// Many heartbeats are due while others come back, and whoever is kept waiting for one is cut.
const SETTINGS: &str = "engine.ping_interval = \"1s\"\nengine.ping_timeout = \"4s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_were_cut_together_come_back_together_and_nobody_else_is_lost() {
    let _alone = alone().await;
    let gateway = Gateway::start(SETTINGS);
    let address = gateway.address;
    let connect = move |_| async move { Connection::client(address).await.unwrap() };
    let connected = for_each(CLIENTS as u64, WIDTH, connect).await;
    let (cut, _) = watch::channel((0, 0)); // how often, and how many
    let attempts = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for (number, client) in connected.into_iter().enumerate() {
        clients.spawn(live(client, address, number, cut.subscribe(), Arc::clone(&attempts)));
    }
    for (round, count) in [(1, CLIENTS / 2), (2, CLIENTS), (3, CLIENTS / 2)] {
        let accepted = || gateway.metric("roomcast_handshakes_total{protocol=\"4\",result=\"accepted\"");
        let (before, tried, started) = (accepted(), attempts.load(Ordering::Relaxed), Instant::now());
        cut.send_replace((round, count));
        let is_back = || gateway.holdings().sockets == CLIENTS as u64 && accepted() >= before + count as f64;
        let state = || format!("{:?}", gateway.holdings());
        until(BACK, || is_back().then_some(()), state).await;
        let tried = attempts.load(Ordering::Relaxed) - tried;
        report(
            "storm",
            &[
                ("cut", count as f64),
                ("back_s", started.elapsed().as_secs_f64()),
                ("attempts", tried as f64),
                ("MB", gateway.resident_bytes() as f64 / 1e6),
            ],
        );
    }
    assert_eq!(gateway.ended("ping_timeout"), 0.0);
    assert_eq!(clients.len(), CLIENTS);
}

/// Stays connected; is cut whenever more clients than its number are, and then comes back as the stock client does.
async fn live(
    mut client: Connection,
    address: std::net::SocketAddr,
    number: usize,
    mut cut: watch::Receiver<(usize, usize)>,
    attempts: Arc<AtomicUsize>,
) {
    let mut dice = StdRng::seed_from_u64(number as u64);
    let mut seen = 0;
    loop {
        tokio::select! {
            error = client.idle() => panic!("client {number} was cut: {error}"),
            now = cut.wait_for(|(round, count)| *round > seen && number < *count) => match now {
                Ok(now) => seen = now.0,
                Err(_) => return,
            },
        }
        client.reset();
        let mut delay = DELAY;
        client = loop {
            tokio::time::sleep(delay.mul_f64(dice.random_range(1.0 - RANDOMIZATION..1.0 + RANDOMIZATION))).await;
            attempts.fetch_add(1, Ordering::Relaxed);
            match Connection::client(address).await {
                Ok(client) => break client,
                Err(_) => delay = (delay * 2).min(DELAY_MAX),
            }
        };
    }
}
