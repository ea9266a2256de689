//! A fan-out: subscribers join rooms, publishers publish to them, and the books tell what came of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::timeout;

use super::books::Books;
use super::client::Client;
use super::crowd::{self, Lounge};
use super::measure::{drain, measure};
use super::plan::Fanout;
use super::progress::Pace;
use super::publisher;
use super::quantiles::Readable;
use super::report::{Report, Totals, rounded};
use super::run::{Role, Run};
use super::stamp::Stamper;
use super::subscriber::{self, listen};
use super::summary::grouped;
use super::trouble::Trouble;

/// A subscriber that never read is cut if its connection ends within so long of being read again.
const CUT_SEEN: Duration = Duration::from_secs(5);

/// And is not cut if it is silent for so long.
const CUT_QUIET: Duration = Duration::from_millis(500);

/// What all who take part share.
pub(super) struct Hall {
    pub(super) run: Rc<Run>,
    pub(super) plan: Fanout,
    pub(super) books: Books,
    pub(super) stamper: Stamper,
    /// Subscribers in each room.
    pub(super) members: RefCell<Vec<u32>>,
    /// Joins that were answered.
    pub(super) joins: Cell<u64>,
    /// When publishers began.
    pub(super) opened: Cell<u64>,
}

/// Measures a fan-out.
pub(super) async fn fanout(run: &Rc<Run>, plan: Fanout) -> Result<Report, Trouble> {
    let hall = Rc::new(Hall {
        run: Rc::clone(run),
        books: Books::new(plan.publishers),
        stamper: Stamper::new(rand::random()),
        members: RefCell::new(vec![0; plan.rooms]),
        joins: Cell::new(0),
        opened: Cell::new(0),
        plan,
    });
    let plan = &hall.plan;
    let before = run.server();
    let (mut lounge, mut stalled) = (Lounge::new(run), Vec::new());
    crowd::tell(run, plan.clients + plan.stalled);
    let mut connect_seconds = crowd::open(run, 0, plan.clients, Role::Client, |index, client| {
        lounge.add(index, client);
    })
    .await;
    run.check_connected()?;
    connect_seconds += crowd::open(run, plan.clients, plan.stalled, Role::Stalled, |index, client| {
        stalled.push((index, client));
    })
    .await;
    let connected = run.server();
    let mut report = run.report(connect_seconds);
    let joining = Instant::now();
    tell_joins(&hall);
    let stalled = subscriber::join_all(&hall, stalled, false).await?;
    let clients = subscriber::join_all(&hall, lounge.close().await?, true).await?;
    let (join_seconds, joined) = (joining.elapsed().as_secs_f64(), run.server());
    for (index, client) in clients {
        spawn_local(listen(Rc::clone(&hall), index, client));
    }
    publisher::start_all(&hall).await?;
    tell(&hall);
    let published = Cell::new([0; 2]);
    let count = || hall.books.published.get();
    let measured = measure(
        run,
        || hall.books.received.get(),
        |is_measuring| {
            hall.books.measure(is_measuring);
            let [_, last] = published.get();
            published.set([last, count()]);
        },
    )
    .await;
    drain(run, || hall.books.missing()).await;
    run.trouble()?;
    let [first, last] = published.get();
    (report.failed, report.closed) = run.counts();
    enter(&hall, &mut report);
    report.joins = Some(hall.joins.get());
    report.join_seconds = Some(rounded(join_seconds, 3));
    report.publishes_per_second = Some(rounded((last - first) as f64 / measured.seconds, 1));
    report.deliveries_per_second = Some(measured.rate());
    report.stalled_closed = match plan.stalled {
        0 => None,
        _ => Some(count_cut(stalled).await),
    };
    measured.enter(
        &mut report,
        connected.cpu_since(&before),
        Some(joined.cpu_since(&connected)),
    );
    Ok(report)
}

/// Enters what the plan and the books say.
fn enter(hall: &Hall, report: &mut Report) {
    let (plan, books) = (&hall.plan, &hall.books);
    report.clients = Some(plan.clients);
    report.rooms = Some(plan.rooms);
    report.publishers = Some(plan.publishers);
    report.window = (plan.rate == 0.0).then_some(plan.window);
    report.rate = (plan.rate > 0.0).then_some(plan.rate);
    report.payload_bytes = Some(hall.run.plan.payload);
    report.publish_ack_us = books.answers.quantiles();
    report.latency_us = books.delays.quantiles();
    report.books = Some(Totals {
        expected: books.expected.get(),
        received: books.received.get(),
        lost: books.missing(),
        out_of_order: books.out_of_order.get(),
        stalled_messages: books.written_off.get(),
    });
}

/// How many of those who never read were cut: that shows when they read.
async fn count_cut(stalled: Vec<(usize, Client)>) -> u64 {
    let is_cut = |(_, mut client): (usize, Client)| async move {
        let read = async {
            loop {
                match timeout(CUT_QUIET, client.messages(|_, _| {})).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return true,
                    Err(_) => return false,
                }
            }
        };
        timeout(CUT_SEEN, read).await.unwrap_or(false)
    };
    let cut = crowd::all(stalled, is_cut).await;
    cut.into_iter().filter(|is_cut| *is_cut).count() as u64
}

fn tell_joins(hall: &Rc<Hall>) {
    let weak = Rc::downgrade(hall);
    hall.run.progress.show(move |_| {
        let Some(hall) = weak.upgrade() else {
            return String::new();
        };
        let joins = (hall.plan.clients + hall.plan.stalled) * hall.plan.rooms_per_client;
        let (done, joins) = (grouped(hall.joins.get() as f64), grouped(joins as f64));
        format!("joining: {done} of {joins}")
    });
}

fn tell(hall: &Rc<Hall>) {
    let weak = Rc::downgrade(hall);
    let mut pace = Pace::new(0);
    hall.run.progress.show(move |seconds| {
        let Some(hall) = weak.upgrade() else {
            return String::new();
        };
        let books = &hall.books;
        let pace = grouped(pace.next(books.received.get(), seconds));
        let p99 = books
            .delays
            .quantiles()
            .map(|times| format!(", p99 {}", Readable(times.p99 as f64)));
        let (stage, missing, closed) = (
            hall.run.stage_words(),
            grouped(books.missing() as f64),
            hall.run.losses(),
        );
        let closed = if closed > 0 {
            format!(", {closed} closed")
        } else {
            String::new()
        };
        format!(
            "{stage}: {pace} deliveries a second{}, {missing} under way{closed}",
            p99.unwrap_or_default()
        )
    });
}
