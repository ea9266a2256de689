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

use super::answer::{Answer, Orders};
use super::budget::{Share, Weight};
use super::event::{Event, Subject};
use super::{Kind, Webhooks, Whose};
use crate::metrics::WebhookFailure as Failure;

/// Events of a client that wait in its line.
const EVENTS_MAX: usize = 64;

/// Notices that wait in one line; what is above is lost.
const NOTICES_MAX: usize = 256;

/// The longest wait before the first repeat of a notice; it doubles with each, and any shorter wait is as likely.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A line, as far as it is this socket's.
#[derive(Clone, Debug)]
pub struct Line(pub(super) Arc<Owner>);

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for the webhook")]
pub struct Full;

/// Whose a line is. Sockets of clients 1.x and 2.x that come again have the ids that they had, and so share one.
#[derive(Debug)]
pub(super) struct Owner {
    /// The socket, where it is one's.
    subject: Option<Arc<Subject>>,
    data: Mutex<Data>,
    jobs: Arc<Jobs>,
}

/// What is kept with the socket, as JSON.
#[derive(Debug)]
struct Data {
    json: Arc<str>,
    /// The application said it, not a token.
    is_applications: bool,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) struct Jobs {
    webhooks: Arc<Webhooks>,
    queue: Mutex<Queue>,
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
    owner: Arc<Owner>,
    work: Work,
    _share: Share,
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
    answer: oneshot::Sender<Result<Answer, Failure>>,
}

/// Who comes and goes is what applications count on; clients do all else as often as they like.
fn weight(kind: Kind) -> Weight {
    match kind {
        Kind::Event | Kind::Join | Kind::Leave => Weight::Ordinary,
        Kind::Connect
        | Kind::Connected
        | Kind::Disconnect
        | Kind::RoomOccupied
        | Kind::RoomVacated
        | Kind::NodeLost => Weight::Vital,
    }
}

impl Jobs {
    pub(super) fn new(webhooks: Arc<Webhooks>) -> Arc<Self> {
        Arc::new(Self {
            webhooks,
            queue: Mutex::default(),
        })
    }
}

impl Owner {
    /// Those that share a line with this one.
    pub(super) fn jobs(&self) -> Arc<Jobs> {
        Arc::clone(&self.jobs)
    }
}

