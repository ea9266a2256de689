//! What happens to the connections, and the messages, in one row.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Value;
use tokio::sync::{broadcast, mpsc};

use super::Shared;
use super::connection::{self, Change, Role};

/// What happens to the connections, and the messages. Wants to be asked all the time.
pub struct Events {
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) messages: Option<broadcast::Receiver<fred::types::Message>>,
    /// The subscriber is lost; what came before comes first.
    pub(super) is_ending: bool,
    pub(super) shared: Arc<Shared>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// From now on there is somebody to publish to.
    PublisherUp,
    /// Publishing fails.
    PublisherDown,
    /// A fresh connection: nothing is subscribed on it.
    SubscriberUp,
    /// No messages come, and no subscription is left.
    SubscriberDown,
    /// A message of a channel.
    Message(Message),
    /// So many messages were lost as they were not taken in time.
    Lagged(u64),
    /// Redis does not let us in, in its words: a person should act. Tried again every one to two seconds.
    Refused(String),
}

/// A message of a channel.
#[derive(Debug)]
pub struct Message {
    message: fred::types::Message,
    /// What was published.
    pub payload: Bytes,
}

impl Events {
    /// The next event. Never ends; may be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event {
        loop {
            if self.is_ending {
                // fred's task has ended, so no more come.
                let left = self.messages.as_mut().map(broadcast::Receiver::try_recv);
                match left {
                    Some(Ok(message)) => {
                        if let Some(event) = event(message) {
                            return event;
                        }
                    }
                    Some(Err(broadcast::error::TryRecvError::Lagged(lost))) => return Event::Lagged(lost),
                    _ => {
                        (self.is_ending, self.messages) = (false, None);
                        return Event::SubscriberDown;
                    }
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(change) = self.changes.recv() => {
                    if let Some(event) = self.take(change) {
                        return event;
                    }
                }
                message = received(&mut self.messages) => match message {
                    Ok(message) => {
                        if let Some(event) = event(message) {
                            return event;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(lost)) => return Event::Lagged(lost),
                    Err(broadcast::error::RecvError::Closed) => self.messages = None,
                },
                else => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, change: Change) -> Option<Event> {
        match change {
            Change::Refused(words) => Some(Event::Refused(words)),
            Change::Up(connection, messages) => {
                let role = connection.role;
                *self.shared.slot(role).write() = Some(connection);
                Some(match role {
                    Role::Publisher => Event::PublisherUp,
                    Role::Subscriber => {
                        self.messages = Some(messages);
                        Event::SubscriberUp
                    }
                })
            }
            Change::Down(role) => {
                *self.shared.slot(role).write() = None;
                if role == Role::Publisher {
                    return Some(Event::PublisherDown);
                }
                self.is_ending = true;
                None
            }
        }
    }
}

async fn received(
    messages: &mut Option<broadcast::Receiver<fred::types::Message>>,
) -> Result<fred::types::Message, broadcast::error::RecvError> {
    match messages {
        Some(messages) => messages.recv().await,
        None => std::future::pending().await,
    }
}

fn event(mut message: fred::types::Message) -> Option<Event> {
    let payload = connection::bytes(std::mem::replace(&mut message.value, Value::Null))?;
    Some(Event::Message(Message { message, payload }))
}

impl Message {
    /// The channel that it was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.message.channel
    }

    /// Whether it came as a pattern matches its channel. It comes once for each pattern and once for the channel itself.
    #[must_use]
    pub fn is_by_pattern(&self) -> bool {
        self.message.kind == fred::types::MessageKind::PMessage
    }
}
