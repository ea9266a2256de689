//! What the application wants to be done to sockets, wherever they are: to join and leave rooms, and to go.
//!
//! An order passes through Redis to ourselves as well, behind everything that was published before it: who is told
//! goodbye and then put out hears the goodbye. It is done once all gateways have said so; Node servers never say.

use compact_str::CompactString;
use tokio::time::Instant;
use tracing::debug;

use super::asking::Given;
use super::gossip::{Answer, Message, Order, Question, VERSION};
use super::hearing::{Act, Asker, Command};
use super::relay::Relay;
use super::survey::question_id;
use super::wire::{self, Ask, Names, Selection};
use super::{Bus, Cluster};
use crate::hub::{Name, Rooms, Target, is_reserved};
use crate::metrics;

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// There are no other servers: it is to be done here.
    Alone,
    /// Redis is away, or does not bring it back: it is to be done here.
    Away,
    /// Redis is away, and nothing is done without.
    Unavailable,
    /// Done, by all gateways but these.
    Done(Vec<CompactString>),
}

impl Command {
    /// What the application wants to be done.
    pub fn new(namespace: Name, target: Target, except: Vec<CompactString>, act: Act) -> Self {
        Self {
            namespace,
            target,
            except,
            act,
            asker: None,
        }
    }

    /// What a gateway, perhaps this one, wants to be done.
    ///
    /// `None` where it names rooms, and none.
    pub(super) fn ordered(order: Order, asker: Asker) -> Option<Self> {
        let target = match order.rooms {
            None => Target::Namespace,
            Some(rooms) => Target::Rooms(Rooms::from_list(rooms)?),
        };
        Some(Self {
            namespace: Name::from(&*order.namespace),
            target,
            except: order.except,
            act: order.act,
            asker: Some(asker),
        })
    }

    fn rooms(&self) -> Option<&[CompactString]> {
        match &self.target {
            Target::Namespace => None,
            Target::Rooms(rooms) => Some(rooms.as_slice()),
        }
    }
}

impl Cluster {
    /// Has something done to sockets on all servers, and waits until it is. `is_here` where they can be on this one alone.
    pub async fn order(&self, command: &Command, is_here: bool) -> Ordered {
        match &self.bus {
            Bus::Solo => Ordered::Alone,
            Bus::Redis(relay) => relay.order(command, is_here).await,
        }
    }
}

impl Relay {
    async fn order(&self, command: &Command, is_here: bool) -> Ordered {
        let away = if self.serves_alone() {
            Ordered::Away
        } else {
            Ordered::Unavailable
        };
        if !*self.up().borrow() {
            return away;
        }
        let mut runs = vec![CompactString::from(self.run())];
        if !is_here {
            runs.extend(self.peers.alive.lock().nodes().map(|node| node.run.clone()));
        }
        // Whose sockets are a user's only gateways know.
        let is_of_users = command
            .rooms()
            .is_some_and(|rooms| rooms.iter().all(|room| is_reserved(room)));
        let mut asked = self.asking.begin(runs.clone(), 0);
        let order = Order {
            namespace: (&*command.namespace).into(),
            rooms: command.rooms().map(<[_]>::to_vec),
            except: command.except.clone(),
            act: command.act.clone(),
        };
        let ask = Message::Ask {
            v: VERSION,
            run: self.run().into(),
            id: asked.id(),
            question: Question::Do(order),
        };
        let channel = match &runs[..] {
            [run] => self.routes.peer(run),
            _ => self.routes.peers(),
        };
        let deadline = Instant::now() + self.request_timeout;
        if !self.say_in_time(channel, ask.encode(), deadline).await {
            return Ordered::Unavailable; // Redis is there, but takes too little
        }
        if !is_here && !is_of_users {
            self.order_servers(command, asked.id());
        }
        let mut up = self.up();
        let mut puzzled = Vec::new();
        loop {
            let given = tokio::select! {
                given = asked.next(deadline) => given,
                _ = up.wait_for(|is_up| !is_up) => None, // nobody's answer comes now
            };
            match given {
                Some(Given::Gateway(_, Answer::Done) | Given::Server(_)) => {}
                Some(Given::Gateway(run, _)) => puzzled.push(run),
                None => break,
            }
        }
        let (mut silent, _) = asked.missing();
        silent.append(&mut puzzled);
        self.metrics.relay.asked(
            metrics::Question::Order,
            if silent.is_empty() {
                metrics::Questioned::Complete
            } else {
                metrics::Questioned::Partial
            },
        );
        if silent.iter().any(|run| run == self.run()) {
            return away;
        }
        let alive = self.peers.alive.lock();
        let silent = alive.nodes().filter(|node| silent.contains(&node.run));
        Ordered::Done(silent.map(|node| node.tag.clone()).collect())
    }

    /// Tells Node servers, which give no answer. By its id gateways see that it is not for them.
    fn order_servers(&self, command: &Command, id: u64) {
        let who = Selection {
            rooms: command.rooms().unwrap_or_default().iter().cloned().collect(),
            except: command.except.iter().cloned().collect(),
        };
        let ask = match &command.act {
            Act::Join(rooms) => Ask::Join {
                who,
                rooms: Names::from_iter(rooms.iter().cloned()),
            },
            Act::Leave(rooms) => Ask::Leave {
                who,
                rooms: Names::from_iter(rooms.iter().cloned()),
            },
            Act::Disconnect { close } => Ask::Disconnect { who, close: *close },
        };
        let id = question_id(self.run(), id);
        match wire::encode_request(Some(self.run()), Some(&id), &ask) {
            Ok(request) => drop(self.say(self.routes.request(&command.namespace), request)),
            Err(error) => debug!(%error, "an order that cannot be given"),
        }
    }

    /// An order of a gateway, perhaps our own, is carried out here.
    pub(super) fn carried_out(&self, run: &str, id: u64) {
        let answer = Answer::Done;
        if run == self.run() {
            return self.asking.gateway_answered(id, run, answer);
        }
        let run_here = self.run().into();
        let answer = Message::Answer {
            v: VERSION,
            run: run_here,
            id,
            answer,
        };
        self.say(self.routes.peer(run), answer.encode());
    }
}
