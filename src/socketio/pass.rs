//! What a token gives to a socket, until it ends: patterns of rooms, and time.
//!
//! A socket whose token is over hears for a while longer and says nothing but `refresh`; then it is put out of its
//! namespace. Its client does not come back by itself then, as it would come with the same token.

use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;
use tracing::debug;

use super::arguments::Refused;
use super::client::{Client, Socket};
use super::event::{Call, Outcome, refusal_json};
use super::pattern::{Pattern, Template};
use super::values::Values;
use super::waiting::Settled;
use crate::backend::{self, Claims, Judged, Verdict};
use crate::metrics::Refusal;
use crate::protocol::{json, socket};
use crate::reason::Reason;

/// Time for a new token after the end of the old one.
const GRACE: Duration = Duration::from_secs(25);

/// The furthest end that is waited for.
const LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a token gave.
#[derive(Debug)]
pub(super) struct Pass {
    join: Box<[Template]>,
    publish: Box<[Template]>,
    /// When it ends, and then when the socket does.
    due: Instant,
    is_over: bool,
}

/// Rooms that a token puts its socket into.
pub(super) fn rooms(claims: &Claims, values: &Values<'_>) -> Vec<CompactString> {
    let rooms = claims.grant.rooms.iter();
    rooms
        .filter_map(|room| Template::new(room).fill(values).map(CompactString::from))
        .collect()
}

/// What the application keeps with the socket, as JSON; empty for nothing.
pub(super) fn data(claims: &Claims) -> Box<str> {
    if claims.grant.data.is_empty() {
        return Box::default();
    }
    serde_json::to_string(&claims.grant.data).unwrap_or_default().into()
}

impl Pass {
    /// What these claims give, `leeway` seconds longer than they say.
    pub(super) fn new(claims: Claims, leeway: u64) -> Self {
        let templates = |texts: Vec<String>| texts.iter().map(|text| Template::new(text)).collect();
        let left = claims.expires.saturating_add(leeway).saturating_sub(backend::now());
        Self {
            join: templates(claims.grant.join),
            publish: templates(claims.grant.publish),
            due: Instant::now() + Duration::from_secs(left).min(LIFE_MAX),
            is_over: false,
        }
    }

    /// Whether a token is good for a namespace.
    pub(super) fn is_for(claims: &Claims, namespace: &str) -> bool {
        let patterns = claims.grant.namespaces.as_ref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| Pattern::new(pattern).matches(namespace)))
    }

    pub(super) fn may_join(&self, room: &str, values: &Values<'_>) -> bool {
        self.join.iter().any(|pattern| pattern.matches(room, values))
    }

    pub(super) fn may_publish(&self, room: &str, values: &Values<'_>) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(room, values))
    }

    /// When something is to be done about it.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Socket {
    /// Whether it may join a room, by its namespace or by its token.
    pub(super) fn may_join(&self, room: &str) -> bool {
        let values = self.values();
        let by_pass = |pass: &Pass| pass.may_join(room, &values);
        self.rules.may_join(room, &values) || self.pass.as_deref().is_some_and(by_pass)
    }

    /// The same for publishing.
    pub(super) fn may_publish(&self, room: &str) -> bool {
        let values = self.values();
        let by_pass = |pass: &Pass| pass.may_publish(room, &values);
        self.rules.may_publish(room, &values) || self.pass.as_deref().is_some_and(by_pass)
    }
}

impl Client {
    /// Tells sockets whose tokens are over, and ends those that were told a while ago.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), Reason> {
        let mut index = 0;
        while let Some(socket) = self.sockets.get_mut(index) {
            let Some(pass) = socket.pass.as_mut().filter(|pass| pass.due <= now) else {
                index += 1;
                continue;
            };
            if !pass.is_over {
                pass.is_over = true;
                pass.due += GRACE;
                let event = socket::event(&socket.namespace, &[r#"["expired",{}]"#], Box::default());
                self.session.send(event);
                index += 1;
                continue;
            }
            let reason = Reason::TokenExpired;
            debug!(namespace = &*socket.namespace, reason = reason.as_str(), "ended");
            self.throw_out(index);
            if self.sockets.is_empty() && self.entering() == 0 {
                return Err(reason); // nothing is left that the session could be for
            }
        }
        Ok(())
    }

    /// `refresh`, token.
    pub(super) fn refresh(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let (Some(tokens), Some(_)) = (&self.shared.tokens, &socket.pass) else {
            return Err((Refusal::NoRule, "tokens are not read in this namespace".into()));
        };
        let Some(token) = call.array.element(1).and_then(json::string) else {
            return Err((Refusal::BadRequest, "a token is missing, or is no string".into()));
        };
        Ok(match tokens.judge(&token) {
            Judged::Now(verdict) => Outcome::Renew(verdict),
            Judged::Soon(soon) => Outcome::Wait(Box::pin(async move { Settled::Renewed(soon.await) })),
        })
    }

    /// Goes on with a socket whose new token was judged.
    pub(super) fn renew(&mut self, namespace: &str, id: Option<u64>, verdict: Verdict) {
        let Ok(index) = self.socket(namespace) else {
            return; // gone meanwhile
        };
        let outcome = self.renewed(index, verdict).unwrap_or_else(|(refusal, message)| {
            debug!(refusal = refusal.as_str(), why = message, "not refreshed");
            self.shared.metrics.refused(refusal);
            Outcome::Done(refusal_json(refusal, &message))
        });
        match outcome {
            Outcome::Announce(presence, answer) => self.tell(namespace, id, presence, &answer),
            Outcome::Done(answer) => self.tell(namespace, id, Default::default(), &answer),
            Outcome::Wait(settled) => self.wait_for(namespace, id, settled),
            Outcome::Echo | Outcome::Relay(_) | Outcome::Append(..) | Outcome::Renew(_) => {} // nothing of this kind comes of it
        }
    }

    /// Gives the socket at `index` what its new token gives, in the place of what the old one gave.
    fn renewed(&mut self, index: usize, verdict: Verdict) -> Result<Outcome, Refused> {
        let claims = match verdict {
            Verdict::Good(claims) => *claims,
            Verdict::Bad(flaw) => {
                debug!(why = flaw.as_str(), "no refresh by this token");
                return Err((Refusal::Forbidden, "the token is not accepted".into()));
            }
            Verdict::None => return Err((Refusal::Unavailable, "tokens cannot be checked at the moment".into())),
        };
        let leeway = self.shared.tokens.as_ref().map_or(0, |tokens| tokens.leeway());
        let socket = &mut self.sockets[index];
        if socket.user.as_deref() != Some(&*claims.user) {
            return Err((Refusal::Forbidden, "the token is another user's".into()));
        }
        if !Pass::is_for(&claims, &socket.namespace) {
            return Err((Refusal::Forbidden, "the token is for other namespaces".into()));
        }
        let answer = format!(r#"[{{"ok":true,"expires":{}}}]"#, claims.expires);
        let rooms = rooms(&claims, &socket.values());
        self.shared.hub.set_data(socket.key, &socket.id, data(&claims));
        socket.pass = Some(Box::new(Pass::new(claims, leeway)));
        // What a token gives is not limited, and takes nothing from what the client may join by itself.
        let changed = match self.shared.hub.join(socket.key, &rooms, usize::MAX) {
            Ok(joined) => joined.changed,
            Err(_) => Vec::new(),
        };
        socket.rooms_max = socket.rooms_max.saturating_add(changed.len());
        Ok(self.joined(&self.sockets[index], changed, answer))
    }
}
