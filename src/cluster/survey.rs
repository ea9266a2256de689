//! One question to all other servers: gateways by our own channels, Node servers as the adapters do.
//!
//! Never fails: who did not answer in time, or did not understand, is named.

use compact_str::{CompactString, format_compact};
use tokio::time::Instant;
use tracing::debug;

use super::asking::{Asked, Given};
use super::gossip::{Answer, Message, Question, VERSION};
use super::relay::Relay;
use super::wire::{self, Ask};
use super::{Live, NODE_SERVERS};
use crate::hub::Name;
use crate::metrics;

/// What is asked.
#[derive(Debug)]
pub(super) struct Survey {
    /// What it is about, in metrics.
    pub(super) about: metrics::Question,
    /// What gateways are asked.
    pub(super) question: Question,
    /// The namespace that it is about.
    pub(super) namespace: Name,
    /// What Node servers are asked.
    pub(super) inquiry: Inquiry,
}

/// What Node servers are asked.
#[derive(Debug)]
pub(super) enum Inquiry {
    /// They cannot know.
    Nothing,
    /// They are counted.
    Count,
    /// This.
    Ask(Ask),
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// What gateways answered, with their tags.
    pub(super) gateways: Vec<(CompactString, Answer)>,
    /// What Node servers answered.
    pub(super) servers: Vec<wire::Answer>,
    /// How many Node servers are in the namespace; known unless nothing was asked of them.
    pub(super) servers_count: usize,
    /// Who did not answer: tags of gateways, and [`NODE_SERVERS`].
    pub(super) partial: Vec<CompactString>,
}

impl Relay {
    /// Asks all other servers.
    pub(super) async fn survey(&self, survey: Survey) -> Surveyed {
        let about = survey.about;
        let surveyed = if *self.up().borrow() {
            self.ask_everybody(survey).await
        } else {
            self.nobody_answers(&survey.inquiry)
        };
        let result = if surveyed.partial.is_empty() {
            metrics::Questioned::Complete
        } else {
            metrics::Questioned::Partial
        };
        self.metrics.relay.asked(about, result);
        surveyed
    }

    /// Redis is away: all that are known of may have an answer, and so may Node servers.
    fn nobody_answers(&self, inquiry: &Inquiry) -> Surveyed {
        let mut surveyed = Surveyed::default();
        let nodes = self.peers.alive.lock();
        surveyed.partial.extend(nodes.nodes().map(|node| node.tag.clone()));
        if !matches!(inquiry, Inquiry::Nothing) {
            surveyed.partial.push(NODE_SERVERS.into());
        }
        surveyed
    }

    async fn ask_everybody(&self, survey: Survey) -> Surveyed {
        let deadline = Instant::now() + self.request_timeout;
        let nodes: Vec<_> = {
            let alive = self.peers.alive.lock();
            alive.nodes().map(|node| (node.run.clone(), node.tag.clone())).collect()
        };
        let mut asked = self.asking.begin(nodes.iter().map(|(run, _)| run.clone()).collect(), 0);
        let looks_for_one = matches!(&survey.question, Question::Sockets(query) if query.id.is_some());
        if !nodes.is_empty() {
            let ask = self.as_asked(&asked, survey.question);
            self.say(self.routes.peers(), ask.encode());
        }
        let mut gathered = Gathered {
            looks_for_one,
            ..Gathered::default()
        };
        // How many Node servers there are is known when the gateways have answered, or most of them.
        let half = deadline - self.request_timeout / 2;
        gathered.take(&mut asked, half).await;
        let mut surveyed = Surveyed::default();
        if gathered.has_it() {
            surveyed.gateways = gathered.tagged(&nodes);
            return surveyed;
        }
        let silent = asked.missing().0.len(); // they may be in the namespace
        let gateways = gathered.in_namespace() + silent;
        let (servers, ()) = tokio::join!(
            self.ask_servers(&survey.namespace, survey.inquiry, gateways, deadline),
            gathered.take(&mut asked, deadline),
        );
        let (silent, _) = asked.missing();
        let is_missing = |run: &CompactString| silent.contains(run) || gathered.is_puzzled(run);
        let missing = nodes.iter().filter(|(run, _)| is_missing(run));
        surveyed.partial.extend(missing.map(|(_, tag)| tag.clone()));
        surveyed.partial.extend(servers.partial);
        surveyed.servers = servers.servers;
        surveyed.servers_count = servers.servers_count;
        surveyed.gateways = gathered.tagged(&nodes);
        surveyed
    }

    /// A question as it is sent.
    fn as_asked(&self, asked: &Asked, question: Question) -> Message {
        Message::Ask {
            v: VERSION,
            run: self.run().into(),
            id: asked.id(),
            question,
        }
    }

    /// Asks one gateway; `None` where it does not answer in time.
    pub(super) async fn ask_one(&self, run: &CompactString, question: Question) -> Option<Answer> {
        if !*self.up().borrow() {
            return None;
        }
        let deadline = Instant::now() + self.request_timeout;
        let mut asked = self.asking.begin(vec![run.clone()], 0);
        let ask = self.as_asked(&asked, question);
        self.say(self.routes.peer(run), ask.encode());
        match asked.next(deadline).await? {
            Given::Gateway(_, answer) => Some(answer),
            Given::Server(_) => None, // none was asked
        }
    }

