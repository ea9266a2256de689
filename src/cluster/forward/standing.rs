//! By what this node is known to the others: its address, and the secret that all of them share.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rand::TryRng as _;
use rand::rngs::SysRng;
use tracing::{debug, warn};

use super::super::relay::Relay;

/// Random bytes of a secret that a node makes.
const SECRET_BYTES: usize = 32;

/// Longest secret that is taken from Redis.
const SECRET_BYTES_MAX: usize = 1024;

impl Relay {
    /// Finds out where other nodes reach this one.
    pub(in crate::cluster) async fn find_address(&self) {
        let forwarder = &self.forwarder;
        let (advertise, listen) = (&*forwarder.advertise, forwarder.listen);
        let address = if !advertise.is_empty() {
            advertise.into()
        } else if !listen.ip().is_unspecified() {
            listen.to_string()
        } else {
            match self.redis.local_address().await {
                Ok(here) => SocketAddr::new(here, listen.port()).to_string(),
                Err(error) => {
                    warn!("other nodes will not know this one's address: name it in cluster.advertise ({error})");
                    return;
                }
            }
        };
        *forwarder.address.lock() = address.into();
    }

    /// Takes the secret that Redis keeps, or lets it keep one. It is looked at again with each heartbeat, as Redis may
    /// have lost it, and operators may change it.
    pub(in crate::cluster) async fn share_secret(&self) {
        if self.forwarder.has_own_secret {
            return;
        }
        let key = self.routes.secret();
        let kept = match self.redis.get(&key).await {
            Ok(Some(kept)) => Some(kept),
            Ok(None) => {
                let Some(secret) = self.forwarder.secret().or_else(random) else {
                    return warn!("the system gave no randomness for a secret");
                };
                match self.redis.set_nx(&key, Bytes::from(secret.clone())).await {
                    Ok(true) => Some(secret.into()),
                    Ok(false) => self.redis.get(&key).await.ok().flatten(),
                    Err(failure) => return debug!(%failure, "the secret of the nodes could not be kept"),
                }
            }
            Err(failure) => return debug!(%failure, "the secret of the nodes could not be read"),
        };
        let kept = kept.as_deref().and_then(|kept| std::str::from_utf8(kept).ok());
        match kept {
            Some(secret) if (1..=SECRET_BYTES_MAX).contains(&secret.len()) => self.forwarder.set_secret(secret),
            _ => debug!("what Redis keeps is no secret"),
        }
    }
}

/// A secret that nobody can guess.
fn random() -> Option<String> {
    let mut bytes = [0; SECRET_BYTES];
    SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
