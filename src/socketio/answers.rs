//! Answers to `members`: made once for a crowd that asks at once, here and at all other servers.
//!
//! Who asks must not be told of a member whose leave it will never hear, nor miss one whose join it has heard. So an
//! answer is dropped as soon as somebody leaves, and what is announced while others are asked is put right in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::SocketIo;
use super::announce::{self, Movement};
use crate::cluster::{Census, MEMBERS_MAX};
use crate::hub::Name;
use crate::metrics::{Limit, Question as Asked, Questioned};
use crate::protocol::json;

/// Time for which equal questions share one answer.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

/// Answers that are kept.
const ANSWERS_MAX: usize = 1024;

/// Questions to other servers that are under way at once.
const QUESTIONS_MAX: usize = 64;

/// Sockets of other servers that come and go while these are asked, so many of which are put right.
const MOVES_MAX: usize = 10_000;

/// Answers that are young enough to be given again, and those that are being made.
#[derive(Debug)]
pub(super) struct MemberAnswers {
    answers: Mutex<HashMap<Question, Answer, RandomState>>,
    /// What was announced of rooms that others are being asked about.
    moved: Mutex<Vec<(Question, Moves)>>,
    room: Arc<Semaphore>,
}

/// A namespace and a room.
type Question = (Name, CompactString);

/// Sockets of other servers that came or went meanwhile.
type Moves = Arc<Mutex<Vec<Move>>>;

/// A socket by the id that it is shown by, and its user.
type Move = (Movement, CompactString, Option<CompactString>);

/// When it was made, and its array as written.
type Made = (Instant, Arc<str>);

#[derive(Debug)]
enum Answer {
    Made(Made),
    /// Others are asked; `None` until all have answered.
    Asked(watch::Receiver<Option<Made>>),
}

/// What there is to answer.
pub(super) enum Found {
    /// The answer's array as written.
    Now(Arc<str>),
    /// Soon.
    Soon(Soon),
    /// Too much is asked already.
    Busy,
}

/// An answer that is being made.
pub(super) struct Soon(watch::Receiver<Option<Made>>);

impl Soon {
    /// Waits for it; `None` where it could not be made.
    pub(super) async fn answer(mut self) -> Option<Arc<str>> {
        let made = self.0.wait_for(Option::is_some).await.ok()?;
        made.as_ref().map(|(_, answer)| Arc::clone(answer))
    }
}

impl Default for MemberAnswers {
    fn default() -> Self {
        Self {
            answers: Mutex::default(),
            moved: Mutex::default(),
            room: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        }
    }
}

impl MemberAnswers {
    /// Somebody left these rooms.
    pub(super) fn forget(&self, namespace: &Name, rooms: &[Name]) {
        let mut answers = self.answers.lock();
        if !answers.is_empty() {
            for room in rooms {
                answers.remove(&(Arc::clone(namespace), CompactString::from(&**room)));
            }
        }
    }

    /// Many may have left many rooms.
    pub(super) fn forget_all(&self) {
        self.answers.lock().clear();
    }

    /// A socket of another server came or went.
    pub(super) fn moved(&self, namespace: &Name, room: &str, movement: Movement, (id, user): (&str, Option<&str>)) {
        let question = (Arc::clone(namespace), CompactString::from(room));
        for (_, moves) in self.moved.lock().iter().filter(|(asked, _)| *asked == question) {
            let mut moves = moves.lock();
            if moves.len() < MOVES_MAX {
                moves.push((movement, id.into(), user.map(CompactString::from)));
            }
        }
        if matches!(movement, Movement::Leave) {
            self.answers.lock().remove(&question);
        }
    }

    /// What is kept of an answer that is young enough.
    fn kept(&self, question: &Question) -> Option<Found> {
        let answers = self.answers.lock();
        let (made, receiver) = match answers.get(question)? {
            Answer::Made(made) => (Some(made.clone()), None),
            Answer::Asked(receiver) => (receiver.borrow().clone(), Some(receiver.clone())),
        };
        match (made, receiver) {
            (Some((at, answer)), _) => (at.elapsed() < ANSWER_AGE_MAX).then_some(Found::Now(answer)),
            (None, Some(receiver)) if receiver.has_changed().is_ok() => Some(Found::Soon(Soon(receiver))),
            _ => None, // whoever made it is gone
        }
    }

