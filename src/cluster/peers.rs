//! Membership: this node's tag and heartbeats, and what other gateways say of themselves.
//!
//! ```text
//! Redis is there ─▶ claim the tag ─▶ hello ─▶ beat, beat, beat …  ─▶ bye
//!                                     └─ all others answer at once with a beat on our own channel
//! ```
//!
//! Never on the adapters' channels: Node servers count who is subscribed there and wait for each to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

use super::alive::Alive;
use super::changes::Changes;
use super::gossip::{self, Answer, Message, Node, Question, VERSION};
use super::hearing::{Asker, Command, Heard};
use super::redis::Failure;
use super::relay::Relay;
use crate::protocol::ids::{IdGenerator, Sid};
use crate::wish::Stopper;

/// Heartbeats for which a claim of a tag lasts. One more than others wait, so that nobody who is there loses it.
pub(super) const CLAIM_BEATS: u32 = 6;

/// Random tags that are tried. Of 16 million few are taken.
const TAGS_MAX: usize = 16;

/// Heartbeats from one count of rooms to the next: counting looks at all of them.
const ROOMS_EVERY: u32 = 5;

/// Time for the answers to a `hello`, unless a heartbeat is shorter: whose sessions a node does not know it refuses.
const ANSWERS_PATIENCE: Duration = Duration::from_millis(500);

/// Time for the last words to Redis.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// This node among the others.
#[derive(Debug)]
pub(super) struct Peers {
    ids: Arc<IdGenerator>,
    /// By which others may wish that this node drains.
    pub(super) stopper: Stopper,
    pub(super) heartbeat: Duration,
    started: (Instant, SystemTime),
    pub(super) alive: Mutex<Alive>,
    pub(super) changes: Arc<Changes>,
    /// Whether another tag may still be taken: no id was made with this one.
    is_nameless: Mutex<bool>,
    /// Whether others have been told of us, and we of them.
    introduced: watch::Sender<bool>,
    /// Another gateway became known.
    met: Notify,
    has_left: AtomicBool,
    has_conflict: AtomicBool,
    beats: AtomicU32,
    rooms: AtomicU64,
}

/// What became of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Ours,
    /// Nobody had it.
    New,
    Taken,
}

impl Peers {
    pub(super) fn new(ids: Arc<IdGenerator>, heartbeat: Duration, stopper: Stopper) -> Self {
        Self {
            ids,
            stopper,
            heartbeat,
            started: (Instant::now(), SystemTime::now()),
            alive: Mutex::new(Alive::new(heartbeat)),
            changes: Arc::default(),
            is_nameless: Mutex::new(true),
            introduced: watch::Sender::new(false),
            met: Notify::new(),
            has_left: AtomicBool::new(false),
            has_conflict: AtomicBool::new(false),
            beats: AtomicU32::new(0),
            rooms: AtomicU64::new(0),
        }
    }

    /// Whether others have been told of us, and we of them, and the change of that.
    pub(super) fn introduced(&self) -> watch::Receiver<bool> {
        self.introduced.subscribe()
    }

    /// Whether an id is one of ours.
    pub(super) fn made(&self, sid: &Sid) -> bool {
        self.ids.made(sid)
    }

    /// What our ids begin with.
    pub(super) fn tag(&self) -> String {
        self.ids.tag()
    }

    /// From now on ids are made: the tag stays.
    pub(super) fn is_named(&self) {
        *self.is_nameless.lock() = false;
    }

    /// Takes another tag, while that can be; `before` is called with the old one.
    fn renew_tag(&self, before: impl FnOnce()) -> bool {
        let is_nameless = self.is_nameless.lock();
        if *is_nameless {
            before();
        }
        *is_nameless && self.ids.renew_tag().is_ok()
    }
}

impl Relay {
    /// What this node says of itself.
    pub(super) fn node(&self) -> Node {
        let peers = &self.peers;
        let (started, started_at) = peers.started;
        let since = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if peers.beats.fetch_add(1, Ordering::Relaxed).is_multiple_of(ROOMS_EVERY) {
            peers.rooms.store(self.hub.rooms() as u64, Ordering::Relaxed);
        }
        Node {
            run: self.run().into(),
            tag: peers.ids.tag().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            address: self.forwarder.address(),
            connections: self.metrics.all_connections(),
            sockets: self.hub.sockets() as u64,
            rooms: peers.rooms.load(Ordering::Relaxed),
            uptime: started.elapsed().as_secs(),
            started: since.as_secs(),
            draining: self.metrics.draining.get() != 0,
            heartbeat: peers.heartbeat.as_millis() as u64,
        }
    }

