//! A publisher: goes through its rooms in turn, keeping so many messages under way or so many a second.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::client::Client;
use super::failure::Failure;
use super::fanout::Hall;
use super::run::{Role, Stage};
use super::stamp::{Stamp, plain_payload};
use super::subscriber::{Joined, join, refused};
use super::talk::{Heard, Refusal};
use super::trouble::{Need, Trouble};

/// Time for the answer to the first publish.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// How often it is looked whether a message does not move any more.
const LOOK: Duration = Duration::from_millis(250);

/// The system's timers are that coarse. A message that leaves so much behind its time was not late, and its delay counts
/// from when it left; behind that it counts from when it should have left.
const LATE: u64 = 2_000_000;

/// Messages after which others have their turn, however many are due.
const MESSAGES_A_TURN: usize = 64;

/// One publisher.
struct Publisher {
    hall: Rc<Hall>,
    index: usize,
    rooms: Vec<usize>,
    /// Which of `rooms` is next.
    turn: usize,
    /// Messages published.
    count: u64,
}

/// Connects all publishers, sees whether they are answered, and lets them begin.
pub(super) async fn start_all(hall: &Rc<Hall>) -> Result<(), Trouble> {
    let mut ready = Vec::new();
    for index in 0..hall.plan.publishers {
        if hall.run.is_ended() {
            break;
        }
        let number = hall.plan.clients + hall.plan.stalled + index;
        let Some(mut client) = hall.run.open(number, Role::Publisher(index)).await else {
            continue;
        };
        let publisher = Publisher {
            hall: Rc::clone(hall),
            index,
            rooms: hall.plan.rooms_of_publisher(index).collect(),
            turn: 0,
            count: 0,
        };
        publisher.try_first(&mut client).await?;
        ready.push((publisher, client));
    }
    hall.run.trouble()?;
    if ready.is_empty() && !hall.run.is_ended() {
        let urls = hall.run.plan.publish_urls.join(", ");
        let failed = hall.run.counts().0.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Trouble::Unavailable(format!(
            "no publisher connected to {urls}: {failed}"
        )));
    }
    hall.opened.set(hall.run.now());
    for (publisher, client) in ready {
        spawn_local(publisher.publish(client));
    }
    Ok(())
}

impl Publisher {
    /// Publishes something that nobody counts, to see whether it is answered. Where publishers must be members, this one
    /// becomes one.
    async fn try_first(&self, client: &mut Client) -> Result<(), Trouble> {
        let Some(first) = self.rooms.first() else { return Ok(()) };
        let (hall, room) = (&self.hall, self.hall.plan.name(*first));
        let (need, namespace) = (Need::Publish(&room), hall.run.manner.talk.namespace());
        for is_member in [false, true] {
            let payload = plain_payload(hall.run.plan.payload);
            match self.ask(client, &room, &payload).await {
                Ok(None) => return Ok(()),
                Ok(Some(refusal)) if refusal.error == "forbidden" && !is_member => {}
                Ok(Some(refusal)) => return Err(Trouble::refusal(need, namespace, &refusal)),
                Err(Failure::Unanswered(seconds)) => return Err(Trouble::silence(need, namespace, seconds)),
                Err(failure) => {
                    let what = format!("the first publish was not answered: {failure}");
                    return Err(Trouble::Unsuited(what));
                }
            }
            match join(hall, client, &self.rooms, FIRST_ANSWER).await {
                Joined::Yes => hall.joins.set(hall.joins.get() - self.rooms.len() as u64), // of subscribers alone
                Joined::Refused(room, refusal) => return Err(refused(hall, room, &refusal)),
                Joined::Failed(failure) => {
                    let what = format!("a publisher must be a member of its rooms, and cannot join them: {failure}");
                    return Err(Trouble::Unsuited(what));
                }
            }
        }
        Ok(())
    }

