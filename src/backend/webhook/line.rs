//! What the application is still to be asked or told of one socket, or one room: in order, one at a time.
//!
//! A task exists only while there is something to do. What somebody waits for is tried once; a notice is tried again, and
//! holds up only what is behind it in its own line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::answer::{Ack, Orders};
use super::budget::Share;
use super::event::{Event, Subject};
use super::{Kind, Webhooks, Whose};
use crate::metrics::WebhookFailure as Failure;

/// Events of a client that wait in its line.
const EVENTS_MAX: usize = 64;

/// Notices that wait in one line; what is above is lost.
const NOTICES_MAX: usize = 1024;

/// The longest wait before the first repeat of a notice; it doubles with each, and any shorter wait is as likely.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A line.
#[derive(Clone, Debug)]
pub struct Line(pub(super) Arc<Shared>);

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for the webhook")]
pub struct Full;

#[derive(Debug)]
pub(super) struct Shared {
    webhooks: Arc<Webhooks>,
    /// Whose it is, where it is a socket's.
    subject: Option<Arc<Subject>>,
    data: Mutex<Data>,
    queue: Mutex<Queue>,
}

/// What is kept with the socket, as JSON.
#[derive(Debug)]
struct Data {
    json: Arc<str>,
    /// The application said it, not a token.
    is_applications: bool,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Clients' events among them, and their bytes.
    events: usize,
    bytes: usize,
    is_running: bool,
}

#[derive(Debug)]
struct Job {
    work: Work,
    _share: Option<Share>,
}

#[derive(Debug)]
enum Work {
    /// To be told; tried again where it is not taken.
    Tell(Event),
    /// To be asked for somebody who waits.
    Ask(Event, Asked),
    /// To be done: what the answer to an earlier question wants.
    Obey(Kind, Orders),
}

/// Who waits for an answer.
#[derive(Debug)]
struct Asked {
    /// The call is made by then, or not at all.
    start_by: Instant,
    /// Told that its turn has come, and then of the answer.
    begun: oneshot::Sender<()>,
    answer: oneshot::Sender<Result<Option<Ack>, Failure>>,
}

impl Line {
    pub(super) fn new(webhooks: Arc<Webhooks>, subject: Option<Arc<Subject>>, data: (&str, bool)) -> Self {
        Self(Arc::new(Shared {
            webhooks,
            subject,
            data: Mutex::new(Data {
                json: data.0.into(),
                is_applications: data.1,
            }),
            queue: Mutex::default(),
        }))
    }

    /// Whose line it is.
    pub fn subject(&self) -> Option<&Arc<Subject>> {
        self.0.subject.as_ref()
    }

    /// Replaces what is kept with the socket, which a token says; false where the application has said it since.
    pub fn offer_data(&self, json: &str) -> bool {
        let mut data = self.0.data.lock();
        if !data.is_applications {
            data.json = json.into();
        }
        !data.is_applications
    }

