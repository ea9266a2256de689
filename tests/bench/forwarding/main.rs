//! What it costs when a client's requests come to another node than its session's: two gateways, A and B, on one Redis.
//! All sessions are A's; the same is done directly at A, and through B, which forwards it.
//!
//! Both ways take turns in one run, with the same counts. Nothing here is asserted but that what was measured happened.

mod clients;
#[path = "../comparison.rs"]
#[expect(dead_code, reason = "what other benchmarks need")]
mod comparison;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use clients::{polling_client, session, upgraded, websocket_client};
use comparison::client::{Connection, POLLING};
use comparison::process::{Gateway, Process, rest, until};
use comparison::table::Table;
use comparison::{Cluster, Heard, Meter, compare, microseconds};

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
    assert!(
        rlimit::increase_nofile_limit(u64::MAX).unwrap() >= DESCRIPTORS,
        "too few descriptors (ulimit -Hn)"
    );
    compare(WAYS, async |table, binary, order| {
        let pair = Pair::start(binary).await;
        for number in order {
            let way = Way { pair: &pair, number };
            polling(table, way).await;
            websocket(table, way).await;
            fan_out(table, way).await;
        }
        for number in order {
            // Memory that was used once is not given back, so these want gateways that are new.
            let pair = Pair::start(binary).await;
            parked_polls(table, Way { pair: &pair, number }).await;
            let pair = Pair::start(binary).await;
            idle_websockets(table, Way { pair: &pair, number }).await;
        }
    })
    .await;
}

impl Pair {
    async fn start(binary: &Path) -> Self {
        let Cluster {
            gateways: [a, b],
            redis,
            ..
        } = Cluster::start(binary, SETTINGS).await;
        Self { a, b, _redis: redis }
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
        let meter = Meter::start([&self.pair.a.process, &self.pair.b.process]);
        let times = work.await;
        let (spent, seconds) = meter.stop();
        let mut add = |name: &str, figure| table.add(section, name, self.number, figure);
        let who = ["A", "B", "both"].into_iter();
        for (who, spent) in who.zip([spent[0], spent[1], spent.iter().sum()]) {
            add(&format!("processor of {who}, µs per {unit}"), spent * 1e6 / count);
        }
        add("rate, per second", count / seconds);
        table.add_times(section, "", self.number, times);
    }

    /// The same for a single client, whose times alone are kept.
    async fn measure_alone(self, table: &mut Table, section: &str, work: impl Future<Output = Vec<f64>>) {
        table.add_times(section, "a single client: ", self.number, work.await);
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
    let heard = Arc::new(Heard::nothing_of(MEMBERS));
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let mut member = websocket_client(way).await.connection;
        member.does(r#"["join","room"]"#).await.unwrap();
        let heard = Arc::clone(&heard);
        members.spawn(async move {
            for _ in 0..PUBLICATIONS {
                assert_eq!(member.message().await.unwrap(), r#"42["news","hello"]"#);
                heard.one();
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
            heard.all().await;
            times.push(microseconds(started));
        }
        times
    };
    way.measure(table, (SECTION, "delivery", (MEMBERS * PUBLICATIONS) as f64), work)
        .await;
    drop((publisher, members.join_all().await));
    way.pair.a.is_left().await;
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
