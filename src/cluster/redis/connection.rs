//! One connection to Redis, from being made to being lost; and the task that makes the next one.
//!
//! Each connection is a fred client of its own, without fred's reconnecting. So nothing passes from a lost connection
//! to the next: no command waits for it, none is sent twice, no subscription comes back by itself. A connection is
//! dropped by ending fred's task, which needs nothing from a Redis that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{ConnectionConfig, PerformanceConfig, TcpConfig};
use fred::types::{ConnectHandle, Message, Value};
use rand::RngExt;
use tokio::sync::{Mutex, Notify, broadcast, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::failure;
use super::target::Target;

/// An answer takes no longer; where it does, the connection is dropped.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A connection, or greeting and logging in, takes no longer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Messages that may wait for `Events::next`.
const MESSAGES_MAX: usize = 8_192;
/// Commands that may wait for being written.
const COMMANDS_MAX: usize = 65_536;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection that lasted so long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(5);
/// How long a subscriber is asked whether its answers are in step again.
const STEPS_MAX: u32 = 20;
const STEP: Duration = Duration::from_millis(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Publisher,
    Subscriber,
}

/// What became of a connection, in order.
pub(super) enum Change {
    Up(Arc<Connection>, broadcast::Receiver<Message>),
    Down(Role),
    Refused(String),
}

/// A connection that was made. It may be lost already.
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) client: Client,
    is_lost: AtomicBool,
    end: Notify,
    /// One change of subscriptions at a time: see `confirmed`.
    turn: Mutex<()>,
    tokens: AtomicU64,
}

/// A change of subscriptions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
    Psubscribe,
    Punsubscribe,
}

/// fred's task, which ends with this.
struct Task(ConnectHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Nothing is sent by it any more, and its socket is closed.
    pub(super) fn drop_it(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.end.notify_one();
    }

    /// Sends one command that changes subscriptions and waits until Redis has done it.
    ///
    /// Redis confirms each name by a message of its own, which fred does not tell of; so a PING follows, and its answer
    /// says that all before it was done. An error is the exception: fred takes it for the PING's answer, and the PING's
    /// own for the next one's. Hence each PING carries a number, and one at a time is under way.
    pub(super) async fn confirmed(&self, verb: Verb, names: Vec<String>) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let token = self.token();
        let answer = async {
            let sent = self.change(verb, names);
            let answer = self.client.ping::<Value>(Some(token.clone()));
            // In this order: each is sent when it is first polled.
            let (sent, answer) = tokio::join!(biased; sent, answer);
            sent.and(answer)
        };
        match answer.await {
            Ok(answer) if is_pong(&answer, &token) => Ok(()),
            Ok(_) => {
                self.drop_it();
                Err(Error::new(ErrorKind::Protocol, "an answer out of step"))
            }
            Err(error) => {
                if failure::refusal(&error).is_some() && self.falls_into_step().await.is_err() {
                    self.drop_it();
                }
                Err(error)
            }
        }
    }

    async fn change(&self, verb: Verb, names: Vec<String>) -> Result<(), Error> {
        match verb {
            Verb::Subscribe => self.client.subscribe(names).await,
            Verb::Unsubscribe => self.client.unsubscribe(names).await,
            Verb::Psubscribe => self.client.psubscribe(names).await,
            Verb::Punsubscribe => self.client.punsubscribe(names).await,
        }
    }

    /// After an error an answer is left over. It came with the error, so it is there now or very soon, and is thrown
    /// away where nobody waits for one.
    async fn falls_into_step(&self) -> Result<(), Error> {
        for _ in 0..STEPS_MAX {
            sleep(STEP).await;
            let token = self.token();
            let answer: Value = self.client.ping(Some(token.clone())).await?;
            if is_pong(&answer, &token) {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Protocol, "answers out of step"))
    }

    fn token(&self) -> String {
        self.tokens.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// The answer to PING: the text, or behind "pong" where something is subscribed.
fn is_pong(answer: &Value, token: &str) -> bool {
    match answer {
        Value::Array(parts) => parts.last().is_some_and(|last| is_pong(last, token)),
        other => other.as_bytes() == Some(token.as_bytes()),
    }
}

/// Payloads are bytes; fred hands those that are UTF-8 over as text.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.into_inner()),
        Value::Bytes(bytes) => Some(bytes),
        Value::Integer(number) => Some(Bytes::from(number.to_string())),
        _ => None,
    }
}

