//! An event that clients answer, on all servers: gateways and Node servers are asked in the same way, by the adapters'
//! own request. First each says how many clients it has asked, then each answer follows.

use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;
use tokio::time::Instant;
use tracing::debug;

use super::asking::{Asked, Given};
use super::relay::Relay;
use super::survey::ack_question_id;
use super::wire::{self, Answer, Ask};
use super::{Bus, Cluster};
use crate::hub::{self, Name, Question, Reply, Target};
use crate::metrics::{self, Origin};

/// Answers of other servers that one question takes, counts of clients among them.
const ANSWERS_MAX: usize = 100_000;

/// Bytes of all answers to one question; those above are dropped, and missing.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event, and the clients that are to answer it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The namespace.
    pub namespace: Name,
    /// Whom in it.
    pub target: Target,
    /// Everybody in one of these rooms is left out.
    pub except: Vec<CompactString>,
    /// `["name",…]`.
    pub json: String,
    /// What placeholders in it stand for.
    pub attachments: Vec<Bytes>,
}

/// What clients have answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// How many clients were asked, as far as their servers have said so.
    pub expected: u64,
    /// The answers, in the order in which they came; of clients of other servers the first argument alone.
    pub acks: Vec<Reply>,
    /// How many servers have not said how many clients they asked.
    pub silent: usize,
    /// How many are not waited for: they have answered, or are gone.
    settled: u64,
    bytes: usize,
}

impl Cluster {
    /// Sends an event and collects the answers until all are there or time is up; `is_local` for this node's clients
    /// alone. `None` where too many answers are waited for already.
    pub async fn ask_clients(
        &self,
        event: Event,
        patience: Duration,
        is_local: bool,
        origin: Origin,
    ) -> Option<Acknowledged> {
        let deadline = Instant::now() + patience;
        let Question {
            broadcast,
            count,
            asked,
        } = self.hub.question(
            &event.namespace,
            &event.target,
            &event.except,
            &event.json,
            &event.attachments,
        )?;
        let mut found = Acknowledged {
            expected: count as u64,
            ..Acknowledged::default()
        };
        if count > 0 {
            self.broadcast_here(broadcast, origin).await;
        }
        let relay = match &self.bus {
            Bus::Redis(relay) if !is_local => Some(relay),
            _ => None,
        };
        let others = match relay {
            Some(relay) => relay.ask_others(&event, patience).await,
            None => None,
        };
        found.collect((count as u64, asked), others, deadline).await;
        if let Some(relay) = relay {
            let is_complete = found.silent == 0 && found.acks.len() as u64 >= found.expected;
            let result = if is_complete {
                metrics::Questioned::Complete
            } else {
                metrics::Questioned::Partial
            };
            relay.metrics.relay.asked(metrics::Question::Acks, result);
        }
        Some(found)
    }
}

impl Acknowledged {
    /// Takes answers until all are there, or time is up.
    async fn collect(
        &mut self,
        (mut owing, mut here): (u64, hub::Asked),
        mut others: Option<Others>,
        deadline: Instant,
    ) {
        self.silent = others.as_ref().map_or(0, |others| others.silent);
        let mut is_here_done = false;
        while self.silent > 0 || self.settled < self.expected {
            tokio::select! {
                reply = here.next(), if !is_here_done => match reply {
                    Some(reply) => {
                        owing = owing.saturating_sub(1);
                        self.take(reply);
                    }
                    None => {
                        is_here_done = true;
                        self.settled += owing; // those are gone
                    }
                },
                given = next(&mut others, deadline) => match given {
                    Some(Answer::ClientCount(count)) => {
                        self.expected = self.expected.saturating_add(count);
                        self.silent = self.silent.saturating_sub(1);
                    }
                    Some(Answer::Ack { json, attachments }) => self.take(Reply {
                        json: format!("[{json}]"),
                        attachments,
                    }),
                    Some(_) => {}
                    None => others = None, // no more can come
                },
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
    }

    fn take(&mut self, reply: Reply) {
        self.settled += 1;
        let bytes = reply.json.len() + reply.attachments.iter().map(Bytes::len).sum::<usize>();
        if self.bytes + bytes > BYTES_MAX {
            return debug!(bytes, "an answer too much");
        }
        self.bytes += bytes;
        self.acks.push(reply);
    }
}

/// The question to other servers.
struct Others {
    asked: Asked,
    /// Servers that have not said how many clients they ask.
    silent: usize,
}

/// The next answer of another server; waits for ever where none can come.
async fn next(others: &mut Option<Others>, deadline: Instant) -> Option<Answer> {
    let Some(others) = others else {
        return std::future::pending().await;
    };
    loop {
        match others.asked.next(deadline).await? {
            Given::Server(answer) => return Some(answer),
            Given::Gateway(..) => {} // nobody asked one by its own channel
        }
    }
}

impl Relay {
    /// Asks all servers with sockets in the namespace; `None` where there are none, or Redis is away.
    async fn ask_others(&self, event: &Event, patience: Duration) -> Option<Others> {
        if !*self.up().borrow() {
            return None;
        }
        let channel = self.routes.request(&event.namespace);
        let listening = usize::try_from(self.redis.numsub(&channel).await.ok()?).unwrap_or(usize::MAX);
        let own = usize::from(self.is_wanted(&channel));
        let silent = listening.saturating_sub(own);
        if silent == 0 {
            return None;
        }
        let asked = self.asking.begin(Vec::new(), ANSWERS_MAX);
        let id = ack_question_id(self.run(), asked.id());
        let rooms = match &event.target {
            Target::Namespace => &[][..],
            Target::Rooms(rooms) => rooms.as_slice(),
        };
        let broadcast = Box::new(wire::Broadcast {
            uid: None,
            namespace: (&*event.namespace).into(),
            rooms: rooms.iter().cloned().collect(),
            except: event.except.iter().cloned().collect(),
            volatile: false,
            json: event.json.clone(),
            attachments: event.attachments.clone(),
        });
        let timeout_ms = Some(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let ask = Ask::Broadcast { broadcast, timeout_ms };
        match wire::encode_request(Some(self.run()), Some(&id), &ask) {
            Ok(request) => {
                self.say(channel, request);
                Some(Others { asked, silent })
            }
            Err(error) => {
                debug!(%error, "a question that cannot be asked");
                None
            }
        }
    }
}
