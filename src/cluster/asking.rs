//! Questions to all other servers, and their answers: all are collected until everybody has answered or time is up.
//!
//! Gateways are known by name and answer once each. Of Node servers only the number is known.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{gossip, wire};

/// Questions of this node whose answers are still to come.
#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    under_way: HashMap<u64, UnderWay, RandomState>,
}

#[derive(Debug)]
struct UnderWay {
    /// Runs of gateways that have not answered.
    gateways: Vec<CompactString>,
    /// Node servers that have not answered.
    servers: usize,
    answers: mpsc::UnboundedSender<Given>, // one of each server at most
}

/// One server's answer.
#[derive(Debug)]
pub(super) enum Given {
    /// Of this run of a gateway.
    Gateway(CompactString, gossip::Answer),
    /// Of a Node server.
    Server(wire::Answer),
}

/// One question; nothing is collected any more when it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    id: u64,
    asking: Arc<Asking>,
    answers: mpsc::UnboundedReceiver<Given>,
}

impl Asking {
    /// A question to these runs of gateways, and to so many Node servers.
    pub(super) fn begin(self: &Arc<Self>, gateways: Vec<CompactString>, servers: usize) -> Asked {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        if !gateways.is_empty() || servers > 0 {
            let answers = sender;
            state.under_way.insert(
                id,
                UnderWay {
                    gateways,
                    servers,
                    answers,
                },
            );
        }
        Asked {
            id,
            asking: Arc::clone(self),
            answers,
        }
    }

    /// Whether no answer is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().under_way.is_empty()
    }

    /// Whether answers to a question are waited for.
    pub(super) fn is_open(&self, id: u64) -> bool {
        self.0.lock().under_way.contains_key(&id)
    }

    /// A gateway answered.
    pub(super) fn gateway_answered(&self, id: u64, run: &str, answer: gossip::Answer) {
        self.0.lock().settle(id, |question| {
            if question.take_gateway(run) {
                let _ = question.answers.send(Given::Gateway(run.into(), answer)); // whoever asked may be gone
            }
        });
    }

    /// A Node server answered.
    pub(super) fn server_answered(&self, id: u64, answer: wire::Answer) {
        self.0.lock().settle(id, |question| {
            if question.servers > 0 {
                question.servers -= 1;
                let _ = question.answers.send(Given::Server(answer)); // whoever asked may be gone
            }
        });
    }

    /// A gateway is gone, and its answers will not come; nor has it members any more.
    pub(super) fn gone(&self, run: &str) {
        let mut state = self.0.lock();
        let ids: Vec<_> = state.under_way.keys().copied().collect();
        for id in ids {
            state.settle(id, |question| {
                question.take_gateway(run);
            });
        }
    }
}

impl State {
    fn settle(&mut self, id: u64, change: impl FnOnce(&mut UnderWay)) {
        if let Some(question) = self.under_way.get_mut(&id) {
            change(question);
            if question.gateways.is_empty() && question.servers == 0 {
                self.under_way.remove(&id);
            }
        }
    }
}

impl UnderWay {
    fn take_gateway(&mut self, run: &str) -> bool {
        let at = self.gateways.iter().position(|name| name == run);
        at.map(|at| self.gateways.swap_remove(at)).is_some()
    }
}

impl Asked {
    /// The number by which answers name it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The next answer; `None` when all are there, or time is up.
    pub(super) async fn next(&mut self, deadline: Instant) -> Option<Given> {
        tokio::time::timeout_at(deadline, self.answers.recv()).await.ok()?
    }

    /// The gateways, and the number of Node servers, that have not answered.
    pub(super) fn missing(&self) -> (Vec<CompactString>, usize) {
        let state = self.asking.0.lock();
        let question = state.under_way.get(&self.id);
        question.map_or_else(Default::default, |question| {
            (question.gateways.clone(), question.servers)
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.asking.0.lock().under_way.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_heard_once_and_then_nobody_is_waited_for() {
        let asking = Arc::new(Asking::default());
        let mut asked = asking.begin(vec!["a".into(), "b".into(), "c".into()], 1);
        let deadline = soon();
        for run in ["a", "stranger", "a"] {
            asking.gateway_answered(asked.id(), run, gossip::Answer::Unknown);
        }
        asking.server_answered(asked.id(), wire::Answer::Done);
        asking.server_answered(asked.id(), wire::Answer::Done);
        assert_eq!(asked.missing(), (vec!["c".into(), "b".into()], 0));
        asking.gone("b");
        asking.gateway_answered(asked.id(), "c", gossip::Answer::Unknown);
        let mut answers = 0;
        while asked.next(deadline).await.is_some() {
            answers += 1;
        }
        assert_eq!((answers, asked.missing()), (3, (vec![], 0)));
        assert!(Instant::now() < deadline && asking.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_in_time_is_named() {
        let asking = Arc::new(Asking::default());
        let deadline = soon();
        let mut asked = asking.begin(vec!["a".into()], 2);
        assert!(asked.next(deadline).await.is_none());
        assert_eq!(Instant::now(), deadline);
        assert_eq!(asked.missing(), (vec!["a".into()], 2));
        drop(asked);
        assert!(asking.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_is_nobody_is_waited_for() {
        let asking = Arc::new(Asking::default());
        let started = Instant::now();
        assert!(asking.begin(Vec::new(), 0).next(soon()).await.is_none());
        assert!(asking.is_idle());
        assert_eq!(Instant::now(), started);
    }
}
