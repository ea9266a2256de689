//! A subscriber: joins its rooms, then enters what it hears into the books.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::books::Seen;
use super::client::Client;
use super::crowd;
use super::failure::Failure;
use super::fanout::Hall;
use super::message::Message;
use super::talk::{Heard, Refusal};
use super::trouble::{Need, Trouble};

/// Time for the first answer: a server that does not do what is needed is found out soon.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Time for all others, which come all at once.
const ANSWER: Duration = Duration::from_secs(20);

/// How joining went.
pub(super) enum Joined {
    /// All rooms answered.
    Yes,
    /// One of them says no.
    Refused(usize, Refusal),
    /// The connection ended, or nothing came in time.
    Failed(Failure),
}

/// Lets clients join their rooms, the first one alone, and returns those that did. `are_members` says whether what is
/// published to these rooms must reach them.
pub(super) async fn join_all(
    hall: &Rc<Hall>,
    mut clients: Vec<(usize, Client)>,
    are_members: bool,
) -> Result<Vec<(usize, Client)>, Trouble> {
    let rest = if clients.is_empty() {
        Vec::new()
    } else {
        clients.split_off(1)
    };
    let mut joined = Vec::new();
    for (clients, time) in [(clients, FIRST_ANSWER), (rest, ANSWER)] {
        let tried = crowd::all(clients, |(index, mut client)| {
            let hall = Rc::clone(hall);
            async move {
                let rooms: Vec<_> = hall.plan.rooms_of(index).collect();
                let joined = join(&hall, &mut client, &rooms, time).await;
                (index, client, joined)
            }
        });
        for (index, client, outcome) in tried.await {
            match outcome {
                Joined::Yes => joined.push((index, client)),
                Joined::Refused(room, refusal) => return Err(refused(hall, room, &refusal)),
                Joined::Failed(Failure::Unanswered(seconds)) if time == FIRST_ANSWER => {
                    let room = hall.plan.name(index % hall.plan.rooms);
                    let namespace = hall.run.manner.talk.namespace();
                    return Err(Trouble::silence(Need::Join(&room), namespace, seconds));
                }
                Joined::Failed(failure) => hall.run.failed(&failure),
            }
        }
        hall.run.trouble()?;
    }
    if are_members {
        let mut members = hall.members.borrow_mut();
        let rooms = joined.iter().flat_map(|(index, _)| hall.plan.rooms_of(*index));
        rooms.for_each(|room| members[room] += 1);
    }
    Ok(joined)
}

/// What a refusal to join means.
pub(super) fn refused(hall: &Hall, room: usize, refusal: &Refusal) -> Trouble {
    let room = hall.plan.name(room);
    Trouble::refusal(Need::Join(&room), hall.run.manner.talk.namespace(), refusal)
}

/// Joins rooms and waits until the server has answered for each.
pub(super) async fn join(hall: &Hall, client: &mut Client, rooms: &[usize], time: Duration) -> Joined {
    let talk = &hall.run.manner.talk;
    for (id, room) in rooms.iter().enumerate() {
        let json = serde_json::json!(["join", hall.plan.name(*room)]).to_string();
        talk.event(client.out(), id as u64, &json);
    }
    let mut left = rooms.len();
    let answers = client.until(|message| match talk.hear(message) {
        Heard::Ack {
            id,
            refusal: Some(refusal),
        } => {
            let room = rooms.get(id as usize).copied().unwrap_or_default();
            Some(Joined::Refused(room, refusal))
        }
        Heard::Ack { .. } => {
            hall.joins.set(hall.joins.get() + 1);
            left = left.saturating_sub(1);
            (left == 0).then_some(Joined::Yes)
        }
        Heard::Disconnected => Some(Joined::Failed(Failure::Disconnected)),
        _ => None,
    });
    match timeout(time, answers).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(failure)) => Joined::Failed(failure),
        Err(_) => Joined::Failed(Failure::Unanswered(time.as_secs())),
    }
}

/// Hears what is published until the connection ends.
pub(super) async fn listen(hall: Rc<Hall>, index: usize, mut client: Client) {
    let mut seen = Seen::new();
    let ended = loop {
        let (mut now, mut is_out) = (0, false);
        let result = client
            .messages(|message, _| {
                let (Message::Text(bytes) | Message::Binary(bytes)) = message else {
                    return;
                };
                match hall.stamper.find(bytes) {
                    Some(stamp) => {
                        if now == 0 {
                            now = hall.run.now(); // once for all that was read together
                        }
                        hall.books.deliver(stamp, &mut seen, now);
                    }
                    None => is_out |= hall.run.manner.talk.hear(message) == Heard::Disconnected,
                }
            })
            .await;
        match result {
            Err(failure) => break failure,
            Ok(()) if is_out => break Failure::Disconnected,
            Ok(()) => {}
        }
    };
    hall.run.closed(&ended);
    // Nobody waits for what cannot come any more.
    let mut members = hall.members.borrow_mut();
    hall.plan.rooms_of(index).for_each(|room| members[room] -= 1);
}
