//! Joining, leaving and going, as the application wants it.

use std::sync::Arc;

use super::{Caller, Done, Failed, Order, Resolved};
use crate::cluster::{self, Ordered};
use crate::socketio::SocketIo;

impl SocketIo {
    pub(super) async fn order(self: &Arc<Self>, order: Order, caller: Caller<'_>) -> Result<Done, Failed> {
        let Resolved {
            namespace,
            target,
            except,
            is_caller,
        } = order.whom.resolve(&caller, false)?;
        let command = cluster::Command::new(namespace, target, except, order.act);
        let ordered = self.cluster.order(&command, is_caller).await;
        if matches!(ordered, Ordered::Alone | Ordered::Away) {
            // What was emitted before is for those who were there then.
            self.hub.caught_up().await;
            let joined = self.carry_out(&command);
            self.finish(&command, joined).await;
        }
        Ok(match ordered {
            Ordered::Unavailable => return Err(Failed::unavailable()),
            Ordered::Alone => Done::ok(),
            Ordered::Away => Done {
                local: true,
                ..Done::ok()
            },
            Ordered::Done(partial) => Done { partial, ..Done::ok() },
        })
    }
}
