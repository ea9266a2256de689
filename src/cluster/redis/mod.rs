//! Redis: one connection to publish and for keys, one to subscribe; both are tried for ever.
//!
//! The only module that names fred. It promises:
//!
//! - Commands go to the connection that is there when they are first polled, in that order, and nowhere else: nothing
//!   waits for a connection that is still to come, nothing is sent twice. What had been written to a Redis that hangs
//!   may still be done by it when it wakes.
//! - A command fails at once where there is no connection, and within a second where Redis does not answer; then its
//!   connection is dropped, as later answers could be taken for those of other commands.
//! - A connection is used only after [`Events::next`] has told of it. So who hears `SubscriberUp` knows that nothing is
//!   subscribed, and who hears `PublisherUp` that nothing was published on this connection before.
//! - Messages come in Redis' order. Where they came faster than they were taken, [`Event::Lagged`] says how many are gone.
//!
//! A subscription whose connection hangs is silent like one where nothing happens. Only a message of one's own that does
//! not come back tells them apart, and who misses it calls [`Redis::reset_subscriber`].

mod connection;
mod failure;
mod target;
mod url;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface, PubsubInterface};
use fred::types::{CustomCommand, Expiration, SetOptions, Value};
use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc};

use connection::{Change, Connection, Role, Verb};
pub use failure::Failure;
use target::Target;

/// Bytes of payloads that may wait for Redis' answer. Beyond, publishing fails at once.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Keys that one step of a scan looks at.
const SCAN_STEP: u32 = 500;

/// Where Redis is.
#[derive(Clone)]
pub struct Settings {
    /// `cluster.redis`: redis://, rediss://, redis-sentinel://, rediss-sentinel:// or redis+unix://.
    pub url: String,
    /// `cluster.tls_ca`: a file of certificates in PEM; only what they signed is trusted. Without it, what the system does.
    pub tls_ca: Option<PathBuf>,
}

/// The way to Redis. Clones share it; both connections end with its [`Events`].
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

/// What happens to the connections, and the messages. Wants to be asked all the time.
pub struct Events {
    changes: mpsc::Receiver<Change>,
    messages: Option<broadcast::Receiver<fred::types::Message>>,
    /// The subscriber is lost; what came before comes first.
    is_ending: bool,
    shared: Arc<Shared>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// From now on there is somebody to publish to.
    PublisherUp,
    /// Publishing fails.
    PublisherDown,
    /// A fresh connection: nothing is subscribed on it.
    SubscriberUp,
    /// No messages come, and no subscription is left.
    SubscriberDown,
    /// A message of a channel.
    Message(Message),
    /// So many messages were lost as they were not taken in time.
    Lagged(u64),
    /// Redis does not let us in, in its words: a person should act. Tried again every one to two seconds.
    Refused(String),
}

/// A message of a channel.
#[derive(Debug)]
pub struct Message {
    message: fred::types::Message,
    /// What was published.
    pub payload: Bytes,
}

struct Shared {
    publisher: RwLock<Option<Arc<Connection>>>,
    subscriber: RwLock<Option<Arc<Connection>>>,
    waiting_bytes: AtomicUsize,
}

impl Redis {
    /// Starts connecting in the background and returns at once; has to be called inside tokio.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL or the certificates, without the password.
    pub fn open(settings: &Settings) -> Result<(Self, Events), String> {
        let target = Arc::new(Target::new(settings)?);
        let (changed, changes) = mpsc::channel(16);
        tokio::spawn(connection::keep(Role::Publisher, target.clone(), changed.clone()));
        tokio::spawn(connection::keep(Role::Subscriber, target, changed));
        let shared = Arc::new(Shared {
            publisher: RwLock::new(None),
            subscriber: RwLock::new(None),
            waiting_bytes: AtomicUsize::new(0),
        });
        let events = Events {
            changes,
            messages: None,
            is_ending: false,
            shared: shared.clone(),
        };
        Ok((Self { shared }, events))
    }

