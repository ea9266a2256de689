//! What it costs to have the gateway emit: `POST /v1/emit` and `/v1/batch` beside what programs without a gateway do, which
//! is to PUBLISH the same event to Redis in the encoding of @socket.io/redis-emitter.
//!
//! Both ways take turns in one run, with the same counts, connections and events. Nothing here is asserted but that what was
//! measured happened.

#[path = "../../load/client.rs"]
#[expect(dead_code, reason = "what other clients need")]
mod client;
mod emitters;
#[path = "../process.rs"]
#[expect(dead_code, reason = "what other benchmarks need")]
mod process;
#[path = "../table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use client::Connection;
use emitters::{Emitter, EmitterKind};
use process::{Gateway, Process, free_port, until};
use table::{Table, quantile};

/// Rounds, unless the command line says otherwise.
const ROUNDS: usize = 5;

/// Who emits at the same time, each over a connection of its own, and never before its last was answered.
const CONNECTIONS: usize = 16;

/// What each emits, one by one and in batches.
const EMITS: usize = 2_000;
const BATCHES: usize = 100;

/// Events in a batch.
const BATCH: usize = 100;

/// Members of the room, and what each connection emits into it.
const MEMBERS: usize = 100;
const EMITS_TO_MEMBERS: usize = 200;

const SETTINGS: &str = r#"
[engine]
ping_interval = "10m"
[cluster]
listen = "127.0.0.1:0"
[[namespace]]
name = "/"
"#;

const WAYS: [&str; 2] = ["by the API", "PUBLISH to Redis"];

/// A gateway and its Redis.
struct Pair {
    gateway: Gateway,
    redis: Process,
    redis_port: u16,
}

/// What is measured: its title, what one request holds, and how often each connection sends one.
struct Work {
    section: &'static str,
    room: &'static str,
    events: usize,
    requests: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let binary = PathBuf::from(arguments.first().expect("the path of the gateway's release build"));
    let rounds = arguments
        .get(1)
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let mut table = Table::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] }; // neither is always the second
        for work in works() {
            let pair = Pair::start(&binary).await;
            for number in order {
                pair.measure(&mut table, number, &work).await;
            }
        }
    }
    println!("Medians of {rounds} rounds (and their ranges)\n{}", table.text(WAYS));
}

fn works() -> [Work; 4] {
    let work = |section, room, events, requests| Work {
        section,
        room,
        events,
        requests,
    };
    [
        work("ONE BY ONE, nobody in the room", "nobody", 1, EMITS),
        work("ONE BY ONE, 100 members", "members", 1, EMITS_TO_MEMBERS),
        work("A HUNDRED AT A TIME, nobody in the room", "nobody", BATCH, BATCHES),
        work(
            "A HUNDRED AT A TIME, 100 members",
            "members",
            BATCH,
            EMITS_TO_MEMBERS / BATCH,
        ),
    ]
}

impl Work {
    /// Events in all.
    fn count(&self) -> usize {
        CONNECTIONS * self.requests * self.events
    }

    fn has_members(&self) -> bool {
        self.room == "members"
    }
}

impl Pair {
    async fn start(binary: &Path) -> Self {
        let redis_port = free_port();
        let redis = Process::redis(redis_port).await;
        let file = std::env::temp_dir().join(format!("roomcast-bench-{}.toml", std::process::id()));
        let url = format!("[cluster]\nredis = \"redis://127.0.0.1:{redis_port}\"");
        std::fs::write(&file, SETTINGS.replace("[cluster]", &url)).unwrap();
        let gateway = Gateway::start(binary, &file);
        std::fs::remove_file(&file).unwrap();
        until("the gateway has its Redis", async || {
            gateway.metric("roomcast_relay_up ").await == 1.0
        })
        .await;
        Self {
            gateway,
            redis,
            redis_port,
        }
    }

    /// Measures one way until all is emitted, and heard where there is somebody who hears it.
    async fn measure(&self, table: &mut Table, number: usize, work: &Work) {
        let heard = Arc::new((AtomicUsize::new(0), Notify::new()));
        let members = self.members(work, &heard).await;
        let mut emitters = Vec::new();
        for _ in 0..CONNECTIONS {
            let kind = match number {
                0 => EmitterKind::Api(self.gateway.admin),
                _ => EmitterKind::Redis(self.redis_port),
            };
            let mut emitter = Emitter::open(kind, work.room, work.events).await;
            emitter.warm_up().await;
            emitters.push(emitter);
        }
        let processor = || [&self.gateway.process, &self.redis].map(Process::processor_seconds);
        let (before, started) = (processor(), Instant::now());
        let requests = work.requests;
        let working: JoinSet<_> = emitters
            .into_iter()
            .map(|mut emitter| async move { emitter.emit(requests).await })
            .collect();
        let mut times: Vec<f64> = working.join_all().await.into_iter().flatten().collect();
        if work.has_members() {
            let all = tokio::time::timeout(client::PATIENCE, heard.1.notified()).await;
            all.unwrap_or_else(|_| panic!("{} events were heard", heard.0.load(Ordering::Relaxed)));
        }
        let (after, seconds) = (processor(), started.elapsed().as_secs_f64());
        drop(members);
        let mut add = |name: &str, figure| table.add(work.section, name, number, figure);
        add("events per second", work.count() as f64 / seconds);
        let thousands = work.count() as f64 / 1_000.0;
        add(
            "processor of the gateway, s per 1,000",
            (after[0] - before[0]) / thousands,
        );
        add("processor of Redis, s per 1,000", (after[1] - before[1]) / thousands);
        times.sort_by(f64::total_cmp);
        add("a request: time, median, µs", quantile(&times, 0.5));
        add("a request: time, 99 %, µs", quantile(&times, 0.99));
        until("the room is empty", async || {
            self.gateway
                .metric("roomcast_connections{transport=\"websocket\"")
                .await
                == 0.0
        })
        .await;
    }

    /// Fills the room with those who count what they hear, where the work is for members.
    async fn members(&self, work: &Work, heard: &Arc<(AtomicUsize, Notify)>) -> JoinSet<()> {
        let mut members = JoinSet::new();
        if !work.has_members() {
            return members;
        }
        let expected = format!("42{}", emitters::event());
        for _ in 0..MEMBERS {
            let mut member = Connection::client(self.gateway.address).await.unwrap();
            member.does(r#"["join","members"]"#).await.unwrap();
            let (heard, expected) = (Arc::clone(heard), expected.clone());
            let total = MEMBERS * work.count();
            members.spawn(async move {
                loop {
                    let message = member.message().await.unwrap();
                    if message == expected {
                        if heard.0.fetch_add(1, Ordering::Relaxed) + 1 == total {
                            heard.1.notify_one();
                        }
                    } else {
                        assert_eq!(message, r#"42["warm"]"#);
                    }
                }
            });
        }
        members
    }
}
