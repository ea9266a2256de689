//! What it costs to have the gateway emit: `POST /v1/emit` and `/v1/batch` beside what programs without a gateway do, which
//! is to PUBLISH the same event to Redis in the encoding of @socket.io/redis-emitter.
//!
//! Both ways take turns in one run, with the same counts, connections and events. Nothing here is asserted but that what was
//! measured happened.

#[path = "../comparison.rs"]
#[expect(dead_code, reason = "what other benchmarks need")]
mod comparison;
mod emitters;

use std::sync::Arc;

use tokio::task::JoinSet;

use comparison::client::Connection;
use comparison::table::Table;
use comparison::{Cluster, Heard, Meter, compare};
use emitters::{Emitter, EmitterKind};

/// Who emits at the same time, each over a connection of its own, and never before its last was answered.
const CONNECTIONS: usize = 16;

/// What each emits, one by one and in batches.
const EMITS: usize = 5_000;
const BATCHES: usize = 100;

/// Events in a batch.
const BATCH: usize = 100;

/// Members of the room, what each connection emits into it before they are waited for, and how often.
const MEMBERS: usize = 100;
const WAVE: usize = 25;
const WAVES: usize = 80;

const SETTINGS: &str = r#"
[engine]
ping_interval = "10m"
[cluster]
listen = "127.0.0.1:0"
[[namespace]]
name = "/"
"#;

const WAYS: [&str; 2] = ["by the API", "PUBLISH to Redis"];

/// What is measured: its title, what one request holds, and how often each connection sends one. After each wave members
/// are waited for: what nobody waits for can come faster from Redis than it is delivered, and is dropped then.
struct Work {
    section: &'static str,
    room: &'static str,
    events: usize,
    requests: usize,
    waves: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    compare(WAYS, async |table, binary, order| {
        for work in works() {
            let cluster = Cluster::start(binary, SETTINGS).await;
            for number in order {
                work.measure(table, number, &cluster).await;
            }
        }
    })
    .await;
}

fn works() -> [Work; 4] {
    let work = |section, room, events, requests, waves| Work {
        section,
        room,
        events,
        requests,
        waves,
    };
    [
        work("ONE BY ONE, nobody in the room", "nobody", 1, EMITS, 1),
        work("ONE BY ONE, 100 members", "members", 1, WAVE, WAVES),
        work("A HUNDRED AT A TIME, nobody in the room", "nobody", BATCH, BATCHES, 1),
        work("A HUNDRED AT A TIME, 100 members", "members", BATCH, 1, WAVES / 4),
    ]
}

impl Work {
    /// Events in all.
    fn count(&self) -> usize {
        self.in_a_wave() * self.waves
    }

    fn in_a_wave(&self) -> usize {
        CONNECTIONS * self.requests * self.events
    }

    fn has_members(&self) -> bool {
        self.room == "members"
    }

    /// Measures one way until all is emitted, and heard where there is somebody who hears it.
    async fn measure(&self, table: &mut Table, number: usize, cluster: &Cluster<1>) {
        let [gateway] = &cluster.gateways;
        let heard = Arc::new(Heard::nothing_of(MEMBERS * self.in_a_wave()));
        let members = self.members(cluster, &heard).await;
        let mut emitters = Vec::new();
        for _ in 0..CONNECTIONS {
            let kind = match number {
                0 => EmitterKind::Api(gateway.admin),
                _ => EmitterKind::Redis(cluster.redis_port),
            };
            let mut emitter = Emitter::open(kind, self.room, self.events).await;
            emitter.warm_up().await;
            emitters.push(emitter);
        }
        let meter = Meter::start([&gateway.process, &cluster.redis]);
        let mut times = Vec::new();
        for _ in 0..self.waves {
            let requests = self.requests;
            let working: JoinSet<_> = emitters
                .into_iter()
                .map(|mut emitter| async move { (emitter.emit(requests).await, emitter) })
                .collect();
            emitters = Vec::new();
            for (some, emitter) in working.join_all().await {
                times.extend(some);
                emitters.push(emitter);
            }
            if self.has_members() {
                heard.all().await;
            }
        }
        let (spent, seconds) = meter.stop();
        drop(members);
        let mut add = |name: &str, figure| table.add(self.section, name, number, figure);
        add("events per second", self.count() as f64 / seconds);
        for (who, spent) in ["the gateway", "Redis"].into_iter().zip(spent) {
            let figure = spent * 1e6 / self.count() as f64;
            add(&format!("processor of {who}, ms per 1,000"), figure);
        }
        table.add_times(self.section, "a request: ", number, times);
        gateway.is_left().await;
    }

    /// Fills the room with those who count what they hear, where the work is for members.
    async fn members(&self, cluster: &Cluster<1>, heard: &Arc<Heard>) -> JoinSet<()> {
        let mut members = JoinSet::new();
        if !self.has_members() {
            return members;
        }
        let expected = format!("42{}", emitters::event());
        for _ in 0..MEMBERS {
            let mut member = Connection::client(cluster.gateways[0].address).await.unwrap();
            member.does(r#"["join","members"]"#).await.unwrap();
            let (heard, expected) = (Arc::clone(heard), expected.clone());
            members.spawn(async move {
                loop {
                    let message = member.message().await.unwrap();
                    if message == expected {
                        heard.one();
                    } else {
                        assert_eq!(message, r#"42["warm"]"#);
                    }
                }
            });
        }
        members
    }
}
