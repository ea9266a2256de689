//! Many connections, so many of them at once.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use super::client::Client;
use super::failure::Failure;
use super::progress::Pace;
use super::run::{Role, Run};
use super::summary::grouped;
use super::talk::Heard;
use super::trouble::Trouble;

/// Attempts after which nothing is tried any more where none succeeded.
const TRIES_MIN: usize = 16;

/// Opens clients number `first` to `first + count`, gives each to `each`, and returns the seconds that it took. Where
/// nobody gets in, it does not try for ever.
pub(super) async fn open(
    run: &Rc<Run>,
    first: usize,
    count: usize,
    role: Role,
    each: impl FnMut(usize, Client),
) -> f64 {
    let (start, next) = (Instant::now(), Rc::new(Cell::new(0)));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let tries_max = run.plan.parallel.max(TRIES_MIN);
    for _ in 0..run.plan.parallel.min(count) {
        let (run, next, sender) = (Rc::clone(run), Rc::clone(&next), sender.clone());
        spawn_local(async move {
            while next.get() < count && !run.is_ended() {
                let index = first + next.replace(next.get() + 1);
                if let Some(client) = run.open(index, role).await {
                    let _ = sender.send((index, client)); // whoever takes them has ended the run
                } else if run.connected.get() == 0 && run.failures() >= tries_max as u64 {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut each = each;
    while let Some((index, client)) = receiver.recv().await {
        each(index, client);
    }
    start.elapsed().as_secs_f64()
}

/// Clients that answer heartbeats while others connect.
pub(super) struct Lounge {
    run: Rc<Run>,
    clients: Vec<JoinHandle<Option<(usize, Client)>>>,
    /// Dropped when they are wanted.
    closed: watch::Sender<()>,
}

impl Lounge {
    pub(super) fn new(run: &Rc<Run>) -> Self {
        Self {
            run: Rc::clone(run),
            clients: Vec::new(),
            closed: watch::Sender::new(()),
        }
    }

    pub(super) fn add(&mut self, index: usize, client: Client) {
        let waited = wait(Rc::clone(&self.run), index, client, self.closed.subscribe());
        self.clients.push(spawn_local(waited));
    }

    /// Those who are still connected.
    ///
    /// # Errors
    /// When nobody is.
    pub(super) async fn close(self) -> Result<Vec<(usize, Client)>, Trouble> {
        drop(self.closed);
        let mut clients = Vec::with_capacity(self.clients.len());
        for client in self.clients {
            clients.extend(client.await.ok().flatten()); // one that panicked is none
        }
        if clients.is_empty() && self.run.connected.get() > 0 {
            return Err(self.run.nobody_stayed());
        }
        Ok(clients)
    }
}

async fn wait(
    run: Rc<Run>,
    index: usize,
    mut client: Client,
    mut closed: watch::Receiver<()>,
) -> Option<(usize, Client)> {
    let ended = loop {
        let mut is_out = false;
        tokio::select! {
            _ = closed.changed() => return Some((index, client)),
            heard = client.messages(|message, _| is_out |= run.manner.talk.hear(message) == Heard::Disconnected) => {
                if let Err(failure) = heard {
                    break failure;
                }
            }
        }
        if is_out {
            break Failure::Disconnected;
        }
    };
    run.closed(&ended);
    None
}

/// Tells how many of `count` are connected.
pub(super) fn tell(run: &Rc<Run>, count: usize) {
    let weak = Rc::downgrade(run);
    let mut pace = Pace::new(run.connected.get());
    run.progress.show(move |seconds| {
        let Some(run) = weak.upgrade() else {
            return String::new();
        };
        let connected = run.connected.get();
        let pace = grouped(pace.next(connected, seconds));
        let (connected, count, failed) = (grouped(connected as f64), grouped(count as f64), run.failures());
        let failed = if failed > 0 {
            format!(", {failed} failed")
        } else {
            String::new()
        };
        format!("connecting: {connected} of {count}, {pace} a second{failed}")
    });
}

/// Does one thing for each client at the same time, and returns those for which it went well.
pub(super) async fn all<T: 'static, F>(clients: Vec<T>, mut each: impl FnMut(T) -> F) -> Vec<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let tasks: Vec<_> = clients.into_iter().map(|client| spawn_local(each(client))).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.extend(task.await); // one that panicked is none
    }
    results
}