    /// Says that this node is there for as long as it is.
    pub(super) async fn keep_beating(self: Arc<Self>) {
        let mut up = self.up();
        while up.wait_for(|up| *up).await.is_ok() {
            self.peers.alive.lock().resume();
            self.find_address().await;
            self.claim().await;
            self.share_secret().await;
            let hearers = self
                .tell(&Message::Hello {
                    v: VERSION,
                    node: self.node(),
                })
                .await;
            self.meet(hearers.saturating_sub(1)).await; // we hear ourselves, too
            self.peers.introduced.send_replace(true);
            let mut beats = tokio::time::interval(self.peers.heartbeat);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while *up.borrow_and_update() {
                tokio::select! {
                    _ = beats.tick() => {}
                    _ = up.changed() => continue,
                }
                if self.peers.has_left.load(Ordering::Relaxed) {
                    return;
                }
                let node = self.node();
                self.tell(&Message::Beat { v: VERSION, node }).await;
                self.refresh().await;
                self.share_secret().await;
            }
        }
    }

    /// Publishes to all gateways, past what waits: that others live is not to be doubted because much is published. How
    /// many heard it.
    async fn tell(&self, message: &Message) -> usize {
        let told = self.redis.publish(self.routes.peers(), message.encode()).await;
        let hearers = told.inspect_err(|failure| debug!(%failure, "other gateways could not be told of this one"));
        hearers.map_or(0, |hearers| usize::try_from(hearers).unwrap_or(usize::MAX))
    }

    /// Waits until so many other gateways are known, but not for those that do not answer.
    async fn meet(&self, count: usize) {
        let all_met = async {
            while self.peers.alive.lock().len() < count {
                self.peers.met.notified().await;
            }
        };
        let _ = tokio::time::timeout(ANSWERS_PATIENCE.min(self.peers.heartbeat), all_met).await;
    }

    /// Takes a tag that nobody has, if need be and while it can be changed.
    async fn claim(&self) {
        for _ in 0..TAGS_MAX {
            match self.try_claim().await {
                Ok(Claim::Ours | Claim::New) => return,
                Ok(Claim::Taken) if self.renew_tag() => {
                    info!(
                        tag = self.peers.ids.tag(),
                        "another gateway has this node's tag: it takes another"
                    );
                }
                Ok(Claim::Taken) => return self.conflict(),
                Err(failure) => return debug!(%failure, "the node's tag could not be claimed"),
            }
        }
        error!("all tags that were tried are taken by other gateways");
    }

    fn renew_tag(&self) -> bool {
        let is_renewed = self.peers.renew_tag(|| self.leave(self.routes.of_tag()));
        if is_renewed {
            drop(self.enter(self.routes.of_tag()));
        }
        is_renewed
    }

    async fn try_claim(&self) -> Result<Claim, Failure> {
        let key = self.routes.claim(&self.peers.ids.tag());
        let lasts = self.peers.heartbeat * CLAIM_BEATS;
        let value = Bytes::from(serde_json::to_vec(&self.node()).unwrap_or_default());
        if self.redis.set_nx_px(&key, value.clone(), lasts).await? {
            return Ok(Claim::New);
        }
        if self.is_ours(self.redis.get(&key).await?.as_deref()) {
            self.redis.set_px(&key, value, lasts).await?;
            return Ok(Claim::Ours);
        }
        Ok(Claim::Taken)
    }

    /// Keeps the claim; it is made again where Redis lost it.
    async fn refresh(&self) {
        let claim = self.try_claim().await;
        if claim == Ok(Claim::New) {
            self.has_lapsed(); // Redis forgot it, or we were away for too long
        }
        match claim {
            Ok(Claim::Ours | Claim::New) => self.peers.has_conflict.store(false, Ordering::Relaxed),
            Ok(Claim::Taken) => self.conflict(),
            Err(failure) => debug!(%failure, "the claim of the node's tag could not be kept"),
        }
    }

    /// Ids were made with the tag, so it stays: messages to a private room may reach the other gateway as well, which
    /// has nobody in it.
    fn conflict(&self) {
        if !self.peers.has_conflict.swap(true, Ordering::Relaxed) {
            error!(
                tag = self.peers.ids.tag(),
                "another gateway has this node's tag: restart one of them"
            );
        }
    }

    fn is_ours(&self, claim: Option<&[u8]>) -> bool {
        let claim = claim.and_then(|claim| serde_json::from_slice::<Node>(claim).ok());
        claim.is_none_or(|node| node.run == *self.run())
    }

