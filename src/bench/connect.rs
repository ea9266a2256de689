//! Connections alone: many that stay, or one after the other that leave at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;

use super::client::Client;
use super::crowd;
use super::failure::Failure;
use super::message::Message;
use super::outgoing::Outgoing;
use super::process::Reading;
use super::progress::Pace;
use super::report::{Report, Server, rounded};
use super::run::{Role, Run, Stage};
use super::summary::grouped;
use super::talk::Heard;
use super::trouble::Trouble;

/// The first clients, whose memory is not counted: they pay for code and tables that all the others use, too.
const FIRST_MAX: usize = 200;

/// Time in which a server comes to rest behind the last connection.
const REST: Duration = Duration::from_millis(500);

/// Many connections that stay.
pub(super) async fn stay(run: &Rc<Run>, clients: usize, hold: Duration) -> Result<Report, Trouble> {
    let first = (clients / 10).clamp(1, FIRST_MAX);
    let (before, own) = (run.server(), Run::own());
    let mut base = before.clone();
    let mut count = 0;
    crowd::tell(run, clients);
    let seconds = crowd::open(run, 0, clients, Role::Client, |_, client| {
        count += 1;
        if count == first {
            base = run.server();
        }
        spawn_local(keep(Rc::clone(run), client));
    })
    .await;
    let (connected, own_connected) = (run.server(), Run::own());
    run.check_connected()?;
    run.pause(REST).await;
    let settled = run.server();
    tell_hold(run, hold);
    run.pause(hold).await;
    let end = run.server();
    let others = count.saturating_sub(first).max(1) as f64;
    let slope = |reading: &Reading| {
        let grown = reading.resident_bytes() as f64 - base.resident_bytes() as f64;
        (count > first).then(|| rounded(grown / others, 1))
    };
    let mut report = run.report(seconds);
    report.clients = Some(clients);
    report.seconds = rounded(seconds, 3);
    report.server = run.used(&before, &connected, seconds).map(|server| Server {
        cpu_seconds_per_thousand: Some(rounded(server.cpu_seconds * 1e3 / count as f64, 4)),
        connect_cpu_seconds: Some(server.cpu_seconds),
        resident_bytes: end.resident_bytes(),
        bytes_per_client: slope(&settled),
        bytes_per_client_after_hold: slope(&end),
        ..server
    });
    report.bench = Run::own_use(&own, &own_connected, seconds);
    run.enter(Stage::Over);
    Ok(report)
}

/// Answers heartbeats until the connection ends.
async fn keep(run: Rc<Run>, mut client: Client) {
    let mut is_out = false;
    let ended = loop {
        let hear =
            |message: Message<'_>, _: &mut Outgoing| is_out |= run.manner.talk.hear(message) == Heard::Disconnected;
        match client.messages(hear).await {
            Err(failure) => break failure,
            Ok(()) if is_out => break Failure::Disconnected,
            Ok(()) => {}
        }
    };
    run.closed(&ended);
}

fn tell_hold(run: &Rc<Run>, hold: Duration) {
    let (weak, start) = (Rc::downgrade(run), Instant::now());
    run.progress.show(move |_| {
        let Some(run) = weak.upgrade() else {
            return String::new();
        };
        let (elapsed, hold) = (start.elapsed().as_secs(), hold.as_secs());
        let (connected, closed) = (grouped(run.connected.get() as f64), run.losses());
        let closed = if closed > 0 {
            format!(", {closed} closed")
        } else {
            String::new()
        };
        format!("holding {connected} connections: {elapsed} of {hold} s{closed}")
    });
}

/// One connection after the other, that leave at once.
pub(super) async fn churn(run: &Rc<Run>, rate: f64) -> Result<Report, Trouble> {
    let (before, own, start) = (run.server(), Run::own(), Instant::now());
    let next = Rc::new(Cell::new(0));
    run.enter(Stage::Measured);
    tell_churn(run);
    crowd::all((0..run.plan.parallel).collect(), |_| {
        churn_one(Rc::clone(run), Rc::clone(&next), rate, start)
    })
    .await;
    let seconds = start.elapsed().as_secs_f64();
    let (after, own_after) = (run.server(), Run::own());
    run.check_connected()?;
    let connected = run.connected.get();
    let mut report = run.report(seconds);
    report.seconds = rounded(seconds, 3);
    report.rate = (rate > 0.0).then_some(rate);
    report.server = run.used(&before, &after, seconds).map(|server| Server {
        cpu_seconds_per_thousand: Some(rounded(server.cpu_seconds * 1e3 / connected as f64, 4)),
        ..server
    });
    report.bench = Run::own_use(&own, &own_after, seconds);
    Ok(report)
}

/// Connects and leaves, again and again; `next` counts connections of all who do that.
async fn churn_one(run: Rc<Run>, next: Rc<Cell<usize>>, rate: f64, start: Instant) {
    let end = start + run.plan.time;
    let tries_max = run.plan.parallel.max(16) as u64;
    while Instant::now() < end && !run.is_ended() {
        let index = next.replace(next.get() + 1);
        if rate > 0.0 {
            let due = start + Duration::from_secs_f64(index as f64 / rate);
            if due >= end {
                return;
            }
            run.pause(due.saturating_duration_since(Instant::now())).await;
        }
        if let Some(client) = run.open(index, Role::Client).await {
            client.close().await;
        } else if run.connected.get() == 0 && run.failures() >= tries_max {
            return;
        }
    }
}

fn tell_churn(run: &Rc<Run>) {
    let (weak, start) = (Rc::downgrade(run), Instant::now());
    let mut pace = Pace::new(0);
    run.progress.show(move |seconds| {
        let Some(run) = weak.upgrade() else {
            return String::new();
        };
        let (elapsed, time) = (start.elapsed().as_secs(), run.plan.time.as_secs());
        let pace = grouped(pace.next(run.connected.get(), seconds));
        let failed = run.failures();
        format!("connecting and closing: {elapsed} of {time} s, {pace} connections a second, {failed} failed")
    });
}
