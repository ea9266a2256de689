//! `room.occupied`, `room.vacated` and `node.lost`: the application is told once, by one of all gateways.
//!
//! ```text
//! rooms that changed ─▶ what are they now? ─▶ Redis: are we the first, the last? ─▶ the application
//! a gateway is gone  ─▶ who clears up after it? ─▶ its rooms, one by one          ─▶ the application
//! ```
//!
//! States are compared, not movements followed: a room that is left and joined again before anybody looks has not
//! changed. While Redis is away nothing is told; when it is back all is compared anew.

mod table;

use std::sync::Arc;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, sleep_until};
use tracing::{debug, error};

use super::SocketIo;
use crate::backend::webhook::{Event, Kind, Webhooks};
use crate::cluster::redis::Failure;
use crate::cluster::{Cleared, Cluster, Gone, Place, ROOMS_LIVE};
use crate::hub::{Hub, Name};
use crate::limits::Seldom;
use crate::protocol::ids::IdGenerator;
use table::{Ask, Table, Told};

/// How often everything is written again, so that Redis does not forget it.
const REFRESH: Duration = Duration::from_secs(ROOMS_LIVE.as_secs() / 4);

/// How soon what failed or is another's turn is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often that is done.
const TRIES_MAX: usize = 600;

/// Tells the application what rooms and gateways do.
struct Teller {
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    webhooks: Arc<Webhooks>,
    ids: Arc<IdGenerator>,
    rooms: bool,
    /// When it was said last that Redis refuses to keep them.
    refused: Seldom,
}

impl SocketIo {
    /// What tells the application of rooms and gateways, for as long as it is polled; `None` where it does not want to
    /// know.
    pub fn tell_of_rooms(&self) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        let webhooks = self.webhooks.clone()?;
        let rooms = webhooks.wants(Kind::RoomOccupied) || webhooks.wants(Kind::RoomVacated);
        if !rooms && !webhooks.wants(Kind::NodeLost) {
            return None;
        }
        let teller = Arc::new(Teller {
            hub: Arc::clone(&self.hub),
            cluster: Arc::clone(&self.cluster),
            webhooks,
            ids: Arc::clone(&self.ids),
            rooms,
            refused: Seldom::default(),
        });
        self.cluster.watch();
        Some(teller.run())
    }
}

impl Teller {
    async fn run(self: Arc<Self>) {
        let mut lapses = self.cluster.lapses();
        let mut tasks = JoinSet::new(); // they end with this one
        if self.rooms && lapses.is_some() {
            tasks.spawn(Arc::clone(&self).clear_up_after_the_unknown());
        }
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        let is_up = self.cluster.up().is_some_and(|up| *up.borrow());
        let mut table = Table::new(is_up);
        let mut waiting = Vec::new();
        loop {
            if lapses
                .as_ref()
                .is_some_and(|lapses| lapses.has_changed().unwrap_or(false))
            {
                lapses.iter_mut().for_each(|lapses| lapses.mark_unchanged());
                let is_alone = self.cluster.beats().runs().next().is_none();
                table.write_all(Instant::now(), is_alone);
            }
            let changed = self.cluster.changed();
            if self.rooms {
                table.look_at(changed.rooms);
            }
            for gone in changed.gone {
                tasks.spawn(Arc::clone(&self).on_gone(gone));
            }
            waiting.extend(changed.waiting);
            if self.step(&mut table).await {
                continue;
            }
            for waits in waiting.drain(..) {
                let _ = waits.send(()); // it may be gone
            }
            let due = table.due().unwrap_or_else(|| Instant::now() + REFRESH);
            tokio::select! {
                Some(_) = tasks.join_next() => {}
                () = self.cluster.news() => {}
                Some(()) = lapsed(lapses.as_mut()) => {}
                () = sleep_until(due) => table.wake(Instant::now()),
                _ = refresh.tick() => table.refresh(),
            }
        }
    }