    /// Says goodbye, behind everything that was published before.
    pub(super) async fn say_goodbye(&self) {
        if self.peers.has_left.swap(true, Ordering::Relaxed) || !*self.up().borrow() {
            return;
        }
        let goodbye = async {
            self.flushed().await;
            self.streams.flushed().await;
            let node = self.node();
            self.tell(&Message::Bye { v: VERSION, node }).await;
            let key = self.routes.claim(&self.peers.ids.tag());
            if let Ok(claim @ Some(_)) = self.redis.get(&key).await
                && self.is_ours(claim.as_deref())
            {
                let _ = self.redis.del(vec![key]).await; // else it lapses
            }
        };
        let _ = tokio::time::timeout(GOODBYE_PATIENCE, goodbye).await; // others find out by themselves
    }

    /// A message of a gateway. What the layer above is to do about it comes into `heard`.
    pub(super) fn peer_says(&self, payload: &[u8], heard: &mut impl Extend<Heard>) {
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(error) => return debug!(error, "a message that no gateway says"),
        };
        if self.peers.has_left.load(Ordering::Relaxed) {
            return;
        }
        match message {
            Message::Beat { node, .. } if node.run == *self.run() => {
                let gone = self.echoed();
                heard.extend(gone.into_iter().map(|node| self.gone(node, true)));
            }
            Message::Hello { node, .. } if node.run != *self.run() => {
                let channel = self.routes.peer(&node.run);
                let beat = Message::Beat {
                    v: VERSION,
                    node: self.node(),
                };
                self.say(channel, beat.encode());
                self.arrived(&node);
                heard.extend([Heard::Arrived(Box::new(node))]); // also where it was known: it may have missed something
            }
            Message::Beat { node, .. } => {
                if self.arrived(&node) {
                    heard.extend([Heard::Arrived(Box::new(node))]);
                }
            }
            Message::Bye { node, .. } => {
                let gone = self.peers.alive.lock().left(&node.run);
                heard.extend(gone.map(|node| self.gone(node, false)));
            }
            // One of ours that nobody waits for any more was done in another way.
            Message::Ask {
                run,
                id,
                question: Question::Do(order),
                ..
            } if run != *self.run() || self.asking.is_open(id) => {
                let command = Command::ordered(order, Asker::Gateway(run, id));
                heard.extend(command.map(|command| Heard::Command(Box::new(command))));
            }
            Message::Ask { run, id, question, .. } if run != *self.run() => {
                let answer = Message::Answer {
                    v: VERSION,
                    run: self.run().into(),
                    id,
                    answer: self.own_answer(question),
                };
                self.say(self.routes.peer(&run), answer.encode());
            }
            Message::Answer {
                run, id, mut answer, ..
            } => {
                if let Answer::Members { ids, .. } = &mut answer {
                    gossip::plausible_ids(ids);
                }
                self.asking.gateway_answered(id, &run, answer);
            }
            Message::Look { run, look, .. } if run != *self.run() => self.show(&run, look),
            Message::Roster { mut roster, .. } => {
                for (_, ids) in &mut roster.rooms {
                    gossip::plausible_ids(ids);
                }
                heard.extend([Heard::Roster(Box::new(roster))]);
            }
            Message::Hello { .. } | Message::Ask { .. } | Message::Look { .. } | Message::Unknown => {}
        }
    }

    /// Keeps count of a gateway; whether it is new.
    fn arrived(&self, node: &Node) -> bool {
        let (is_new, nodes) = {
            let mut alive = self.peers.alive.lock();
            (alive.heard(node.clone()), alive.len())
        };
        if is_new {
            self.peers.met.notify_one();
            self.metrics.relay.nodes.set(1 + i64::try_from(nodes).unwrap_or(0));
            info!(
                node = &*node.tag,
                run = &*node.run,
                version = &*node.version,
                "a gateway joined"
            );
            if *node.tag == *self.peers.ids.tag() && !*self.peers.is_nameless.lock() {
                self.conflict();
            }
        }
        is_new
    }

    fn gone(&self, node: Node, is_lost: bool) -> Heard {
        let nodes = self.peers.alive.lock().len();
        self.metrics.relay.nodes.set(1 + i64::try_from(nodes).unwrap_or(0));
        if is_lost {
            warn!(
                node = &*node.tag,
                run = &*node.run,
                "a gateway was lost: its heartbeats are missing"
            );
        } else {
            info!(node = &*node.tag, run = &*node.run, "a gateway left");
        }
        self.peers.changes.of_node(&node, is_lost);
        self.asking.gone(&node.run);
        self.forwarder.gone(&node.run);
        Heard::Gone(Box::new(node))
    }
}
