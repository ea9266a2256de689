//! Events that the server answers: so many under way of each client, always.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::timeout;

use super::client::Client;
use super::crowd::{self, Lounge};
use super::failure::Failure;
use super::measure::{drain, measure};
use super::progress::Pace;
use super::quantiles::{Readable, Times};
use super::report::{Report, Totals};
use super::run::{Role, Run, Stage};
use super::stamp::plain_payload;
use super::summary::grouped;
use super::talk::{Heard, Refusal};
use super::trouble::{Need, Trouble};
use super::unanswered::Unanswered;

/// Time for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// What all clients count.
struct Books {
    said: Cell<u64>,
    answered: Cell<u64>,
    out_of_order: Cell<u64>,
    times: Times,
}

/// Measures echoes.
pub(super) async fn echo(run: &Rc<Run>, clients: usize, window: usize, event: &str) -> Result<Report, Trouble> {
    let json: Rc<str> = serde_json::json!([event, plain_payload(run.plan.payload)])
        .to_string()
        .into();
    let before = run.server();
    let mut lounge = Lounge::new(run);
    crowd::tell(run, clients);
    let connect_seconds = crowd::open(run, 0, clients, Role::Client, |index, client| lounge.add(index, client)).await;
    let connect_cpu = run.server().cpu_since(&before);
    run.check_connected()?;
    let mut open = lounge.close().await?;
    if let Some((_, first)) = open.first_mut() {
        try_first(run, first, event, &json).await?;
    }
    let books = Rc::new(Books {
        said: Cell::new(0),
        answered: Cell::new(0),
        out_of_order: Cell::new(0),
        times: Times::new(),
    });
    for (_, client) in open {
        let (run, books, json, event) = (Rc::clone(run), Rc::clone(&books), Rc::clone(&json), event.to_owned());
        spawn_local(async move {
            let need = Need::Echo(&event);
            match speak(&run, &books, client, window, &json).await {
                Said::Ended(failure) => run.closed(&failure),
                Said::Refused(refusal) => run.give_up(Trouble::refusal(need, run.manner.talk.namespace(), &refusal)),
            }
        });
    }
    tell(run, &books);
    let measured = measure(run, || books.answered.get(), |_| {}).await;
    drain(run, || books.said.get() - books.answered.get()).await;
    let mut report = run.report(connect_seconds);
    report.clients = Some(clients);
    report.window = Some(window);
    report.payload_bytes = Some(run.plan.payload);
    report.round_trips_per_second = Some(measured.rate());
    report.latency_us = books.times.quantiles();
    let (expected, received) = (books.said.get(), books.answered.get());
    report.books = Some(Totals {
        expected,
        received,
        lost: expected.saturating_sub(received),
        out_of_order: books.out_of_order.get(),
        stalled_messages: 0,
    });
    measured.enter(&mut report, connect_cpu, None);
    Ok(report)
}

/// Says one event, to see whether it is answered.
async fn try_first(run: &Rc<Run>, client: &mut Client, event: &str, json: &str) -> Result<(), Trouble> {
    let talk = &run.manner.talk;
    let (need, namespace) = (Need::Echo(event), talk.namespace());
    talk.event(client.out(), 0, json);
    let answer = client.until(|message| match talk.hear(message) {
        Heard::Ack { id: 0, refusal } => Some(refusal),
        _ => None,
    });
    match timeout(FIRST_ANSWER, answer).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(refusal))) => Err(Trouble::refusal(need, namespace, &refusal)),
        Ok(Err(failure)) => Err(Trouble::Unsuited(format!(
            "the first event was not answered: {failure}"
        ))),
        Err(_) => Err(Trouble::silence(need, namespace, FIRST_ANSWER.as_secs())),
    }
}

/// How a client's part ended.
enum Said {
    Ended(Failure),
    Refused(Refusal),
}

/// Keeps `window` events under way until the run is over, then takes what still comes.
async fn speak(run: &Rc<Run>, books: &Books, mut client: Client, window: usize, json: &str) -> Said {
    let talk = &run.manner.talk;
    let unanswered = RefCell::new(Unanswered::default());
    let mut last = 0;
    let say = |out: &mut _, now| {
        let number = unanswered.borrow_mut().push(now);
        books.said.set(books.said.get() + 1);
        talk.event(out, number + 1, json); // 0 was the first of all
    };
    for _ in 0..window {
        say(client.out(), run.now());
    }
    loop {
        let (mut now, mut end) = (0, None);
        let result = client
            .messages(|message, out| {
                let (id, refusal) = match talk.hear(message) {
                    Heard::Ack { id, refusal } => (id, refusal),
                    Heard::Disconnected => return end = Some(Said::Ended(Failure::Disconnected)),
                    _ => return,
                };
                if let Some(refusal) = refusal {
                    return end = Some(Said::Refused(refusal));
                }
                let said = id
                    .checked_sub(1)
                    .and_then(|number| unanswered.borrow_mut().take(number));
                let Some(said) = said else { return };
                if now == 0 {
                    now = run.now(); // once for all that was read together
                }
                books.answered.set(books.answered.get() + 1);
                if std::mem::replace(&mut last, id) > id {
                    books.out_of_order.set(books.out_of_order.get() + 1);
                }
                if run.stage() == Stage::Measured {
                    books.times.add(now - said);
                }
                if run.stage() < Stage::Over {
                    say(out, now);
                }
            })
            .await;
        match (end, result) {
            (Some(end), _) => return end,
            (None, Err(failure)) => return Said::Ended(failure),
            (None, Ok(())) => {}
        }
    }
}

fn tell(run: &Rc<Run>, books: &Rc<Books>) {
    let (weak, books) = (Rc::downgrade(run), Rc::clone(books));
    let mut pace = Pace::new(0);
    run.progress.show(move |seconds| {
        let Some(run) = weak.upgrade() else {
            return String::new();
        };
        let pace = grouped(pace.next(books.answered.get(), seconds));
        let p99 = books
            .times
            .quantiles()
            .map(|times| format!(", p99 {}", Readable(times.p99 as f64)));
        let (stage, closed) = (run.stage_words(), run.losses());
        let closed = if closed > 0 {
            format!(", {closed} closed")
        } else {
            String::new()
        };
        format!(
            "{stage}: {pace} round trips a second{}{closed}",
            p99.unwrap_or_default()
        )
    });
}