impl Line {
    pub(super) fn new(jobs: Arc<Jobs>, subject: Option<Arc<Subject>>, data: (&str, bool)) -> Self {
        Self(Arc::new(Owner {
            subject,
            data: Mutex::new(Data {
                json: data.0.into(),
                is_applications: data.1,
            }),
            jobs,
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

    /// Asks the application. What its answer wants is done first, but for that of a `connect`, which is its caller's.
    ///
    /// # Errors
    /// When too much of this client, or of all, waits already.
    pub fn ask(&self, event: Event) -> Result<impl Future<Output = Result<Answer, Failure>> + Send + use<>, Full> {
        let start_by = Instant::now() + self.0.jobs.webhooks.timeout;
        let (begun, begins) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            start_by,
            begun,
            answer,
        };
        self.push(event, |event| Work::Ask(event, asked))?;
        Ok(async move {
            match tokio::time::timeout_at(start_by, begins).await {
                Ok(Ok(())) => answered.await.unwrap_or(Err(Failure::Timeout)), // bounded from here on
                Ok(Err(_)) | Err(_) => Err(Failure::Timeout),
            }
        })
    }

    /// Tells the application something; what it does not take is tried again.
    ///
    /// # Errors
    /// When too much of this client, or of all, waits already: then it is lost, counted and logged.
    pub fn tell(&self, event: Event) -> Result<(), Full> {
        self.push(event, Work::Tell)
    }

    /// Does what an answer to a question of this kind wants, before anything that comes later. Where too much of all
    /// waits already, its actions fail.
    pub fn obey(&self, kind: Kind, orders: Orders) {
        if orders.is_empty() {
            return;
        }
        let webhooks = &self.0.jobs.webhooks;
        let Some(share) = webhooks.budget.take(weight(kind), orders.bytes()) else {
            for action in &orders.actions {
                webhooks.action_failed(kind, &action.name, &Full.to_string());
            }
            return;
        };
        let mut queue = self.0.jobs.queue.lock();
        self.start(&mut queue, Work::Obey(kind, orders), share);
    }

    fn push(&self, mut event: Event, work: impl FnOnce(Event) -> Work) -> Result<(), Full> {
        let webhooks = &self.0.jobs.webhooks;
        if event.id.is_empty() {
            event.id = webhooks.new_id();
        }
        let kind = event.kind;
        let mut queue = self.0.jobs.queue.lock();
        let bytes = queue.bytes + event.own_bytes();
        let has_room = match kind {
            Kind::Disconnect => true, // the last word
            Kind::Event => queue.events == 0 || (queue.events < EVENTS_MAX && bytes <= webhooks.line_bytes_max),
            _ => queue.jobs.len() < NOTICES_MAX,
        };
        let bytes_kept = event.bytes(self.0.subject.as_deref());
        let share = || webhooks.budget.take(weight(kind), bytes_kept);
        let Some(share) = has_room.then(share).flatten() else {
            drop(queue);
            let is_clients_fault = kind == Kind::Event && !has_room; // who is told so
            webhooks.lose(kind, Failure::Overflow, is_clients_fault);
            return Err(Full);
        };
        if kind == Kind::Event {
            queue.events += 1;
            queue.bytes = bytes;
        }
        self.start(&mut queue, work(event), share);
        Ok(())
    }

    fn start(&self, queue: &mut Queue, work: Work, share: Share) {
        queue.jobs.push_back(Job {
            owner: Arc::clone(&self.0),
            work,
            _share: share,
        });
        if !std::mem::replace(&mut queue.is_running, true) {
            tokio::spawn(run(self.0.jobs()));
        }
    }
}

/// Does what is in a line until nothing is.
async fn run(line: Arc<Jobs>) {
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
            Work::Tell(event) => job.owner.tell(&event).await,
            Work::Ask(event, asked) => {
                let _ = asked.begun.send(()); // its socket may be gone
                let _ = asked.answer.send(job.owner.ask(&event, asked.start_by).await);
            }
            Work::Obey(kind, orders) => job.owner.obey(kind, None, orders).await,
        }
    }
}

impl Owner {
    /// Tells the application, again and again as far as that is wanted.
    async fn tell(&self, event: &Event) {
        let webhooks = &self.jobs.webhooks;
        let body = self.body(event);
        let mut tried = 0;
        loop {
            let called = webhooks.call(event, body.clone(), self.subject.as_deref(), None);
            match called.await {
                Ok(answer) => return self.obey(event.kind, event.namespace.clone(), answer.orders).await,
                Err(failure) if tried >= webhooks.retries => {
                    debug!(kind = event.kind.as_str(), why = failure.as_str(), "not told");
                    return webhooks.complain(event.kind, failure);
                }
                Err(_) => {}
            }
            let longest = BACKOFF.saturating_mul(1 << tried.min(16)).min(BACKOFF_MAX);
            tokio::time::sleep(longest.mul_f32(rand::random())).await;
            tried += 1;
        }
    }

    /// Asks the application, unless it is too late for that.
    async fn ask(&self, event: &Event, start_by: Instant) -> Result<Answer, Failure> {
        let body = self.body(event);
        let webhooks = &self.jobs.webhooks;
        let called = webhooks.call(event, body, self.subject.as_deref(), Some(start_by));
        let mut answer = called.await?;
        if event.kind != Kind::Connect {
            self.obey(event.kind, None, std::mem::take(&mut answer.orders)).await;
        }
        Ok(answer)
    }

    fn body(&self, event: &Event) -> bytes::Bytes {
        let data = Arc::clone(&self.data.lock().json);
        event.body(&self.jobs.webhooks.node(), self.subject.as_deref(), &data)
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
        self.jobs.webhooks.obey(kind, whose, orders).await;
    }
}
