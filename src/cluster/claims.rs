//! Ids of what the application wants done once, claimed in Redis for a while.

use std::time::Duration;

use bytes::Bytes;

use super::{Bus, Cluster};

impl Cluster {
    /// Whether nobody in the cluster has claimed this id lately; from now on somebody has. True without Redis.
    pub async fn claim_once(&self, id: &str, lives: Duration) -> bool {
        let Bus::Redis(relay) = &self.bus else {
            return true;
        };
        let value = Bytes::copy_from_slice(relay.run().as_bytes());
        let claimed = relay.redis.set_nx_px(&relay.routes.once(id), value, lives).await;
        claimed.unwrap_or(true) // while Redis is away nobody can know
    }

    /// An id that was claimed may be claimed again.
    pub async fn forget_once(&self, id: &str) {
        if let Bus::Redis(relay) = &self.bus {
            let _ = relay.redis.del(vec![relay.routes.once(id)]).await; // it goes by itself otherwise
        }
    }
}
