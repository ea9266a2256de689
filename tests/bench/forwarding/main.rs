//! What it costs when a client's requests come to another node than its session's: two gateways, A and B, on one Redis.
//! All sessions are A's; the same is done directly at A, and through B, which forwards it.
//!
//! Both ways take turns in one run, with the same counts. Nothing here is asserted but that what was measured happened.

#[path = "../../load/client.rs"]
#[expect(dead_code, reason = "what other clients need")]
mod client;
mod clients;
#[path = "../process.rs"]
mod process;
#[path = "../table.rs"]
mod table;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use client::{Connection, POLLING};
use clients::{microseconds, polling_client, session, upgraded, websocket_client};
use process::{Gateway, Process, free_port, rest, until};
use table::{Table, quantile};

/// Rounds, unless the command line says otherwise.
const ROUNDS: usize = 5;

/// Clients that poll at the same time, and how often each POSTs an event and GETs its answer.
const POLLING_CLIENTS: usize = 32;
const POLLING_TURNS: usize = 320;

/// Clients with WebSockets, and how often each sends an event and receives its answer.
const WEBSOCKET_CLIENTS: usize = 64;
const WEBSOCKET_TURNS: usize = 1_500;

/// Turns of a single client, whose times say what a way adds where nobody waits for a processor.
const TURNS_ALONE: usize = 1_000;

/// Polls that are parked, and WebSockets that are silent.
const IDLE: usize = 4_000;

/// Members of the room, and what they hear.
const MEMBERS: usize = 500;
const PUBLICATIONS: usize = 400;

/// Descriptors that all this needs here.
const DESCRIPTORS: u64 = IDLE as u64 + 500;

/// No heartbeats: they would wake polls that are to be parked.
const SETTINGS: &str = r#"
[engine]
ping_interval = "10m"
[cluster]
listen = "127.0.0.1:0"
[[namespace]]
name = "/"
[[namespace.event]]
name = "echo"
action = "ack"
"#;

const WAYS: [&str; 2] = ["directly at A", "through B"];

/// Both gateways and their Redis.
struct Pair {
    a: Gateway,
    b: Gateway,
    _redis: Process,
}

/// Where requests go, in one round.
#[derive(Clone, Copy)]
struct Way<'a> {
    pair: &'a Pair,
    /// In `WAYS`.
    number: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let binary = PathBuf::from(arguments.first().expect("the path of the gateway's release build"));
    let rounds = arguments
        .get(1)
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    assert!(
        rlimit::increase_nofile_limit(u64::MAX).unwrap() >= DESCRIPTORS,
        "too few descriptors (ulimit -Hn)"
    );
    let mut table = Table::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] }; // neither is always the second
        let pair = Pair::start(&binary).await;
        for number in order {
            let way = Way { pair: &pair, number };
            polling(&mut table, way).await;
            websocket(&mut table, way).await;
            fan_out(&mut table, way).await;
        }
        for number in order {
            // Memory that was used once is not given back, so these want gateways that are new.
            let pair = Pair::start(&binary).await;
            parked_polls(&mut table, Way { pair: &pair, number }).await;
            let pair = Pair::start(&binary).await;
            idle_websockets(&mut table, Way { pair: &pair, number }).await;
        }
    }
    println!("Medians of {rounds} rounds (and their ranges)\n{}", table.text(WAYS));
}

impl Pair {
    async fn start(binary: &Path) -> Self {
        let port = free_port();
        let redis = Process::redis(port).await;
        let file = std::env::temp_dir().join(format!("roomcast-bench-{}.toml", std::process::id()));
        let url = format!("[cluster]\nredis = \"redis://127.0.0.1:{port}\"");
        std::fs::write(&file, SETTINGS.replace("[cluster]", &url)).unwrap();
        let [a, b] = [(); 2].map(|()| Gateway::start(binary, &file));
        std::fs::remove_file(&file).unwrap();
        until("both gateways know of each other", async || {
            a.metric("roomcast_cluster_nodes ").await + b.metric("roomcast_cluster_nodes ").await == 4.0
        })
        .await;
        Self { a, b, _redis: redis }
    }

