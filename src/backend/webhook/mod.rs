//! Webhooks: the application is asked who may enter, told what happens, and may answer with what is to be done.
//!
//! Knows no sockets and no rooms: what an answer wants is done by a [`Handler`] from above. What waits here is bounded,
//! for each socket and for all; a call takes its bounded time, and while the application is away nobody waits for it.

mod answer;
mod budget;
mod circuit;
mod client;
pub mod config;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod signature;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

pub use crate::metrics::{Webhook as Kind, WebhookFailure as Failure};
pub use answer::{Ack, Action, Answer, Deny, Orders};
pub use config::Config;
pub use event::{Event, Moment, Subject};
pub use line::{Full, Line};
use line::{Jobs, Owner};

use crate::http::Secret;
use crate::limits::Seldom;
use crate::metrics::Metrics;
use crate::protocol::ids::IdGenerator;
use budget::Budget;
use circuit::{Change, Circuit};
use client::Client;

/// Keys of lines that are remembered before those of lines that are gone are looked for.
const LINES_KEPT: usize = 1024;

/// Who does what answers want.
pub trait Handler: std::fmt::Debug + Send + Sync {
    /// Does it, in order.
    fn obey(self: Arc<Self>, kind: Kind, whose: Whose, orders: Orders) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Whose call it was that something was answered to.
#[derive(Clone, Debug)]
pub enum Whose {
    /// This socket's.
    Socket(Arc<Subject>),
    /// No socket's, in this namespace if in any.
    Nobody(Option<Arc<str>>),
}

/// The application, as far as it is asked and told.
#[derive(Debug)]
pub struct Webhooks {
    client: Client,
    secrets: Vec<Secret>,
    kinds: Vec<Kind>,
    timeout: Duration,
    retries: u32,
    /// Bytes of one client's events that may wait.
    line_bytes_max: usize,
    /// Calls that may be made at once.
    permits: Semaphore,
    /// Those of them that nobody waits for: never all, if there are two or more, so that there is room for who waits.
    tells: Semaphore,
    circuit: Mutex<Circuit>,
    budget: Arc<Budget>,
    lines: Mutex<Lines>,
    handler: OnceLock<Weak<dyn Handler>>,
    complaints: Seldom,
    action_complaints: Seldom,
    answer_complaints: Seldom,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
}

/// Lines by their keys.
#[derive(Debug)]
struct Lines {
    by_key: HashMap<CompactString, Weak<Owner>, RandomState>,
    purge_at: usize,
}

impl Webhooks {
    /// Calls as the configuration says; `event_bytes_max` of one client may wait. `None` where there is nobody to call.
    ///
    /// # Errors
    /// When the URL is none, or this system cannot do what it needs.
    pub fn new(
        config: &Config,
        event_bytes_max: usize,
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, String> {
        if !config.is_on() {
            return Ok(None);
        }
        let place = config.url.place()?;
        Ok(Some(Arc::new(Self {
            client: Client::new(place, config.concurrency)?,
            secrets: config.secret.list().to_vec(),
            kinds: config.events.clone(),
            timeout: config.timeout.0,
            retries: config.retries,
            line_bytes_max: event_bytes_max,
            permits: Semaphore::new(config.concurrency),
            tells: Semaphore::new((config.concurrency * 3 / 4).max(1)),
            circuit: Mutex::default(),
            budget: Arc::default(),
            lines: Mutex::new(Lines {
                by_key: HashMap::default(),
                purge_at: LINES_KEPT,
            }),
            handler: OnceLock::new(),
            complaints: Seldom::default(),
            action_complaints: Seldom::default(),
            answer_complaints: Seldom::default(),
            ids,
            metrics,
        })))
    }

    /// Who does what answers want, from now on.
    pub fn obeyed_by(&self, handler: &Arc<dyn Handler>) {
        let _ = self.handler.set(Arc::downgrade(handler)); // once
    }

    /// Whether the application wants to be asked or told this.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The line of a socket that comes in with this data, by the application's word or a token's. It is found by the
    /// socket's id for as long as somebody holds it.
    pub fn open(self: &Arc<Self>, subject: Arc<Subject>, data: &str, is_applications: bool) -> Line {
        let mut lines = self.lines.lock();
        let earlier = lines.get(subject.id.as_str()); // of a socket that had this id, and is not told to the end
        let jobs = earlier.map_or_else(|| Jobs::new(Arc::clone(self)), |line| line.0.jobs());
        let key = subject.id.as_str().into();
        let line = Line::new(jobs, Some(subject), (data, is_applications));
        lines.insert(key, &line);
        line
    }

    /// The line of a socket that is here.
    pub fn line(&self, id: &str) -> Option<Line> {
        self.lines.lock().get(id)
    }

    /// Tells the application what is no socket's, in the order of all that has this key.
    pub fn notify(self: &Arc<Self>, key: &str, event: Event) {
        let line = {
            let mut lines = self.lines.lock();
            lines.get(key).unwrap_or_else(|| {
                let line = Line::new(Jobs::new(Arc::clone(self)), None, ("", true));
                lines.insert(key.into(), &line);
                line
            })
        };
        let _ = line.tell(event); // what is lost is counted
    }

    /// Waits until nobody is still to be told anything.
    pub async fn emptied(&self) {
        self.budget.emptied().await;
    }

    /// The node stops: what nobody was told is lost.
    pub fn close(&self) {
        let left = self.budget.jobs();
        if left > 0 {
            warn!(
                left,
                "webhooks are lost, as the node stops before they could be delivered"
            );
        }
    }

    fn new_id(&self) -> CompactString {
        self.ids
            .next()
            .map_or_else(|_| CompactString::default(), |id| id.as_str().into())
    }

    fn node(&self) -> String {
        self.ids.tag()
    }

    /// One call. With `start_by` somebody waits for it: it must have begun by then, and else it is not made.
    async fn call(
        &self,
        event: &Event,
        body: Bytes,
        subject: Option<&Subject>,
        start_by: Option<Instant>,
    ) -> Result<Answer, Failure> {
        let called = self
            .try_call(event, body, subject.map(|subject| subject.id.as_str()), start_by)
            .await;
        if let Err(failure) = called {
            self.metrics.webhooks.failed(event.kind, failure);
            tracing::debug!(
                kind = event.kind.as_str(),
                id = &*event.id,
                why = failure.as_str(),
                "a webhook failed"
            );
        }
        called
    }

    async fn try_call(
        &self,
        event: &Event,
        body: Bytes,
        socket: Option<&str>,
        start_by: Option<Instant>,
    ) -> Result<Answer, Failure> {
        let permit = self.permits.acquire();
        let mut _tell = None; // taken first: who waits for it is in nobody's way
        let _permit = match start_by {
            None => {
                _tell = self.tells.acquire().await.ok();
                permit.await
            }
            Some(start_by) => tokio::time::timeout_at(start_by, permit)
                .await
                .map_err(|_| Failure::Busy)?,
        }
        .map_err(|_| Failure::Busy)?; // never: the semaphore is not closed
        if start_by.is_some_and(|start_by| Instant::now() > start_by) {
            return Err(Failure::Busy);
        }
        if !self.circuit.lock().admit(std::time::Instant::now()) {
            return Err(Failure::CircuitOpen);
        }
        let started = Instant::now();
        let headers = self.headers(event, &body);
        let replied = tokio::time::timeout(self.timeout, self.client.post(headers, body)).await;
        self.metrics.webhooks.called(event.kind, started.elapsed());
        let answer = match replied.unwrap_or(Err(Failure::Timeout)) {
            Ok((status, body)) => Answer::read(event.kind, status, &body).inspect_err(|_| {
                self.complain_of_answer(event.kind, || Answer::flaw(status, &body));
            }),
            Err(failure) => {
                self.complain_of_answer(event.kind, || failure.as_str().into());
                Err(failure)
            }
        };
        self.learn(socket, answer.as_ref().err().copied());
        answer
    }

    fn headers(&self, event: &Event, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static(event.kind.as_str());
        headers.insert(HeaderName::from_static("roomcast-event"), kind);
        if let Ok(id) = HeaderValue::from_str(&event.id) {
            headers.insert(HeaderName::from_static("roomcast-id"), id);
        }
        let signature = signature::sign(&self.secrets, super::now(), body);
        if let Some(signature) = signature.and_then(|signature| HeaderValue::try_from(signature).ok()) {
            headers.insert(HeaderName::from_static("roomcast-signature"), signature);
        }
        headers
    }

    /// A call has ended: whether the application is there.
    fn learn(&self, socket: Option<&str>, failure: Option<Failure>) {
        let is_away = matches!(failure, Some(Failure::Connection | Failure::Timeout | Failure::Gateway));
        let change = {
            let mut circuit = self.circuit.lock();
            if is_away {
                circuit.failed(socket, std::time::Instant::now())
            } else {
                circuit.answered()
            }
        };
        match change {
            Some(Change::Opened) => warn!("the webhook fails: it is asked once a second until it answers"),
            Some(Change::Closed) => info!("the webhook answers again"),
            None => {}
        }
    }

    /// Something is not told, and will not be.
    fn lose(&self, kind: Kind, failure: Failure, is_clients_fault: bool) {
        self.metrics.webhooks.failed(kind, failure);
        if !is_clients_fault {
            self.complain(kind, failure);
        }
    }

    /// Says that something was not told, unless that was said just now.
    fn complain(&self, kind: Kind, failure: Failure) {
        if let Some(count) = self.complaints.add(1) {
            warn!(count, kind = kind.as_str(), why = failure.as_str(), "webhooks are lost");
        }
    }

    /// Says what was wrong with an answer, or with there being none, unless that was said just now. Whoever writes an
    /// application reads it here: clients are told no more than that there was none.
    fn complain_of_answer(&self, kind: Kind, why: impl FnOnce() -> String) {
        if let Some(count) = self.answer_complaints.add(1) {
            warn!(count, kind = kind.as_str(), why = why(), "webhooks get no good answer");
        }
    }

    /// An action of an answer was not done.
    pub fn action_failed(&self, kind: Kind, action: &str, why: &str) {
        self.metrics.webhooks.failed(kind, Failure::Action);
        let (action, why) = (&*answer::shown(action), &*answer::shown(why)); // both may quote the application
        tracing::debug!(kind = kind.as_str(), action, why, "an action failed");
        if let Some(count) = self.action_complaints.add(1) {
            warn!(
                count,
                kind = kind.as_str(),
                action,
                why,
                "actions in answers to webhooks fail"
            );
        }
    }

    /// Has done what an answer wants.
    async fn obey(&self, kind: Kind, whose: Whose, orders: Orders) {
        if let Some(handler) = self.handler.get().and_then(Weak::upgrade) {
            handler.obey(kind, whose, orders).await;
        }
    }
}

impl Lines {
    fn get(&self, key: &str) -> Option<Line> {
        self.by_key.get(key)?.upgrade().map(Line)
    }

    fn insert(&mut self, key: CompactString, line: &Line) {
        if self.by_key.len() >= self.purge_at {
            self.by_key.retain(|_, line| line.strong_count() > 0);
            self.purge_at = (self.by_key.len() * 2).max(LINES_KEPT);
        }
        self.by_key.insert(key, Arc::downgrade(&line.0));
    }
}
