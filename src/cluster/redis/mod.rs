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
mod events;
mod failure;
mod keys;
mod target;
mod url;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::PubsubInterface;
use fred::types::Value;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use connection::{Connection, Role, Verb};
pub use events::{Event, Events, Message};
pub use failure::Failure;
use target::Target;

/// Bytes of payloads that may wait for Redis' answer. Beyond, publishing fails at once.
const WAITING_BYTES_MAX: usize = 80 * 1024 * 1024;

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

struct Shared {
    publisher: RwLock<Option<Arc<Connection>>>,
    subscriber: RwLock<Option<Arc<Connection>>>,
    waiting_bytes: AtomicUsize,
    target: Arc<Target>,
}

/// Whether these settings can be used at all.
///
/// # Errors
/// What is wrong with the URL or the certificates, without the password.
pub fn check(settings: &Settings) -> Result<(), String> {
    Target::new(settings).map(drop)
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
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
        tokio::spawn(connection::keep(Role::Subscriber, Arc::clone(&target), changed));
        let shared = Arc::new(Shared {
            publisher: RwLock::new(None),
            subscriber: RwLock::new(None),
            waiting_bytes: AtomicUsize::new(0),
            target,
        });
        let events = Events {
            changes,
            messages: None,
            is_ending: false,
            shared: shared.clone(),
        };
        Ok((Self { shared }, events))
    }

    /// The address by which this machine goes to Redis: one at which others on that side may reach it.
    ///
    /// # Errors
    ///
    /// When Redis' name cannot be resolved, or there is no way to it.
    pub async fn local_address(&self) -> std::io::Result<std::net::IpAddr> {
        self.shared.target.local_address().await
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
            // Boxed: fred's futures are large, and this holds several.
            let answer = Box::pin(connection.confirmed(verb, names)).await;
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