    /// Asks Node servers: whoever hears the adapters' request channel of the namespace and is no gateway. So many other
    /// gateways do hear it.
    async fn ask_servers(&self, namespace: &Name, inquiry: Inquiry, gateways: usize, deadline: Instant) -> Surveyed {
        let mut surveyed = Surveyed::default();
        if matches!(inquiry, Inquiry::Nothing) {
            return surveyed;
        }
        let channel = self.routes.request(namespace);
        let own = usize::from(self.is_wanted(&channel));
        let Ok(listening) = self.redis.numsub(&channel).await else {
            surveyed.partial.push(NODE_SERVERS.into());
            return surveyed;
        };
        let listening = usize::try_from(listening).unwrap_or(usize::MAX);
        surveyed.servers_count = listening.saturating_sub(own + gateways);
        let Inquiry::Ask(ask) = inquiry else {
            return surveyed;
        };
        if surveyed.servers_count == 0 {
            return surveyed;
        }
        let (_listening, live) = Listening::begin(self, namespace);
        let _ = tokio::time::timeout_at(deadline, live.confirmed()).await; // who is not heard is missing
        let mut asked = self.asking.begin(Vec::new(), surveyed.servers_count);
        let id = question_id(self.run(), asked.id());
        match wire::encode_request(Some(self.run()), Some(&id), &ask) {
            Ok(request) => drop(self.say(channel, request)),
            Err(error) => debug!(%error, "a question that cannot be asked"),
        }
        while let Some(Given::Server(answer)) = asked.next(deadline).await {
            surveyed.servers.push(answer);
        }
        if asked.missing().1 > 0 {
            surveyed.partial.push(NODE_SERVERS.into());
        }
        surveyed
    }

    /// An answer of a Node server, perhaps to us.
    pub(super) fn server_says(&self, payload: &[u8]) {
        let run = self.run().as_bytes();
        if self.asking.is_idle() || !payload.windows(run.len()).any(|bytes| bytes == run) {
            return; // most are for others, and may be long
        }
        match wire::decode_response(payload) {
            Ok(response) => {
                let (run, id) = (self.run(), &response.id);
                if let Some(id) = question_of(run, id).or_else(|| ack_question_of(run, id)) {
                    self.asking.server_answered(id, response.answer);
                }
            }
            Err(error) => debug!(%error, "an answer that is none"),
        }
    }
}

/// Hears the answers of Node servers in a namespace for as long as it is held, whether or not somebody here is in it.
struct Listening<'a> {
    relay: &'a Relay,
    namespace: &'a Name,
}

impl<'a> Listening<'a> {
    fn begin(relay: &'a Relay, namespace: &'a Name) -> (Self, Live) {
        let live = Live(relay.enter(relay.routes.of_responses(namespace)));
        (Self { relay, namespace }, live)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.relay.leave(self.relay.routes.of_responses(self.namespace));
    }
}

/// What gateways have answered so far, by their runs.
#[derive(Debug, Default)]
struct Gathered {
    answers: Vec<(CompactString, Answer)>,
    /// One socket is looked for: who has it says all.
    looks_for_one: bool,
}

impl Gathered {
    /// Takes answers until all are there, nothing more is wanted, or time is up.
    async fn take(&mut self, asked: &mut Asked, deadline: Instant) {
        while !self.has_it()
            && let Some(Given::Gateway(run, answer)) = asked.next(deadline).await
        {
            self.answers.push((run, answer));
        }
    }

    fn has_it(&self) -> bool {
        let has_some = |answer: &Answer| matches!(answer, Answer::Sockets { page, .. } if !page.found.is_empty());
        self.looks_for_one && self.answers.last().is_some_and(|(_, answer)| has_some(answer))
    }

    fn in_namespace(&self) -> usize {
        let answers = self.answers.iter();
        answers.filter(|(_, answer)| answer.is_in_namespace()).count()
    }

    fn is_puzzled(&self, run: &str) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|(of, answer)| of == run && *answer == Answer::Unknown)
    }

    /// The answers by the tags of those who gave them.
    fn tagged(self, nodes: &[(CompactString, CompactString)]) -> Vec<(CompactString, Answer)> {
        let tag = |run: CompactString| {
            let node = nodes.iter().find(|(of, _)| *of == run);
            node.map_or(run, |(_, tag)| tag.clone())
        };
        let answers = self.answers.into_iter();
        answers.map(|(run, answer)| (tag(run), answer)).collect()
    }
}

/// What a question is called on the adapters' channels.
pub(super) fn question_id(run: &str, id: u64) -> CompactString {
    format_compact!("{run}.{id:x}")
}

/// What a question to gateways as well is called there.
pub(super) fn ack_question_id(run: &str, id: u64) -> CompactString {
    format_compact!("{run}+{id:x}")
}

/// The number of a question of `run`, by its id on the adapters' channels: one to Node servers alone.
pub(super) fn question_of(run: &str, id: &str) -> Option<u64> {
    number_of(run, '.', id)
}

/// The same for a question to gateways as well.
fn ack_question_of(run: &str, id: &str) -> Option<u64> {
    number_of(run, '+', id)
}

fn number_of(run: &str, mark: char, id: &str) -> Option<u64> {
    let number = id.strip_prefix(run)?.strip_prefix(mark)?;
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_known_by_their_ids() {
        let id = ack_question_id("abcdefgh", 255);
        assert_eq!(ack_question_of("abcdefgh", &id), Some(255));
        assert_eq!(question_of("abcdefgh", &id), None);
        let id = question_id("abcdefgh", 255);
        assert_eq!(question_of("abcdefgh", &id), Some(255));
        for (run, id) in [
            ("abcdefgi", &*id),
            ("abcdefgh", "abcdefgh"),
            ("abcdefgh", "abcdefgh.x"),
            ("abcdefgh", ""),
        ] {
            assert_eq!(question_of(run, id), None, "{run} {id}");
        }
    }
}
