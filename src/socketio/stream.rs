//! The action `stream`: an event appended to a stream in Redis, for an application that reads it when it likes.
//!
//! No socket waits here: its events are appended in the order in which they came, and answered when Redis has them. So
//! what a client said right before it left is not lost.

use bytes::Bytes;

use super::arguments::Refused;
use super::client::{Client, Socket};
use super::event::{Call, Outcome};
use super::relay::Reply;
use crate::backend::webhook::{Event, Kind, Moment};
use crate::hub::Name;
use crate::metrics::Refusal;

impl Client {
    /// The event as the application reads it, on its way to `stream`.
    pub(super) fn stream(&self, socket: &Socket, call: &Call<'_>, stream: &Name) -> Result<Outcome, Refused> {
        let id = self.shared.ids.next();
        let id = id.map_err(|error| (Refusal::Unavailable, error.to_string()))?;
        let moment = Moment {
            rooms: self.shared.hub.rooms_of(socket.key),
            transport: self.session.transport(),
        };
        let name = call.array.element(0).unwrap_or_default();
        let mut event = Event::of(Kind::Event, moment).with_call(name, call.array.tail(1), call.attachments);
        event.id = id.as_str().into();
        let data = self.shared.hub.data(socket.key, &socket.id);
        let body = event.body(&self.shared.ids.tag(), socket.subject.as_deref(), &data);
        Ok(Outcome::Append(Name::clone(stream), body))
    }

    /// Appends it, behind all that came before.
    pub(super) fn append(&mut self, stream: &Name, event: Bytes, reply: Reply) {
        let answer = match reply {
            Reply::Receipt(answer) => Some(answer),
            Reply::None | Reply::Ready(_) => None,
        };
        if let Some(appended) = self.shared.cluster.append(stream, event, answer.clone())
            && let Some(answer) = answer
        {
            self.session.send(answer.packet_of(appended.json()));
        }
    }
}