    /// Has the application asked about a client's event; what it answers, once what it wants is done.
    ///
    /// # Errors
    /// When too much of this client, or of all, waits already.
    pub fn ask(&self, event: Event) -> Result<impl Future<Output = Result<Option<Ack>, Failure>> + Send + use<>, Full> {
        let start_by = Instant::now() + self.0.webhooks.timeout;
        let (begun, begins) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            start_by,
            begun,
            answer,
        };
        self.push_event(event, |event| Work::Ask(event, asked))?;
        Ok(async move {
            match tokio::time::timeout_at(start_by, begins).await {
                Ok(Ok(())) => answered.await.unwrap_or(Err(Failure::Timeout)), // bounded from here on
                Ok(Err(_)) | Err(_) => Err(Failure::Timeout),
            }
        })
    }

    /// Has the application told of a client's event that nobody waits for.
    ///
    /// # Errors
    /// When too much of this client, or of all, waits already.
    pub fn pass_on(&self, event: Event) -> Result<(), Full> {
        self.push_event(event, Work::Tell)
    }

    /// Tells the application something. What finds no room is lost, counted and logged.
    pub fn tell(&self, event: Event) {
        let kind = event.kind;
        let is_last = kind == Kind::Disconnect;
        let mut queue = self.0.queue.lock();
        let share = self.share(&event);
        if share.is_none() || (!is_last && queue.jobs.len() >= NOTICES_MAX) {
            drop(queue);
            self.0.webhooks.lose(kind, Failure::Overflow);
            return;
        }
        self.push(&mut queue, Work::Tell(event), share);
    }

    /// Does what an answer to a question of this kind wants, before anything that comes later.
    pub fn obey(&self, kind: Kind, orders: Orders) {
        if !orders.is_empty() {
            self.push(&mut self.0.queue.lock(), Work::Obey(kind, orders), None);
        }
    }

    fn push_event(&self, event: Event, work: impl FnOnce(Event) -> Work) -> Result<(), Full> {
        let mut queue = self.0.queue.lock();
        let bytes = queue.bytes + event.own_bytes();
        let is_full = queue.events >= EVENTS_MAX || (queue.events > 0 && bytes > self.0.webhooks.line_bytes_max);
        let share = if is_full { None } else { self.share(&event) };
        let Some(share) = share else {
            drop(queue);
            self.0.webhooks.lose(event.kind, Failure::Overflow);
            return Err(Full);
        };
        queue.events += 1;
        queue.bytes = bytes;
        self.push(&mut queue, work(event), Some(share));
        Ok(())
    }

    fn share(&self, event: &Event) -> Option<Share> {
        self.0.webhooks.budget.take(event.bytes(self.0.subject.as_deref()))
    }

    fn push(&self, queue: &mut Queue, mut work: Work, share: Option<Share>) {
        if let Work::Tell(event) | Work::Ask(event, ..) = &mut work
            && event.id.is_empty()
        {
            event.id = self.0.webhooks.new_id();
        }
        queue.jobs.push_back(Job { work, _share: share });
        if !std::mem::replace(&mut queue.is_running, true) {
            tokio::spawn(run(Arc::clone(&self.0)));
        }
    }
}

/// Does what is in a line until nothing is.
async fn run(line: Arc<Shared>) {
    loop {
        let job = {
            let mut queue = line.queue.lock();
            let Some(job) = queue.jobs.pop_front() else {
                queue.is_running = false;
                queue.jobs.shrink_to_fit(); // an idle line holds nothing
                return;
            };
            if let Work::Tell(event) | Work::Ask(event, ..) = &job.work
                && event.kind == Kind::Event
            {
                queue.events -= 1;
                queue.bytes -= event.own_bytes();
            }
            job
        };
        match job.work {
            Work::Tell(event) => line.tell(&event).await,
            Work::Ask(event, asked) => {
                let _ = asked.begun.send(()); // its socket may be gone
                let _ = asked.answer.send(line.ask(&event, asked.start_by).await);
            }
            Work::Obey(kind, orders) => line.obey(kind, None, orders).await,
        }
    }
}

impl Shared {
    /// Tells the application, again and again as far as that is wanted.
    async fn tell(&self, event: &Event) {
        let body = self.body(event);
        let mut tried = 0;
        loop {
            let called = self.webhooks.call(event, body.clone(), self.subject.as_deref(), None);
            match called.await {
                Ok(answer) => return self.obey(event.kind, event.namespace.clone(), answer.orders).await,
                Err(failure) if tried >= self.webhooks.retries => {
                    debug!(kind = event.kind.as_str(), why = failure.as_str(), "not told");
                    return self.webhooks.complain(event.kind, failure);
                }
                Err(_) => {}
            }
            let longest = BACKOFF.saturating_mul(1 << tried.min(16)).min(BACKOFF_MAX);
            tokio::time::sleep(longest.mul_f32(rand::random())).await;
            tried += 1;
        }
    }

    /// Asks the application, unless it is too late for that.
    async fn ask(&self, event: &Event, start_by: Instant) -> Result<Option<Ack>, Failure> {
        let body = self.body(event);
        let called = self.webhooks.call(event, body, self.subject.as_deref(), Some(start_by));
        let answer = called.await?;
        self.obey(event.kind, None, answer.orders).await;
        Ok(answer.ack)
    }

    fn body(&self, event: &Event) -> bytes::Bytes {
        let data = Arc::clone(&self.data.lock().json);
        event.body(&self.webhooks.node(), self.subject.as_deref(), &data)
    }

    async fn obey(&self, kind: Kind, namespace: Option<Arc<str>>, orders: Orders) {
        if orders.is_empty() {
            return;
        }
        if let Some(data) = &orders.data {
            *self.data.lock() = Data {
                json: (**data).into(),
                is_applications: true,
            };
        }
        let whose = match &self.subject {
            Some(subject) => Whose::Socket(Arc::clone(subject)),
            None => Whose::Nobody(namespace),
        };
        self.webhooks.obey(kind, whose, orders).await;
    }
}
