//! `limits.sockets_per_user`: how many sockets each user has in a namespace, here and on all nodes.
//!
//! ```text
//! a client's user is known ─▶ it waits ─▶ one task asks Redis for all who wait ─▶ a seat, or "too many sockets"
//! a seat is dropped        ─▶ the same task writes how many are left
//! ```
//!
//! Nobody waits longer than Redis may take: while it is away those here are counted alone. A refusal that rests on
//! sockets of other nodes is final when all of those have been heard of since, or are gone: clients do not come back by
//! themselves after it, and those of a node that crashed come here before anybody knows that it did.

mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::error;

use super::client::Client;
use super::connect::Applicant;
use super::consult::Admission;
use super::waiting::Settled;
use crate::cluster::{COUNTS_LIVE, Cluster, Counted};
use crate::hub::Name;
use crate::metrics::Limit;
use crate::reason::Reason;
use table::Table;

/// What a client hears that would be one too many.
const TOO_MANY_SOCKETS: &str = "too many sockets";

/// How often everything is written again, so that Redis does not forget it.
const REFRESH: Duration = Duration::from_secs(COUNTS_LIVE.as_secs() / 3);

/// How often it is looked whether refusals are final.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A namespace and a user in it.
type User = (Name, Name);

/// How many sockets users have.
#[derive(Debug)]
pub(super) struct Quota {
    max: usize,
    cluster: Arc<Cluster>,
    table: Mutex<Table>,
    changed: Notify,
    is_refused: AtomicBool,
}

/// A user's socket, from before it enters until it is gone.
#[derive(Debug)]
pub(super) struct Seat {
    quota: Arc<Quota>,
    user: User,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let quota = &self.quota;
        if quota.table.lock().leave(&self.user, quota.cluster.is_shared()) {
            quota.changed.notify_one();
        }
    }
}

/// Whether there is a seat.
enum Taken {
    Now(Seat),
    Full,
    Soon(oneshot::Receiver<Seat>),
}

impl Quota {
    /// `None` where there is no limit.
    pub(super) fn new(max: usize, cluster: &Arc<Cluster>) -> Option<Arc<Self>> {
        let quota = || Self {
            max,
            cluster: Arc::clone(cluster),
            table: Mutex::default(),
            changed: Notify::new(),
            is_refused: AtomicBool::new(false),
        };
        (max > 0).then(|| Arc::new(quota()))
    }

    fn take(self: &Arc<Self>, user: User) -> Taken {
        let mut table = self.table.lock();
        if table.here(&user) >= self.max {
            return Taken::Full;
        }
        if !self.cluster.is_shared() {
            table.enter(&user);
            drop(table);
            return Taken::Now(self.seat(user));
        }
        let (sender, receiver) = oneshot::channel();
        table.wait(user, sender);
        self.changed.notify_one();
        Taken::Soon(receiver)
    }

    fn seat(self: &Arc<Self>, user: User) -> Seat {
        let quota = Arc::clone(self);
        Seat { quota, user }
    }

    /// Keeps Redis up to date, and asks it for those who wait, for as long as the node runs.
    pub(super) async fn keep(self: Arc<Self>) {
        let Some(mut lapses) = self.cluster.lapses() else {
            return; // alone everything is known at once
        };
        let mut refresh = tokio::time::interval_at(Instant::now() + REFRESH, REFRESH);
        let mut look = tokio::time::interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_lost = lapses.has_changed().unwrap_or(false);
            if is_lost {
                lapses.mark_unchanged();
                self.table.lock().write_all();
            }
            if self.ask().await {
                continue;
            }
            let has_doubts = self.table.lock().has_doubts();
            tokio::select! {
                () = self.changed.notified() => {}
                changed = lapses.changed() => match changed {
                    Ok(()) => lapses.mark_changed(), // seen above
                    Err(_) => return,
                },
                _ = refresh.tick() => self.table.lock().write_all(),
                _ = look.tick(), if has_doubts => {
                    let beats = self.cluster.beats();
                    self.table.lock().look_again(&beats, Instant::now());
                }
            }
        }
    }

    /// Asks for some who wait, and tells of some who have left. False where there is nobody.
    async fn ask(self: &Arc<Self>) -> bool {
        let asks = self.table.lock().batch();
        if asks.is_empty() {
            return false;
        }
        let beats = Arc::new(self.cluster.beats());
        let counted = asks.iter().map(|ask| {
            let (namespace, user) = &ask.user;
            self.cluster
                .count((namespace, user), ask.sockets(self.max), beats.runs())
        });
        let counted = join_all(counted).await;
        for (ask, counted) in asks.iter().zip(counted) {
            if let Counted::Unknown(Some(words)) = &counted
                && !self.is_refused.swap(true, Ordering::Relaxed)
            {
                error!(
                    words,
                    "Redis does not count users' sockets: limits.sockets_per_user holds for this node alone"
                );
            }
            let granted = self
                .table
                .lock()
                .counted(ask, &counted, self.max, &beats, Instant::now());
            for answer in granted {
                // Where nobody waits any more, the seat is dropped at once.
                let _ = answer.send(self.seat((Name::clone(&ask.user.0), Name::clone(&ask.user.1))));
            }
        }
        true
    }
}

impl Client {
    /// Lets a client in whose user may have one more socket.
    pub(super) fn admit(&mut self, applicant: Applicant, admission: Admission) -> Result<(), Reason> {
        let (Some(quota), Some(user)) = (self.shared.quota.as_ref(), admission.user()) else {
            return self.approach(applicant, admission);
        };
        let namespace = Name::clone(&applicant.namespace);
        match quota.take((Name::clone(&namespace), user)) {
            Taken::Now(seat) => self.seated(applicant, admission, Some(seat)),
            Taken::Full => self.seated(applicant, admission, None),
            Taken::Soon(seat) => {
                let settled = async move {
                    let seat = seat.await.ok();
                    Settled::Seated(Box::new((applicant, admission)), seat)
                };
                self.wait_for(&namespace, None, Box::pin(settled));
                Ok(())
            }
        }
    }

    /// Goes on with a client for which there is a seat, or none.
    pub(super) fn seated(
        &mut self,
        mut applicant: Applicant,
        admission: Admission,
        seat: Option<Seat>,
    ) -> Result<(), Reason> {
        let Some(seat) = seat else {
            self.shared.metrics.limited(Limit::SocketsPerUser);
            return self.turn_down(&applicant.namespace, TOO_MANY_SOCKETS, None, "limits.sockets_per_user");
        };
        applicant.seat = Some(Box::new(seat));
        self.approach(applicant, admission)
    }
}