    fn keep(&self, question: Question, answer: Answer) {
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| answer.is_young());
        }
        if answers.len() < ANSWERS_MAX {
            answers.insert(question, answer);
        }
    }
}

impl Answer {
    fn is_young(&self) -> bool {
        let is_young = |made: &Made| made.0.elapsed() < ANSWER_AGE_MAX;
        match self {
            Self::Made(made) => is_young(made),
            Self::Asked(receiver) => receiver.borrow().as_ref().is_none_or(is_young),
        }
    }
}

impl SocketIo {
    /// Who is in a room, here and on all other servers.
    pub(super) fn who_is_in(self: &Arc<Self>, namespace: &Name, room: &str) -> Found {
        let answers = &self.member_answers;
        let question = (Arc::clone(namespace), CompactString::from(room));
        if let Some(found) = answers.kept(&question) {
            return found;
        }
        let Some(census) = self.cluster.census(namespace, room) else {
            let answer: Arc<str> = self.members_json(&question, Census::default(), &[]).into();
            answers.keep(question, Answer::Made((Instant::now(), Arc::clone(&answer))));
            return Found::Now(answer);
        };
        let Ok(permit) = Arc::clone(&answers.room).try_acquire_owned() else {
            self.metrics.limited(Limit::Questions);
            self.metrics.relay.asked(Asked::Members, Questioned::RateLimited);
            return Found::Busy;
        };
        let (sender, receiver) = watch::channel(None);
        answers.keep(question.clone(), Answer::Asked(receiver.clone()));
        let moves = Moves::default();
        answers.moved.lock().push((question.clone(), Arc::clone(&moves)));
        let shared = Arc::clone(self);
        // Its own task: the client that asked may be gone before others who ask the same.
        tokio::spawn(async move {
            let census = census.await;
            let answers = &shared.member_answers;
            answers.moved.lock().retain(|(_, other)| !Arc::ptr_eq(other, &moves));
            let answer = shared.members_json(&question, census, &moves.lock());
            sender.send_replace(Some((Instant::now(), answer.into())));
            drop(permit);
        });
        Found::Soon(Soon(receiver))
    }

    /// The answer's array: members here as they are now, those of others as they were told and moved since.
    fn members_json(&self, (namespace, room): &Question, others: Census, moves: &[Move]) -> String {
        let (own, own_total) = self.hub.members(namespace, room, MEMBERS_MAX);
        let Census {
            mut ids,
            mut users,
            mut total,
            partial,
        } = others;
        for (movement, id, user) in moves {
            let at = ids.iter().position(|other| other == id);
            match (movement, at) {
                (Movement::Join, None) => {
                    ids.push(id.clone());
                    users.extend(user.clone().map(|user| (id.clone(), user)));
                    total = total.saturating_add(1);
                }
                (Movement::Leave, Some(at)) => {
                    ids.swap_remove(at);
                    total = total.saturating_sub(1);
                }
                _ => {}
            }
        }
        let mut answer = String::from(r#"[{"ok":true,"members":["#);
        let own = own.iter().map(|member| (member.id.as_str(), member.user.as_deref()));
        let others = ids.iter().map(|id| (&**id, users.get(id).map(|user| &**user)));
        for (index, (id, user)) in own.chain(others).take(MEMBERS_MAX).enumerate() {
            answer.push_str(if index == 0 { "{" } else { ",{" });
            announce::write_who(&mut answer, id, user);
            answer.push('}');
        }
        answer.push_str(&format!(r#"],"total":{}"#, total.saturating_add(own_total as u64)));
        for (index, name) in partial.iter().enumerate() {
            answer.push_str(if index == 0 { r#","partial":["# } else { "," });
            json::write_string(&mut answer, name);
        }
        answer.push_str(if partial.is_empty() { "}]" } else { "]}]" });
        answer
    }
}
