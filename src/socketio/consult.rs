//! Asking the application whether a client may enter a namespace, and what an applicant is let in with.

use std::sync::Arc;

use compact_str::CompactString;
use tracing::debug;

use super::arguments::without_query;
use super::client::Client;
use super::connect::{Applicant, FORBIDDEN, jitter};
use super::pass::{self, Pass};
use super::values::Values;
use super::waiting::Settled;
use crate::backend::Claims;
use crate::backend::webhook::{Answer, Event, Failure, Kind, Moment, Orders, Subject};
use crate::hub::Name;
use crate::protocol::Version;
use crate::protocol::ids::SocketId;
use crate::reason::Reason;

/// What an applicant is let in with.
#[derive(Default)]
pub(super) struct Admission {
    /// What its token says, where one was read.
    pub(super) claims: Option<Claims>,
    /// What the application says, where it was asked.
    answer: Option<Box<Answer>>,
}

/// A socket's ids: its own, and the one that others are shown where that is another one.
#[derive(Clone)]
pub(super) struct Ids {
    pub(super) id: SocketId,
    pub(super) alias: Option<SocketId>,
}

impl Admission {
    /// Who it is: the application knows better than the token.
    pub(super) fn user(&self) -> Option<Name> {
        let by_token = || self.claims.as_ref().map(|claims| &claims.user);
        let user = self
            .answer
            .as_ref()
            .and_then(|answer| answer.user.as_ref())
            .or_else(by_token);
        user.map(|user| user.as_str().into())
    }

    /// Rooms to be in from the start, those of both.
    pub(super) fn rooms(&self, values: &Values<'_>) -> Vec<CompactString> {
        let token = self.claims.iter().flat_map(|claims| &claims.grant.rooms);
        let answer = self.answer.iter().flat_map(|answer| &answer.rooms);
        pass::rooms(token.chain(answer), values)
    }

    /// What is kept with the socket: what the application says, or else the token; and whether the application does.
    pub(super) fn data(&mut self) -> (Box<str>, bool) {
        match self.answer.as_mut().and_then(|answer| answer.orders.data.take()) {
            Some(data) => (data, true),
            None => (self.claims.as_ref().map(pass::data).unwrap_or_default(), false),
        }
    }

    /// What is to be done once it is in.
    pub(super) fn orders(&mut self) -> Orders {
        let answer = self.answer.as_mut();
        answer
            .map(|answer| std::mem::take(&mut answer.orders))
            .unwrap_or_default()
    }

    /// What it gives until when.
    pub(super) fn pass(self, leeway: u64) -> Option<Box<Pass>> {
        if self.claims.is_none() && self.answer.is_none() {
            return None;
        }
        Some(Box::new(Pass::new(self.claims, leeway, self.answer.as_deref())))
    }
}

impl Client {
    /// The ids of a socket of this client in a namespace.
    pub(super) fn new_ids(&self, namespace: &str) -> Result<Ids, Reason> {
        let new_id = self.shared.ids.next().map_err(|error| {
            tracing::error!("{error}");
            Reason::Bug
        })?;
        // Below v4 the client computes its id from the session's, so others are shown another one.
        Ok(match self.session.version() {
            Version::V4 => Ids {
                id: SocketId::from(new_id),
                alias: None,
            },
            Version::V3 => Ids {
                id: SocketId::of_session(self.session.sid(), namespace),
                alias: Some(SocketId::from(new_id)),
            },
        })
    }

    /// What the application is told of an applicant, and of the socket that it becomes; nothing where it is told nothing,
    /// or where clients 1.x and 2.x are in a namespace that is not configured.
    pub(super) fn subject(&self, applicant: &Applicant, ids: &Ids, user: Option<Name>) -> Option<Arc<Subject>> {
        let is_told = self.shared.webhooks.is_some() || applicant.rules.streams;
        if !is_told || applicant.rules.index.is_none() {
            return None;
        }
        Some(Arc::new(Subject {
            namespace: Name::clone(&applicant.namespace),
            id: ids.id.clone(),
            user,
            version: self.session.version(),
            record: Arc::clone(self.session.record()?),
            auth: applicant.auth.clone(),
            query: applicant.query.clone(),
        }))
    }

    /// Asks the application about an applicant, where its namespace wants that; all others go on.
    pub(super) fn consult(&mut self, mut applicant: Applicant, claims: Option<Claims>) -> Result<(), Reason> {
        let mut admission = Admission { claims, answer: None };
        if !applicant.rules.asks {
            return self.admit(applicant, admission);
        }
        let ids = self.new_ids(&applicant.namespace)?;
        let subject = self.subject(&applicant, &ids, admission.user());
        let (Some(webhooks), Some(subject)) = (self.shared.webhooks.clone(), subject) else {
            return Err(Reason::Bug); // the configuration was checked
        };
        applicant.ids = Some(ids);
        let (data, is_applications) = admission.data();
        applicant.claims = admission.claims;
        let moment = Moment {
            rooms: Vec::new(),
            transport: self.session.transport(),
        };
        let namespace = Name::clone(&applicant.namespace);
        // Behind what is still to be told of an earlier socket of this id.
        let line = webhooks.open(subject, &data, is_applications);
        let answer = line.ask(Event::of(Kind::Connect, moment));
        let settled = async move {
            let answer = match answer {
                Ok(answer) => answer.await,
                Err(_) => Err(Failure::Overflow),
            };
            if answer.is_err() {
                tokio::time::sleep(jitter()).await;
            }
            Settled::Consulted(Box::new(applicant), answer.map(Box::new))
        };
        self.wait_for(&namespace, None, Box::pin(settled));
        Ok(())
    }

    /// Goes on with an applicant about whom the application was asked.
    pub(super) fn on_consulted(
        &mut self,
        mut applicant: Applicant,
        answer: Result<Box<Answer>, Failure>,
    ) -> Result<(), Reason> {
        let namespace = Name::clone(&applicant.namespace);
        match answer {
            Err(failure) => {
                let namespace_shown = without_query(&namespace);
                debug!(
                    namespace = namespace_shown,
                    why = failure.as_str(),
                    "no verdict of the application"
                );
                self.turn_away(&namespace)
            }
            Ok(answer) => {
                if let Some(deny) = &answer.deny {
                    let message = deny.message.as_deref().unwrap_or(FORBIDDEN);
                    return self.turn_down(&namespace, message, deny.data.as_deref(), "the application says no");
                }
                let claims = applicant.claims.take();
                let answer = Some(answer);
                self.admit(applicant, Admission { claims, answer })
            }
        }
    }
}