    fn processor_seconds(&self) -> [f64; 2] {
        [&self.a, &self.b].map(|gateway| gateway.process.processor_seconds())
    }

    /// Bytes of A and B, and descriptors of A and B, when they have nothing to do.
    async fn holdings(&self) -> [f64; 4] {
        let [a, b] = [&self.a.process, &self.b.process];
        rest(&[a, b]).await;
        [a.resident_bytes(), b.resident_bytes(), a.descriptors(), b.descriptors()]
    }
}

impl Way<'_> {
    fn address(self) -> SocketAddr {
        [&self.pair.a, &self.pair.b][self.number].address
    }

    /// Measures what both gateways spend for `count` units of work, and what it says of its times in microseconds.
    async fn measure(self, table: &mut Table, what: (&str, &str, f64), work: impl Future<Output = Vec<f64>>) {
        let (section, unit, count) = what;
        let (before, started) = (self.pair.processor_seconds(), Instant::now());
        let mut times = work.await;
        let (after, seconds) = (self.pair.processor_seconds(), started.elapsed().as_secs_f64());
        let mut add = |name: &str, figure| table.add(section, name, self.number, figure);
        for (at, gateway) in ["A", "B"].into_iter().enumerate() {
            let spent = (after[at] - before[at]) * 1e6 / count;
            add(&format!("processor of {gateway}, µs per {unit}"), spent);
        }
        let sum: f64 = (0..2).map(|at| after[at] - before[at]).sum();
        add(&format!("processor of both, µs per {unit}"), sum * 1e6 / count);
        add("rate, per second", count / seconds);
        times.sort_by(f64::total_cmp);
        add("time, median, µs", quantile(&times, 0.5));
        add("time, 99 %, µs", quantile(&times, 0.99));
    }

    /// The same for a single client, whose times alone are kept.
    async fn measure_alone(self, table: &mut Table, section: &str, work: impl Future<Output = Vec<f64>>) {
        let mut times = work.await;
        times.sort_by(f64::total_cmp);
        table.add(
            section,
            "a single client: time, median, µs",
            self.number,
            quantile(&times, 0.5),
        );
        table.add(
            section,
            "a single client: time, 99 %, µs",
            self.number,
            quantile(&times, 0.99),
        );
    }

    /// Measures what both gateways hold more after `work` on sessions of A that have no connection yet.
    async fn measure_idle(self, table: &mut Table, section: &str, work: impl AsyncFn(&str) -> Connection) {
        let mut connection = Connection::open(self.pair.a.address).await.unwrap();
        let mut sids = Vec::new();
        for _ in 0..IDLE {
            sids.push(session(&mut connection).await);
        }
        drop(connection);
        let before = self.pair.holdings().await;
        let mut connections = Vec::new();
        for sid in sids {
            connections.push(work(&sid).await);
        }
        let after = self.pair.holdings().await;
        let unsaid = connections.iter().filter(|idle| is_silent(idle));
        assert_eq!(unsaid.count(), IDLE, "connections that should be silent are not");
        for (at, gateway) in ["A", "B"].into_iter().enumerate() {
            let name = format!("memory of {gateway}, bytes each");
            table.add(section, &name, self.number, (after[at] - before[at]) / IDLE as f64);
        }
        for (at, gateway) in ["A", "B"].into_iter().enumerate() {
            let name = format!("descriptors of {gateway}, of all {IDLE}");
            table.add(section, &name, self.number, after[2 + at] - before[2 + at]);
        }
    }
}

/// Echoes by polling, all on connections that are kept.
async fn polling(table: &mut Table, way: Way<'_>) {
    const SECTION: &str = "POLLING, echo: a POST, and a GET that answers";
    const REQUESTS: usize = 2 * POLLING_CLIENTS * POLLING_TURNS;
    let mut alone = polling_client(way).await;
    way.measure_alone(table, SECTION, async { alone.by_polling(TURNS_ALONE).await })
        .await;
    let mut clients = Vec::new();
    for _ in 0..POLLING_CLIENTS {
        clients.push(polling_client(way).await);
    }
    let answered = "roomcast_forwarded_requests_total{result=\"answered\"}";
    let before = way.pair.b.metric(answered).await;
    let work = together(
        clients,
        |mut client| async move { client.by_polling(POLLING_TURNS).await },
    );
    way.measure(table, (SECTION, "request", REQUESTS as f64), work).await;
    let forwarded = way.pair.b.metric(answered).await - before;
    assert_eq!(forwarded, (way.number * REQUESTS) as f64, "requests were forwarded");
}