    /// Publishes once, and what the server says to it.
    async fn ask(&self, client: &mut Client, room: &str, payload: &str) -> Result<Option<Refusal>, Failure> {
        let talk = &self.hall.run.manner.talk;
        let id = u64::from(u32::MAX); // of no other event of this client
        talk.event(client.out(), id, &self.json(room, payload));
        let answer = client.until(|message| match talk.hear(message) {
            Heard::Ack { id: answered, refusal } if answered == id => Some(refusal),
            _ => None,
        });
        let silence = Failure::Unanswered(FIRST_ANSWER.as_secs());
        timeout(FIRST_ANSWER, answer).await.unwrap_or(Err(silence))
    }

    fn json(&self, room: &str, payload: &str) -> String {
        serde_json::json!(["publish", room, self.hall.plan.event, payload]).to_string()
    }

    /// Publishes until the run is over, and takes answers until the connection ends.
    async fn publish(mut self, mut client: Client) {
        let hall = Rc::clone(&self.hall);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let has_window = hall.plan.rate == 0.0;
        let ended = loop {
            let due = self.fill(&mut client);
            tokio::select! {
                biased;
                result = self.answers(&mut client) => match result {
                    Ok(()) => {}
                    Err(failure) => break failure,
                },
                () = hall.books.completed(self.index), if has_window => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = look.tick() => hall.books.write_off(self.index, hall.run.now()),
            }
        };
        hall.run.closed(&ended);
    }

    /// Reads once and enters the answers.
    async fn answers(&self, client: &mut Client) -> Result<(), Failure> {
        let (hall, mut now, mut is_out) = (&self.hall, 0, false);
        let talk = &hall.run.manner.talk;
        let result = client.messages(|message, _| match talk.hear(message) {
            Heard::Ack {
                refusal: Some(refusal), ..
            } => {
                let room = hall.plan.name(self.rooms[self.turn % self.rooms.len()]);
                let trouble = Trouble::refusal(Need::Publish(&room), talk.namespace(), &refusal);
                hall.run.give_up(trouble);
            }
            Heard::Ack { id, .. } => {
                if now == 0 {
                    now = hall.run.now();
                }
                hall.books.answer(self.index, id, now);
            }
            Heard::Disconnected => is_out = true,
            _ => {}
        });
        result.await?;
        if is_out { Err(Failure::Disconnected) } else { Ok(()) }
    }

    /// Publishes what is due, and says when the next is, where that is a matter of time.
    fn fill(&mut self, client: &mut Client) -> Option<Instant> {
        let hall = Rc::clone(&self.hall);
        let rate = hall.plan.rate;
        for _ in 0..MESSAGES_A_TURN {
            if hall.run.stage() == Stage::Over {
                return None;
            }
            let now = hall.run.now();
            let mut sent = now;
            if rate > 0.0 {
                // The publishers take turns, so that all of them together keep the pace.
                let place = self.count * hall.plan.publishers as u64 + self.index as u64;
                let due = hall.opened.get() + (place as f64 * 1e9 / rate) as u64;
                if due > now {
                    return Some(Instant::now() + Duration::from_nanos(due - now));
                }
                if now - due > LATE {
                    sent = due;
                }
            } else if hall.books.open(self.index) >= hall.plan.window {
                return None;
            }
            let Some((room, members)) = self.next_room() else {
                return None; // nobody is left
            };
            let (number, id) = hall.books.publish(self.index, members, now);
            let stamp = Stamp {
                publisher: self.index as u32,
                number,
                sent,
            };
            let payload = hall.stamper.payload(stamp, hall.run.plan.payload);
            let json = self.json(&hall.plan.name(room), &payload);
            hall.run.manner.talk.event(client.out(), id, &json);
            self.count += 1;
        }
        Some(Instant::now()) // others, and the end of the run, have their turn
    }

    /// The next room in which there is somebody.
    fn next_room(&mut self) -> Option<(usize, u32)> {
        let members = self.hall.members.borrow();
        for _ in 0..self.rooms.len() {
            let room = self.rooms[self.turn % self.rooms.len()];
            self.turn += 1;
            if members[room] > 0 {
                return Some((room, members[room]));
            }
        }
        None
    }
}
