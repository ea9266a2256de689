//! An event of the application's, on its way to clients; perhaps with their answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Caller, Done, Emit, Failed, Invalid, Resolved};
use crate::backend;
use crate::cluster::{Event, Receipt};
use crate::hub::{Broadcast, Except, Reply};
use crate::metrics::{Origin, Refusal};
use crate::protocol::socket;
use crate::socketio::SocketIo;

/// Why actions of answers cannot ask clients: their socket would be held up for it.
const NOBODY_READS: &str = "is for the HTTP API alone: nobody would read what clients answer to an action";

impl SocketIo {
    pub(super) async fn emit(self: &Arc<Self>, mut emit: Emit, caller: Caller<'_>) -> Result<Done, Failed> {
        let bytes = emit.json.len() + emit.attachments.iter().map(bytes::Bytes::len).sum::<usize>();
        if bytes > self.payload_bytes_max {
            let message = format!("the event has {bytes} bytes, {} are allowed", self.payload_bytes_max);
            return Err(Failed::new(Refusal::TooLarge, message));
        }
        if emit.ack_timeout.is_some() && !matches!(caller, Caller::Api) {
            return Err(Invalid::new("ack_timeout", NOBODY_READS).into());
        }
        let Some(id) = emit.id.take() else {
            return self.emit_now(emit, caller).await;
        };
        if !self.once.is_new(&id, &self.cluster).await {
            return Ok(Done {
                duplicate: true,
                ..Done::ok()
            });
        }
        let emitted = self.emit_now(emit, caller).await;
        match emitted {
            Ok(_) => self.once.done(&id),
            Err(_) => self.once.forget(&id, &self.cluster).await, // nothing was done, and it may be tried again
        }
        emitted
    }

    async fn emit_now(&self, emit: Emit, caller: Caller<'_>) -> Result<Done, Failed> {
        let origin = caller.origin();
        let Resolved {
            namespace,
            target,
            except,
            ..
        } = emit.whom.resolve(&caller, true)?;
        if let Some(patience) = emit.ack_timeout {
            let event = Event {
                namespace,
                target,
                except,
                json: emit.json,
                attachments: emit.attachments,
            };
            return self.ask(event, patience, emit.is_local, origin).await;
        }
        let broadcast = Broadcast {
            packet: socket::event(&namespace, &[&emit.json], emit.attachments.into()),
            namespace,
            target,
            except: Except {
                sender: None,
                rooms: except,
            },
            is_volatile: emit.is_volatile,
        };
        if emit.is_local {
            self.cluster.broadcast_here(broadcast, origin).await;
            return Ok(Done::ok());
        }
        match self.cluster.publish(broadcast, origin).await {
            Receipt::Relayed => Ok(Done::ok()),
            Receipt::Local => Ok(Done {
                local: true,
                ..Done::ok()
            }),
            Receipt::Unavailable => Err(Failed::unavailable()),
        }
    }

    async fn ask(&self, event: Event, patience: Duration, is_local: bool, origin: Origin) -> Result<Done, Failed> {
        let found = self.cluster.ask_clients(event, patience, is_local, origin).await;
        let found = found.ok_or_else(|| {
            let message = "answers to too many events are waited for on this node";
            Failed::new(Refusal::RateLimited, message)
        })?;
        let acks: Vec<_> = found.acks.iter().filter_map(written).collect();
        Ok(Done {
            expected: Some(found.expected),
            missing: Some(found.expected.saturating_sub(acks.len() as u64)),
            acks: Some(acks),
            silent: (found.silent > 0).then_some(found.silent),
            ..Done::ok()
        })
    }
}

/// A client's answer as the application reads it.
fn written(reply: &Reply) -> Option<Box<RawValue>> {
    let json = backend::inline(&reply.json, &reply.attachments).ok()?;
    RawValue::from_string(json.into_owned()).ok()
}
