//! Answers of clients to what they were sent: which socket still owes one to whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::protocol::ids::SocketId;

/// Questions that may be open at once; each costs memory for as long as its clients take.
const QUESTIONS_MAX: usize = 10_000;

/// All questions to clients that are not answered in full.
#[derive(Debug, Default)]
pub struct Acks {
    /// Packets of all namespaces are numbered in one row: an answer's number alone says what it is to.
    next: AtomicU64,
    open: Mutex<HashMap<u64, Question, RandomState>>,
}

#[derive(Debug)]
struct Question {
    owing: HashSet<SocketId, RandomState>,
    answers: mpsc::UnboundedSender<Reply>, // at most one a socket
}

/// One client's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its arguments, an array as written.
    pub json: String,
    /// What placeholders in it stand for.
    pub attachments: Vec<Bytes>,
}

/// A question to some sockets: its number, and the answers as they come. They end when all have answered. Dropping it
/// means that nobody waits any more.
#[derive(Debug)]
pub struct Asked {
    acks: Arc<Acks>,
    number: u64,
    answers: mpsc::UnboundedReceiver<Reply>,
}

impl Acks {
    /// A question that these sockets are to answer; `None` where too many are open.
    pub fn ask(self: &Arc<Self>, sockets: impl IntoIterator<Item = SocketId>) -> Option<Asked> {
        let (sender, answers) = mpsc::unbounded_channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let owing: HashSet<_, _> = sockets.into_iter().collect();
        if !owing.is_empty() {
            let mut open = self.open.lock();
            if open.len() >= QUESTIONS_MAX {
                return None;
            }
            let question = Question { owing, answers: sender };
            open.insert(number, question);
        }
        Some(Asked {
            acks: Arc::clone(self),
            number,
            answers,
        })
    }

    /// A socket answered. What it does not owe is dropped: late answers, second ones, and those to nothing.
    pub fn answer(&self, number: u64, socket: &SocketId, reply: impl FnOnce() -> Reply) {
        let mut open = self.open.lock();
        let Some(question) = open.get_mut(&number) else {
            return;
        };
        if question.owing.remove(socket) {
            let _ = question.answers.send(reply()); // whoever asked may be about to leave
        }
        if question.owing.is_empty() {
            open.remove(&number);
        }
    }

    /// A socket is gone, and will not answer.
    pub fn gone(&self, socket: &SocketId) {
        self.open.lock().retain(|_, question| {
            question.owing.remove(socket);
            !question.owing.is_empty()
        });
    }

    /// Whether nothing is open.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.open.lock().is_empty()
    }
}

impl Asked {
    /// The number that goes with the packet.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next answer; `None` when all have answered, or are gone.
    pub async fn next(&mut self) -> Option<Reply> {
        self.answers.recv().await
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.acks.open.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::IdGenerator;

    fn reply(json: &str) -> Reply {
        Reply {
            json: json.into(),
            attachments: Vec::new(),
        }
    }

    #[tokio::test]
    async fn each_socket_answers_once_and_then_it_is_over() {
        let ids = IdGenerator::new().unwrap();
        let [one, other, stranger] = [(); 3].map(|()| SocketId::from(ids.next().unwrap()));
        let acks = Arc::new(Acks::default());
        let mut asked = acks.ask([one.clone(), other.clone()]).unwrap();
        acks.answer(asked.number(), &stranger, || reply("[0]"));
        acks.answer(asked.number() + 1, &one, || reply("[0]"));
        acks.answer(asked.number(), &one, || reply("[1]"));
        acks.answer(asked.number(), &one, || reply("[0]"));
        acks.answer(asked.number(), &other, || reply("[2]"));
        assert_eq!(asked.next().await, Some(reply("[1]")));
        assert_eq!(asked.next().await, Some(reply("[2]")));
        assert_eq!(asked.next().await, None);
        assert!(acks.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_sockets_that_are_gone() {
        let ids = IdGenerator::new().unwrap();
        let [one, other] = [(); 2].map(|()| SocketId::from(ids.next().unwrap()));
        let acks = Arc::new(Acks::default());
        let mut asked = acks.ask([one.clone(), other.clone()]).unwrap();
        acks.gone(&one);
        acks.answer(asked.number(), &one, || reply("[0]"));
        acks.answer(asked.number(), &other, || reply("[1]"));
        assert_eq!(asked.next().await, Some(reply("[1]")));
        assert_eq!(asked.next().await, None);
        let mut asked = acks.ask([other.clone()]).unwrap();
        acks.gone(&other);
        assert_eq!(asked.next().await, None);
        assert!(acks.is_empty());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_forgotten() {
        let ids = IdGenerator::new().unwrap();
        let acks = Arc::new(Acks::default());
        let asked = acks.ask([SocketId::from(ids.next().unwrap())]).unwrap();
        assert!(!acks.is_empty());
        drop(asked);
        assert!(acks.is_empty());
        let mut of_nobody = acks.ask([]).unwrap();
        assert_eq!(of_nobody.next().await, None);
    }
}