    /// PUBLISH, which answers how many connections of this Redis got it. The order of first polls is the order at Redis.
    pub fn publish(
        &self,
        channel: Arc<str>,
        payload: Bytes,
    ) -> impl Future<Output = Result<u64, Failure>> + Send + 'static {
        let shared = self.shared.clone();
        async move {
            let connection = shared.connection(Role::Publisher)?;
            let _waiting = Waiting::new(&shared, payload.len())?;
            let channel = String::from(&*channel);
            let answer = connection.client.publish(channel, payload).await;
            shared.judged(&connection, answer)
        }
    }

    /// SUBSCRIBE to all these channels by one command; done when Redis has done it.
    pub fn subscribe(&self, names: Vec<Arc<str>>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        self.change(Verb::Subscribe, names)
    }

    /// UNSUBSCRIBE from all these channels by one command; done when Redis has done it.
    pub fn unsubscribe(&self, names: Vec<Arc<str>>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        self.change(Verb::Unsubscribe, names)
    }

    /// PSUBSCRIBE to all these patterns by one command; done when Redis has done it.
    pub fn psubscribe(&self, patterns: Vec<Arc<str>>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        self.change(Verb::Psubscribe, patterns)
    }

    /// PUNSUBSCRIBE from all these patterns by one command; done when Redis has done it.
    pub fn punsubscribe(&self, patterns: Vec<Arc<str>>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        self.change(Verb::Punsubscribe, patterns)
    }

    fn change(&self, verb: Verb, names: Vec<Arc<str>>) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let shared = self.shared.clone();
        async move {
            // Without a name Redis would take all.
            if names.is_empty() {
                return Ok(());
            }
            let connection = shared.connection(Role::Subscriber)?;
            let names = names.iter().map(|name| String::from(&**name)).collect();
            let answer = connection.confirmed(verb, names).await;
            shared.judged(&connection, answer)
        }
    }

    /// PUBSUB NUMSUB: how many connections are subscribed to exactly this channel.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn numsub(&self, channel: &str) -> Result<u64, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.pubsub_numsub::<Value, _>(channel).await;
        let answer = answer.and_then(|answer| match answer {
            Value::Array(mut pair) => pair.pop().unwrap_or(Value::Null).convert(),
            other => other.convert(),
        });
        self.shared.judged(&connection, answer)
    }

    /// SET with NX and PX: whether the key was free and is ours now.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn set_nx_px(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool, Failure> {
        let answer = self.set(key, value, time_to_live, Some(SetOptions::NX)).await?;
        Ok(!answer.is_null())
    }

    /// SET with PX.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn set_px(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<(), Failure> {
        self.set(key, value, time_to_live, None).await.map(|_| ())
    }

    async fn set(&self, key: &str, value: Bytes, lives: Duration, only: Option<SetOptions>) -> Result<Value, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let lives = Expiration::PX(i64::try_from(lives.as_millis()).unwrap_or(i64::MAX).max(1));
        let answer = connection.client.set(key, value, Some(lives), only, false).await;
        self.shared.judged(&connection, answer)
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.get::<Value, _>(key).await;
        self.shared.judged(&connection, answer.map(connection::bytes))
    }

    /// MGET: as many values as keys.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn mget(&self, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.mget::<Value, _>(keys).await;
        let values = answer.map(|answer| answer.into_array().into_iter().map(connection::bytes).collect());
        self.shared.judged(&connection, values)
    }

    /// DEL: how many of the keys were there.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn del(&self, keys: Vec<String>) -> Result<u64, Failure> {
        if keys.is_empty() {
            return Ok(0);
        }
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.del(keys).await;
        self.shared.judged(&connection, answer)
    }

    /// SCAN: keys that begin with the prefix, some perhaps twice. Looks at the whole database, step by step, so it is
    /// for rare use; ends early after `keys_max` keys or a million looked at.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn scan(&self, prefix: &str, keys_max: usize) -> Result<Vec<String>, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let pattern = format!("{}*", escaped(prefix));
        let (mut cursor, mut keys) = (String::from("0"), Vec::new());
        for _ in 0..1_000_000 / SCAN_STEP {
            let page = connection.client.custom::<(String, Vec<String>), _>(
                CustomCommand::new_static("SCAN", None, false),
                vec![
                    cursor,
                    "MATCH".into(),
                    pattern.clone(),
                    "COUNT".into(),
                    SCAN_STEP.to_string(),
                ],
            );
            let (next, found) = self.shared.judged(&connection, page.await)?;
            keys.extend(found);
            if next == "0" || keys.len() >= keys_max {
                break;
            }
            cursor = next;
        }
        keys.truncate(keys_max);
        Ok(keys)
    }

    /// Drops the publishing connection, also one that hangs, and connects anew; Sentinel is asked again where.
    pub fn reset_publisher(&self) {
        self.shared.reset(Role::Publisher);
    }

    /// Drops the subscribing connection, also one that hangs, and connects anew; Sentinel is asked again where.
    pub fn reset_subscriber(&self) {
        self.shared.reset(Role::Subscriber);
    }

    /// Whether a command would be sent.
    #[must_use]
    pub fn is_publisher_up(&self) -> bool {
        self.shared.connection(Role::Publisher).is_ok()
    }

    /// Whether a subscription would be sent.
    #[must_use]
    pub fn is_subscriber_up(&self) -> bool {
        self.shared.connection(Role::Subscriber).is_ok()
    }
}