    /// Does what some of the rooms that changed want. False where there is none.
    async fn step(&self, table: &mut Table) -> bool {
        let is_occupied = |(namespace, room): &Place| self.hub.is_occupied(namespace, room);
        let new_id = || {
            let id = self.ids.next();
            id.map_or_else(|_| CompactString::default(), |id| id.as_str().into())
        };
        let Some(asks) = table.batch(Instant::now(), is_occupied, new_id) else {
            return false;
        };
        let answers = asks.into_iter().map(|ask| async move {
            match ask {
                Ask::Occupy { place, known, fresh } => {
                    let id = self.cluster.occupy(&place, known, fresh).await;
                    table::Answer::Occupied(place, id)
                }
                Ask::Vacate { place, known, is_final } => {
                    let vacated = self.cluster.vacate(&place, known, is_final).await;
                    table::Answer::Vacated(place, vacated)
                }
            }
        });
        let answers = join_all(answers).await;
        let refused = answers.iter().find_map(|answer| match answer.failure() {
            Some(Failure::Refused(words)) => Some(words),
            _ => None,
        });
        if let Some(words) = refused.filter(|_| self.refused.is_time()) {
            error!(words, "Redis does not keep rooms: the application is not told of them");
        }
        for answer in answers {
            match table.answered(answer, Instant::now()) {
                Some(Told::Occupied(place, id)) => self.tell_room(Kind::RoomOccupied, &place, &id),
                Some(Told::Vacated(place, id)) => self.tell_room(Kind::RoomVacated, &place, &id),
                None => {}
            }
        }
        true
    }

    /// The id of the notice is made from the occupancy's: whoever repeats it says the same.
    fn tell_room(&self, kind: Kind, (namespace, room): &Place, id: &str) {
        if !self.webhooks.wants(kind) {
            return;
        }
        let what = if kind == Kind::RoomOccupied {
            "occupied"
        } else {
            "vacated"
        };
        let event = Event::elsewhere(kind, format_compact!("{id}-{what}"), Some(Name::clone(namespace)));
        let line = format!("room:{}:{namespace}:{room}", namespace.len());
        self.webhooks.notify(&line, event.with("room", room));
    }

    /// A gateway is gone: one of those that are there tells of it, and of the rooms in which nobody else was.
    async fn on_gone(self: Arc<Self>, gone: Gone) {
        let node = &gone.node;
        if gone.is_lost {
            // Where Redis does not say whose it is, it is told twice rather than never.
            let is_ours = self.cluster.is_ours_to_tell(&node.run).await.unwrap_or(true);
            if is_ours && self.webhooks.wants(Kind::NodeLost) {
                let id = format_compact!("{}-lost", node.run);
                let lost = json!({"id": node.tag, "address": node.address, "version": node.version});
                let event = Event::elsewhere(Kind::NodeLost, id, None).with_json("lost", &lost.to_string());
                self.webhooks.notify("node.lost", event);
            }
        }
        if self.rooms {
            self.clear_up(&node.run).await;
        }
    }

    /// Takes a gateway that is gone out of its rooms.
    async fn clear_up(&self, run: &str) {
        let mut tries = 0;
        while tries < TRIES_MAX {
            if self.cluster.is_alive(run) {
                return; // it was only slow, and writes its rooms again
            }
            match self.cluster.clear_up(run).await {
                Ok(Cleared::All) => return,
                Ok(Cleared::ByAnother) => {
                    tries += 1;
                    sleep(AGAIN).await;
                }
                Ok(Cleared::Some(vacated)) => {
                    for (place, id) in vacated {
                        self.tell_room(Kind::RoomVacated, &place, &id);
                    }
                }
                Err(failure) => {
                    tries += 1;
                    debug!(%failure, run, "a gateway's rooms are not cleared up yet");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Clears up after gateways that died while nobody was there to see it.
    async fn clear_up_after_the_unknown(self: Arc<Self>) {
        sleep(self.cluster.acquaintance()).await;
        let runs = self.cluster.runs_with_rooms().await.unwrap_or_default(); // else the next one to start finds them
        for run in runs {
            self.clear_up(&run).await;
        }
    }
}

/// Waits until Redis may have lost something.
async fn lapsed(lapses: Option<&mut tokio::sync::watch::Receiver<u64>>) -> Option<()> {
    let lapses = lapses?;
    lapses.changed().await.ok()?;
    lapses.mark_changed(); // looked at by who waits
    Some(())
}