/// Makes connections, one after the other, until nobody listens to `changes`.
pub(super) async fn keep(role: Role, target: Arc<Target>, changes: mpsc::Sender<Change>) {
    let mut pause = PAUSE_MIN;
    let mut told = None;
    for attempt in 0.. {
        let made = tokio::select! {
            made = connect(role, &target, attempt) => made,
            () = changes.closed() => return,
        };
        match made {
            Ok((connection, task, messages)) => {
                tracing::info!(connection = ?role, "connected to Redis");
                told = None;
                let since = Instant::now();
                if changes.send(Change::Up(connection.clone(), messages)).await.is_err() {
                    return;
                }
                lasts(&connection, task, &changes).await;
                if changes.is_closed() {
                    return; // the node has left
                }
                tracing::warn!(connection = ?role, "the connection to Redis is lost");
                if changes.send(Change::Down(role)).await.is_err() {
                    return;
                }
                if since.elapsed() >= GOOD {
                    pause = PAUSE_MIN;
                }
            }
            Err(error) => {
                if let Some(words) = failure::refusal(&error) {
                    pause = PAUSE_MAX;
                    if changes.send(Change::Refused(words)).await.is_err() {
                        return;
                    }
                } else if told.is_none_or(|told: Instant| told.elapsed() > TELL) {
                    told = Some(Instant::now());
                    tracing::warn!(connection = ?role, reason = error.details(), "no connection to Redis, trying on");
                }
            }
        }
        // From half to the whole, so that nodes that lost Redis together do not come back together.
        let wait = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        tokio::select! {
            () = sleep(wait) => {}
            () = changes.closed() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// How often the log says that there is still no connection.
const TELL: Duration = Duration::from_secs(30);

/// Until the connection is lost or dropped, or nobody listens.
async fn lasts(connection: &Connection, mut task: Task, changes: &mpsc::Sender<Change>) {
    tokio::select! {
        _ = &mut task.0 => {}
        () = connection.end.notified() => {}
        () = changes.closed() => {}
    }
    connection.is_lost.store(true, Ordering::Release);
    // Over when fred's task is: nothing is sent or received behind what we tell.
    task.0.abort();
    if !task.0.is_finished() {
        let _ = (&mut task.0).await;
    }
}

async fn connect(
    role: Role,
    target: &Target,
    attempt: usize,
) -> Result<(Arc<Connection>, Task, broadcast::Receiver<Message>), Error> {
    let config = target.config(attempt)?;
    let client = Client::new(config, Some(performance(role)), Some(limits()), None);
    // Before connecting: nothing that comes may be missed.
    let (messages, mut made) = (client.message_rx(), client.reconnect_rx());
    let mut task = Task(client.connect());
    tokio::select! {
        biased;
        ended = &mut task.0 => {
            let error = ended.map_err(|_| Error::new(ErrorKind::Unknown, "fred's task ended"))?;
            return Err(error.err().unwrap_or_else(|| Error::new(ErrorKind::IO, "the connection was closed")));
        }
        made = made.recv() => made?,
    };
    // Logged in, Redis may still be reading its data; a PING tells. And we need to be allowed to send it.
    let pong = client.ping::<Value>(None);
    timeout(CONNECT_MAX, pong)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer to PING")))?;
    let connection = Connection {
        role,
        client,
        is_lost: AtomicBool::new(false),
        end: Notify::new(),
        turn: Mutex::new(()),
        tokens: AtomicU64::new(0),
    };
    Ok((Arc::new(connection), task, messages))
}

fn performance(role: Role) -> PerformanceConfig {
    PerformanceConfig {
        default_command_timeout: ANSWER_MAX,
        // fred gives all its channels this size, and drops the oldest message where one is full.
        broadcast_channel_capacity: if role == Role::Subscriber { MESSAGES_MAX } else { 8 },
        ..PerformanceConfig::default()
    }
}

fn limits() -> ConnectionConfig {
    let keepalive = fred::socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(5));
    ConnectionConfig {
        connection_timeout: CONNECT_MAX,
        internal_command_timeout: CONNECT_MAX,
        max_command_attempts: 1,
        max_command_buffer_len: COMMANDS_MAX,
        tcp: TcpConfig {
            nodelay: Some(true),
            // What was not sent when a connection is dropped is not sent later either.
            linger: Some(Duration::ZERO),
            keepalive: Some(keepalive),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}