impl Events {
    /// The next event. Never ends; may be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event {
        loop {
            if self.is_ending {
                // fred's task has ended, so no more come.
                let left = self.messages.as_mut().map(broadcast::Receiver::try_recv);
                match left {
                    Some(Ok(message)) => {
                        if let Some(event) = event(message) {
                            return event;
                        }
                    }
                    Some(Err(broadcast::error::TryRecvError::Lagged(lost))) => return Event::Lagged(lost),
                    _ => {
                        (self.is_ending, self.messages) = (false, None);
                        return Event::SubscriberDown;
                    }
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(change) = self.changes.recv() => {
                    if let Some(event) = self.take(change) {
                        return event;
                    }
                }
                message = received(&mut self.messages) => match message {
                    Ok(message) => {
                        if let Some(event) = event(message) {
                            return event;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(lost)) => return Event::Lagged(lost),
                    Err(broadcast::error::RecvError::Closed) => self.messages = None,
                },
                else => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, change: Change) -> Option<Event> {
        match change {
            Change::Refused(words) => Some(Event::Refused(words)),
            Change::Up(connection, messages) => {
                let role = connection.role;
                *self.shared.slot(role).write() = Some(connection);
                Some(match role {
                    Role::Publisher => Event::PublisherUp,
                    Role::Subscriber => {
                        self.messages = Some(messages);
                        Event::SubscriberUp
                    }
                })
            }
            Change::Down(role) => {
                *self.shared.slot(role).write() = None;
                if role == Role::Publisher {
                    return Some(Event::PublisherDown);
                }
                self.is_ending = true;
                None
            }
        }
    }
}

async fn received(
    messages: &mut Option<broadcast::Receiver<fred::types::Message>>,
) -> Result<fred::types::Message, broadcast::error::RecvError> {
    match messages {
        Some(messages) => messages.recv().await,
        None => std::future::pending().await,
    }
}

fn event(mut message: fred::types::Message) -> Option<Event> {
    let payload = connection::bytes(std::mem::replace(&mut message.value, Value::Null))?;
    Some(Event::Message(Message { message, payload }))
}

impl Message {
    /// The channel that it was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.message.channel
    }

    /// Whether it came as a pattern matches its channel. It comes once for each pattern and once for the channel itself.
    #[must_use]
    pub fn is_by_pattern(&self) -> bool {
        self.message.kind == fred::types::MessageKind::PMessage
    }
}

impl Shared {
    fn slot(&self, role: Role) -> &RwLock<Option<Arc<Connection>>> {
        match role {
            Role::Publisher => &self.publisher,
            Role::Subscriber => &self.subscriber,
        }
    }

    fn connection(&self, role: Role) -> Result<Arc<Connection>, Failure> {
        let connection = self.slot(role).read().clone();
        connection
            .filter(|connection| !connection.is_lost())
            .ok_or(Failure::Away)
    }

    fn reset(&self, role: Role) {
        if let Some(connection) = &*self.slot(role).read() {
            connection.drop_it();
        }
    }

    /// What an answer means, also for the connection that it came by, or did not.
    fn judged<T>(&self, connection: &Connection, answer: Result<T, Error>) -> Result<T, Failure> {
        answer.map_err(|error| {
            let failure = Failure::of(&error);
            if failure == Failure::Timeout {
                connection.drop_it();
            }
            if failure.is_read_only() {
                connection.drop_it();
                self.reset(Role::Subscriber);
            }
            failure
        })
    }
}

/// Room taken for a payload that waits for Redis' answer.
struct Waiting<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared, bytes: usize) -> Result<Self, Failure> {
        let before = shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Self { shared, bytes };
        // One alone may be of any size.
        if before > 0 && before + bytes > WAITING_BYTES_MAX {
            return Err(Failure::Refused(format!("{before} bytes wait for it already")));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A prefix whose characters mean nothing to Redis' patterns.
fn escaped(prefix: &str) -> String {
    let mut escaped = String::with_capacity(prefix.len());
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
