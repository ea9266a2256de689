//! Taking a node out of service without ending it, and putting it back.

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::answer::{Answer, Failure, json_of};
use super::parameters::Parameters;
use super::{Api, body};
use crate::cluster::Undrained;
use crate::wish::Wish;

/// Bytes of a body that names a node.
const BODY_BYTES_MAX: usize = 4096;

impl Api {
    /// `POST /v1/drain` and `DELETE /v1/drain`
    pub(super) async fn drain(&self, request: Request<Incoming>, parameters: &Parameters) -> Answer {
        let wanted = *request.method() == Method::POST;
        let named = parameters.filled("node")?.map(str::to_owned);
        let node = match (wanted, named) {
            (true, None) => node_of(request).await?,
            (true, Some(_)) => return Err(Failure::field("node", "belongs into the body of a POST")),
            (false, _) if !request.body().is_end_stream() => {
                return Err(Failure::bad_request(
                    "a DELETE takes no body: name another node as ?node=",
                ));
            }
            (false, named) => named,
        };
        let own = self.cluster.tag();
        let node = node.unwrap_or_else(|| own.to_string());
        let draining = if node == own {
            if wanted {
                self.stopper.drain();
            } else {
                self.stopper.resume();
            }
            self.stopper.wish() != Wish::Serve
        } else {
            self.cluster.drain_other(&node, wanted).await.map_err(Failure::from)?
        };
        if draining && !wanted {
            let message = "the node is about to stop, which cannot be cancelled";
            return Err(Failure::new(StatusCode::CONFLICT, "conflict", message));
        }
        json_of(&json!({"ok": true, "node": node, "draining": draining}))
    }
}

/// The node that a body names.
async fn node_of(request: Request<Incoming>) -> Result<Option<String>, Failure> {
    let Some(bytes) = body::read_if_any(request, BODY_BYTES_MAX).await? else {
        return Ok(None);
    };
    let fields = body::fields("the body", body::text(&bytes)?, &["node"])?;
    let Some(node) = fields.get("node") else {
        return Ok(None);
    };
    let node = serde_json::from_str::<String>(node.get()).ok();
    let node = node.filter(|node| !node.is_empty());
    let message = "must be the id of a node, as /v1/nodes has it";
    node.map(Some).ok_or_else(|| Failure::field("node", message))
}

impl From<Undrained> for Failure {
    fn from(undrained: Undrained) -> Self {
        match undrained {
            Undrained::Unknown => Self::not_found("no gateway of this id is there"),
            Undrained::Silent => Self::unavailable("the gateway did not answer in time"),
        }
    }
}
