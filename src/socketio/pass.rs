//! What a token or the application gives to a socket, until it ends: patterns of rooms, and time.
//!
//! A socket whose time is over hears for a while longer and says nothing but `refresh`; then it is put out of its
//! namespace. Its client does not come back by itself then, as it would come with the same token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compact_str::CompactString;
use tokio::time::Instant;
use tracing::debug;

use super::arguments::Refused;
use super::client::{Client, Socket};
use super::event::{Call, Outcome, refusal_json};
use super::pattern::{Pattern, Template};
use super::values::Values;
use super::waiting::Settled;
use crate::backend::webhook::Answer;
use crate::backend::{self, Claims, Judged, Verdict};
use crate::hub::is_reserved;
use crate::metrics::Refusal;
use crate::protocol::{json, socket};
use crate::reason::Reason;

/// Time for a new token after the end of the old one.
const GRACE: Duration = Duration::from_secs(25);

/// The furthest end that is waited for.
const LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a socket was given.
#[derive(Debug)]
pub(super) struct Pass {
    by_token: Option<Part>,
    by_application: Option<Part>,
    /// Whose the token is, which may not be who the application says that the client is.
    token_user: Option<Box<str>>,
    /// The application's end, in seconds since 1970.
    expires: Option<u64>,
    /// When it ends, and then when the socket does.
    due: Option<Instant>,
    is_over: bool,
}

/// What one of them gave.
#[derive(Debug)]
struct Part {
    join: Box<[Template]>,
    publish: Box<[Template]>,
    ends: Option<Instant>,
}

/// Rooms that a socket is put into.
pub(super) fn rooms<'a>(rooms: impl Iterator<Item = &'a String>, values: &Values<'_>) -> Vec<CompactString> {
    rooms
        .filter_map(|room| Template::new(room).fill(values).map(CompactString::from))
        .filter(|room| !is_reserved(room)) // which nobody can be in
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
    /// What these claims give, `leeway` seconds longer than they say, and what the application adds.
    pub(super) fn new(claims: Option<Claims>, leeway: u64, answer: Option<&Answer>) -> Self {
        let mut pass = Self {
            by_token: None,
            by_application: answer.map(|answer| Part::new(&answer.join, &answer.publish, answer.expires.map(until))),
            token_user: None,
            expires: answer.and_then(|answer| answer.expires),
            due: None,
            is_over: false,
        };
        if let Some(claims) = claims {
            pass.take_token(claims, leeway);
        } else {
            pass.reckon();
        }
        pass
    }

    /// Puts what a token gives in the place of what the last one gave.
    fn take_token(&mut self, claims: Claims, leeway: u64) {
        let left = claims.expires.saturating_add(leeway).saturating_sub(backend::now());
        self.by_token = Some(Part::new(
            &claims.grant.join,
            &claims.grant.publish,
            Some(Duration::from_secs(left)),
        ));
        self.token_user = Some(claims.user.into());
        self.is_over = false;
        self.reckon();
    }

    /// The earlier end holds.
    fn reckon(&mut self) {
        self.due = self.parts().filter_map(|part| part.ends).min();
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.by_token.iter().chain(&self.by_application)
    }

    /// Whether the application's time for it is over, which no token changes.
    fn is_over_for_good(&self) -> bool {
        let ends = self.by_application.as_ref().and_then(|part| part.ends);
        ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Whether a token is good for a namespace.
    pub(super) fn is_for(claims: &Claims, namespace: &str) -> bool {
        let patterns = claims.grant.namespaces.as_ref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| Pattern::new(pattern).matches(namespace)))
    }

    pub(super) fn may_join(&self, room: &str, values: &Values<'_>) -> bool {
        self.parts()
            .any(|part| part.join.iter().any(|pattern| pattern.matches(room, values)))
    }

    pub(super) fn may_publish(&self, room: &str, values: &Values<'_>) -> bool {
        self.parts()
            .any(|part| part.publish.iter().any(|pattern| pattern.matches(room, values)))
    }

    /// When something is to be done about it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Part {
    fn new(join: &[String], publish: &[String], left: Option<Duration>) -> Self {
        let templates = |texts: &[String]| texts.iter().map(|text| Template::new(text)).collect();
        Self {
            join: templates(join),
            publish: templates(publish),
            ends: left.map(|left| Instant::now() + left.min(LIFE_MAX)),
        }
    }
}

/// The time until a moment, in seconds since 1970.
fn until(seconds: u64) -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(seconds).saturating_sub(since)
}

impl Socket {
    /// Whether it may join a room, by its namespace or by what it was given.
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
            let Some(pass) = socket
                .pass
                .as_mut()
                .filter(|pass| pass.due.is_some_and(|due| due <= now))
            else {
                index += 1;
                continue;
            };
            if !pass.is_over {
                pass.is_over = true;
                pass.due = Some(now + GRACE);
                let event = socket::event(&socket.namespace, &[r#"["expired",{}]"#], Box::default());
                self.session.send(event);
                index += 1;
                continue;
            }
            let reason = Reason::TokenExpired;
            debug!(namespace = &*socket.namespace, reason = reason.as_str(), "ended");
            self.throw_out(index, reason);
            if self.sockets.is_empty() && self.entering() == 0 {
                return Err(reason); // nothing is left that the session could be for
            }
        }
        Ok(())
    }

    /// `refresh`, token.
    pub(super) fn refresh(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let (Some(tokens), true) = (&self.shared.tokens, socket.rules.reads_tokens) else {
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
        let Some(pass) = socket.pass.as_mut() else {
            return Err((Refusal::NoRule, "the socket came without a token".into()));
        };
        if pass.token_user.as_deref() != Some(&*claims.user) {
            return Err((Refusal::Forbidden, "the token is another user's".into()));
        }
        if pass.is_over_for_good() {
            return Err((
                Refusal::Expired,
                "the application's time for this socket is over".into(),
            ));
        }
        if !Pass::is_for(&claims, &socket.namespace) {
            return Err((Refusal::Forbidden, "the token is for other namespaces".into()));
        }
        let expires = pass
            .expires
            .map_or(claims.expires, |expires| expires.min(claims.expires));
        let answer = format!(r#"[{{"ok":true,"expires":{expires}}}]"#);
        let (data, rooms_named) = (data(&claims), claims.grant.rooms.clone());
        pass.take_token(claims, leeway);
        let rooms = rooms(rooms_named.iter(), &socket.values());
        // What the application has said of it since counts for more.
        if socket.line.as_ref().is_none_or(|line| line.offer_data(&data)) {
            self.shared.hub.set_data(socket.key, &socket.id, data);
        }
        // What a token gives is not limited, and takes nothing from what the client may join by itself.
        let changed = match self.shared.hub.join(socket.key, &rooms, usize::MAX) {
            Ok(joined) => joined.changed,
            Err(_) => Vec::new(),
        };
        socket.rooms_max = socket.rooms_max.saturating_add(changed.len());
        Ok(self.joined(&self.sockets[index], changed, answer))
    }
}
