//! What the way to Redis costs us, in seconds of our processor. To be read by people:
//! `cargo test --release --test it redis_cost -- --ignored --nocapture --test-threads 1`

use std::sync::Arc;

use bytes::Bytes;
use roomcast::cluster::redis::Event;
use tokio::process::Command;

use crate::client::within;
use crate::redis_commands::{all, connected, names, next, settings};
use crate::redis_server::TestRedis;

const COUNT: u64 = 100_000;
const PAYLOAD: usize = 200;

/// Seconds of user and system time of this process.
fn spent() -> f64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = line.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn report(what: &str, since: f64, count: u64) {
    let seconds = (spent() - since) / count as f64 * 100_000.0;
    eprintln!("{what}: {seconds:.2} s of processor for 100,000, {PAYLOAD} bytes each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn publishing() {
    let server = TestRedis::start().await;
    let (redis, _events) = connected(&settings(&server.url())).await;
    let channel: Arc<str> = "socket.io#/#".into();
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    let size = size_of_val(&redis.publish(channel.clone(), payload.clone()));
    eprintln!("a publish is a future of {size} bytes");
    for at_once in [1_000, 1] {
        let since = spent();
        for _ in 0..COUNT / at_once {
            let publishes = (0..at_once).map(|_| redis.publish(channel.clone(), payload.clone()));
            let answers = within(all(publishes)).await;
            assert!(answers.iter().all(Result::is_ok));
        }
        report(&format!("published, {at_once} at once"), since, COUNT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn receiving() {
    let server = TestRedis::start().await;
    let (redis, mut events) = connected(&settings(&server.url())).await;
    within(redis.subscribe(names(&["socket.io#/#"]))).await.unwrap();
    let (port, count) = (server.port.to_string(), (COUNT * 5).to_string());
    let since = spent();
    let mut publisher = Command::new("redis-benchmark")
        .args([
            "-p",
            &port,
            "-c",
            "1",
            "-P",
            "16",
            "-n",
            &count,
            "-q",
            "publish",
            "socket.io#/#",
        ])
        .arg("x".repeat(PAYLOAD))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut received = 0;
    while received < COUNT * 5 {
        match next(&mut events).await {
            Event::Message(_) => received += 1,
            Event::Lagged(lost) => received += lost,
            other => panic!("{other:?}"),
        }
    }
    report("received", since, COUNT * 5);
    within(publisher.wait()).await.unwrap();
}
