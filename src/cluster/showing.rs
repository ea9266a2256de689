//! What this node tells other gateways of who is in its rooms.

use super::MEMBERS_MAX;
use super::gossip::{self, Answer, Look, Message, Question, Roster, Users, VERSION};
use super::relay::Relay;

/// Members that one answer to a `look` names.
const ROSTER_MAX: usize = 20_000;

impl Relay {
    /// The answer to a question of another gateway.
    pub(super) fn own_answer(&self, question: Question) -> Answer {
        match question {
            Question::Members { namespace, room, max } => {
                let (members, total) = self.hub.members(&namespace, &room, max.min(MEMBERS_MAX));
                let mut users = Users::new();
                Answer::Members {
                    ids: gossip::split(members, &mut users),
                    users,
                    total: total as u64,
                    in_namespace: self.is_wanted(&self.routes.request(&namespace)),
                }
            }
            other => self.own_inventory(&other).unwrap_or(Answer::Unknown), // orders are done, not answered
        }
    }

    /// Tells another gateway who is in rooms here.
    pub(super) fn show(&self, run: &str, look: Look) {
        let Look {
            namespace,
            rooms,
            is_again,
        } = look;
        let mut left = ROSTER_MAX;
        let mut is_complete = true;
        let mut users = Users::new();
        let members = rooms.into_iter().map(|room| {
            let (members, total) = self.hub.members(&namespace, &room, left);
            left -= members.len();
            is_complete &= members.len() == total;
            (room, gossip::split(members, &mut users))
        });
        let rooms: Vec<_> = members.filter(|(_, ids)| is_again || !ids.is_empty()).collect();
        if rooms.is_empty() {
            return;
        }
        let roster = Roster {
            tag: self.peers.tag().into(),
            namespace,
            rooms,
            users,
            is_again,
            is_complete,
        };
        let roster = Message::Roster { v: VERSION, roster };
        self.say(self.routes.peer(run), roster.encode());
    }
}
