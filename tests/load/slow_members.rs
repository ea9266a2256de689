//! Members of a room that do not read are cut, and the others notice nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Connection;
use crate::gateway::{Gateway, report, until};
use crate::{alone, within_minutes};

const MEMBERS: usize = 200;
const SLOW: usize = 50;

/// Messages of a round, and the time between two.
const MESSAGES: usize = 450;
const PACE: Duration = Duration::from_millis(10);

/// Rounds without and with slow members, in turns.
const ROUNDS: usize = 3;

/// Large enough for what the system's buffers and an outbox hold to be full long before a round is over.
const MESSAGE_BYTES: usize = 8_000;

/// How much later the others may hear with slow members than without. A tenth is what is meant; nothing below this tells
/// a defect from a busy machine.
const LATER_MAX: f64 = 2.0;

/// Who waits for a slow member waits until it is cut, which takes seconds. Below this a busy machine is measured.
const NOISE: Duration = Duration::from_millis(250);

const SETTINGS: &str = "engine.max_payload = \"100kB\"\nlimits.outbox = \"500kB\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_members_are_cut_and_the_others_notice_nothing() {
    let _alone = alone().await;
    let gateway = Gateway::start(SETTINGS);
    let (mut without, mut with, mut processor) = (Vec::new(), Vec::new(), [0.0; 2]);
    for round in 0..ROUNDS {
        assert_eq!(gateway.ended("too_slow"), (round * SLOW) as f64);
        let begun = gateway.processor_seconds();
        without.push(within_minutes(2, play(gateway.address, &format!("fast-{round}"), 0)).await);
        assert_eq!(gateway.ended("too_slow"), (round * SLOW) as f64);
        let between = gateway.processor_seconds();
        with.push(within_minutes(2, play(gateway.address, &format!("slow-{round}"), SLOW)).await);
        processor[0] += between - begun;
        processor[1] += gateway.processor_seconds() - between;
        // The last of those who read a little is cut a little later.
        let cut = || gateway.ended("too_slow");
        let wanted = ((round + 1) * SLOW) as f64;
        until(
            Duration::from_secs(30),
            || (cut() == wanted).then_some(()),
            || format!("{} were cut", cut()),
        )
        .await;
    }
    assert_eq!(gateway.holdings().outbox_bytes, 0);
    let ratios = without
        .iter()
        .zip(&with)
        .map(|(without, with)| with.1.as_secs_f64() / without.1.as_secs_f64());
    report(
        "slow members",
        &ratios.map(|ratio| ("p99_ratio", ratio)).collect::<Vec<_>>(),
    );
    let (without, with) = (best(&without), best(&with));
    let ratio = with.1.as_secs_f64() / without.1.as_secs_f64();
    report(
        "slow members",
        &[
            ("p50_without_ms", without.0.as_secs_f64() * 1e3),
            ("p50_with_ms", with.0.as_secs_f64() * 1e3),
            ("p99_without_ms", without.1.as_secs_f64() * 1e3),
            ("p99_with_ms", with.1.as_secs_f64() * 1e3),
            ("best_p99_ratio", ratio),
            ("cpu_s_without", processor[0]),
            ("cpu_s_with", processor[1]),
        ],
    );
    assert!(
        ratio < LATER_MAX || with.1 < NOISE,
        "{with:?} with slow members, {without:?} without"
    );
}

/// The round that was disturbed least, by its 99th percentile.
fn best(rounds: &[(Duration, Duration)]) -> (Duration, Duration) {
    *rounds.iter().min_by_key(|round| round.1).unwrap()
}

/// One round: everybody in the room hears every message once and in order. Median and 99th percentile of the time that
/// took.
async fn play(address: SocketAddr, room: &str, slow: usize) -> (Duration, Duration) {
    let (start, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let mut member = join(address, room, None).await;
        members.spawn(async move {
            let mut delays = Vec::with_capacity(MESSAGES);
            for number in 0..MESSAGES {
                let message = member.message().await.unwrap();
                let mut parts = message.splitn(4, ','); // 42["n",number,microseconds,"…"]
                let mut number_in = || parts.nth(1).unwrap().parse::<u64>().unwrap();
                assert_eq!(number_in(), number as u64, "lost, twice or out of order");
                let sent = Duration::from_micros(parts.next().unwrap().parse().unwrap());
                delays.push(start.elapsed().saturating_sub(sent));
            }
            delays
        });
    }
    let mut idlers = JoinSet::new();
    for number in 0..slow {
        let member = join(address, room, Some(4096)).await;
        let over = Arc::clone(&over);
        idlers.spawn(async move {
            let mut bytes = [0; 100];
            // Half of them read a kilobyte a second.
            while !over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if number % 2 == 0 {
                    let _ = member.stream.try_read(&mut bytes);
                }
            }
        });
    }
    publish(address, room, start).await;
    let mut delays: Vec<_> = members.join_all().await.into_iter().flatten().collect();
    assert_eq!(delays.len(), MEMBERS * MESSAGES);
    over.store(true, Ordering::Relaxed);
    idlers.join_all().await;
    delays.sort_unstable();
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100])
}

async fn publish(address: SocketAddr, room: &str, start: Instant) {
    let mut publisher = join(address, room, None).await;
    let words = "x".repeat(MESSAGE_BYTES);
    let mut clock = tokio::time::interval(PACE);
    for number in 0..MESSAGES {
        clock.tick().await;
        let sent = start.elapsed().as_micros();
        publisher
            .send(&format!("42[\"publish\",\"{room}\",\"n\",{number},{sent},\"{words}\"]"))
            .await
            .unwrap();
    }
    publisher.does("[\"members\",\"room\"]").await.unwrap_err(); // everything before is on its way
}

async fn join(address: SocketAddr, room: &str, receive_bytes: Option<u32>) -> Connection {
    let mut member = Connection::open_with(address, receive_bytes).await.unwrap();
    member.enter().await.unwrap();
    member.does(&format!("[\"join\",\"{room}\"]")).await.unwrap();
    member
}