/// Echoes on WebSockets of sessions that began with polling.
async fn websocket(table: &mut Table, way: Way<'_>) {
    const SECTION: &str = "WEBSOCKET, echo: an event, and its answer";
    const ECHOES: usize = WEBSOCKET_CLIENTS * WEBSOCKET_TURNS;
    let mut alone = websocket_client(way).await;
    way.measure_alone(table, SECTION, async { alone.by_websocket(TURNS_ALONE).await })
        .await;
    drop(alone);
    let tunnels = || async { way.pair.b.metric("roomcast_forwarded_connections ").await };
    until("its tunnel is gone", async || tunnels().await == 0.0).await;
    let mut clients = Vec::new();
    for _ in 0..WEBSOCKET_CLIENTS {
        clients.push(websocket_client(way).await);
    }
    assert_eq!(
        tunnels().await,
        (way.number * WEBSOCKET_CLIENTS) as f64,
        "tunnels are there"
    );
    let work = together(clients, |mut client| async move {
        client.by_websocket(WEBSOCKET_TURNS).await
    });
    way.measure(table, (SECTION, "echo", ECHOES as f64), work).await;
}

/// One room, whose members all hear what one client at A publishes, before it publishes again.
async fn fan_out(table: &mut Table, way: Way<'_>) {
    const SECTION: &str = "FAN-OUT: one room of 500 WebSockets";
    let heard = Arc::new((AtomicUsize::new(0), Notify::new()));
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let mut member = websocket_client(way).await.connection;
        member.does(r#"["join","room"]"#).await.unwrap();
        let heard = Arc::clone(&heard);
        members.spawn(async move {
            for _ in 0..PUBLICATIONS {
                assert_eq!(member.message().await.unwrap(), r#"42["news","hello"]"#);
                if (heard.0.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(MEMBERS) {
                    heard.1.notify_one();
                }
            }
            member
        });
    }
    let mut publisher = Connection::client(way.pair.a.address).await.unwrap();
    publisher.does(r#"["join","room"]"#).await.unwrap();
    let work = async {
        let mut times = Vec::new();
        for _ in 0..PUBLICATIONS {
            let started = Instant::now();
            publisher.does(r#"["publish","room","news","hello"]"#).await.unwrap();
            heard.1.notified().await;
            times.push(microseconds(started));
        }
        times
    };
    way.measure(table, (SECTION, "delivery", (MEMBERS * PUBLICATIONS) as f64), work)
        .await;
    drop((publisher, members.join_all().await));
    let pair = way.pair;
    until("the room is empty", async || {
        pair.a.metric("roomcast_connections{transport=\"websocket\"").await == 0.0
    })
    .await;
}

/// Polls that wait for something to be said.
async fn parked_polls(table: &mut Table, way: Way<'_>) {
    way.measure_idle(table, "PARKED POLLS", async |sid| {
        let mut connection = Connection::open(way.address()).await.unwrap();
        let request = format!("GET {POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.write(request.as_bytes()).await.unwrap();
        connection
    })
    .await;
}

/// WebSockets on which nothing is said.
async fn idle_websockets(table: &mut Table, way: Way<'_>) {
    way.measure_idle(table, "SILENT WEBSOCKETS", async |sid| {
        upgraded(way.address(), sid).await
    })
    .await;
}

/// What came of all clients, at work at the same time.
async fn together<T: Send + 'static, F>(clients: Vec<T>, work: impl Fn(T) -> F) -> Vec<f64>
where
    F: Future<Output = Vec<f64>> + Send + 'static,
{
    let working: JoinSet<_> = clients.into_iter().map(work).collect();
    working.join_all().await.into_iter().flatten().collect()
}

/// Whether its connection is there, and nothing came by it.
fn is_silent(connection: &Connection) -> bool {
    let read = connection.stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
