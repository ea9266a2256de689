//! One run: what all its tasks share, and its way from the first connection to the report.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::client::{Client, Manner};
use super::failure::Failure;
use super::plan::{Case, Plan};
use super::process::Reading;
use super::progress::Progress;
use super::quantiles::Times;
use super::report::{Bench, Counts, Report, Server, rounded};
use super::talk::Talk;
use super::target::{Place, Target, Way};
use super::trouble::Trouble;
use super::{connect, echo, fanout};
use crate::protocol::Version;

/// Room for what a client that never reads is sent: little, so that it is full soon.
const STALLED_RECEIVE_BYTES: u32 = 4096;

/// What the tasks of a run share.
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) manner: Manner,
    pub(super) progress: Rc<Progress>,
    /// How long connecting took, up to the namespace.
    pub(super) connects: Times,
    pub(super) connected: Cell<u64>,
    failed: RefCell<Counts>,
    closed: RefCell<Counts>,
    stage: Cell<Stage>,
    /// When that began.
    entered: Cell<Instant>,
    signals: Cell<u32>,
    trouble: RefCell<Option<Trouble>>,
    changed: Notify,
    targets: Vec<Rc<Target>>,
    publish_targets: Vec<Rc<Target>>,
    start: Instant,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Clients connect, and what they do is not measured yet.
    Before,
    /// What they do is measured.
    Measured,
    /// Nothing is begun any more.
    Over,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    /// Which of the publishers.
    Publisher(usize),
    /// Never reads.
    Stalled,
}

/// Carries out a plan.
pub(super) async fn run(plan: Plan) -> Result<Report, Trouble> {
    let run = Rc::new(Run::new(plan).await?);
    let signals = tokio::task::spawn_local(listen(Rc::clone(&run)));
    let ticker = tokio::task::spawn_local(Rc::clone(&run.progress).tell());
    let report = match run.plan.case.clone() {
        Case::Connect { clients, hold } => connect::stay(&run, clients, hold).await,
        Case::Churn { rate } => connect::churn(&run, rate).await,
        Case::Echo { clients, window, event } => echo::echo(&run, clients, window, &event).await,
        Case::Fanout(plan) => fanout::fanout(&run, plan).await,
    };
    signals.abort();
    ticker.abort();
    run.progress.clear();
    match run.trouble.take() {
        Some(trouble) => Err(trouble),
        None => report,
    }
}

/// Ends the run at the first signal, and without waiting for anything at the second.
async fn listen(run: Rc<Run>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        run.signals.set(run.signals.get() + 1);
        run.changed.notify_waiters();
    }
}

impl Run {
    async fn new(plan: Plan) -> Result<Self, Trouble> {
        let targets = resolve(&plan.urls).await?;
        let publish_targets = match &*plan.publish_urls {
            [] => targets.clone(),
            urls => resolve(urls).await?,
        };
        Ok(Self {
            manner: Manner {
                transport: plan.transport,
                talk: Talk::new(plan.version, plan.parser, &plan.namespace, plan.token.clone()),
            },
            progress: Rc::new(Progress::new(plan.shows_progress)),
            plan,
            connects: Times::new(),
            connected: Cell::new(0),
            failed: RefCell::default(),
            closed: RefCell::default(),
            stage: Cell::new(Stage::Before),
            entered: Cell::new(Instant::now()),
            signals: Cell::new(0),
            trouble: RefCell::default(),
            changed: Notify::new(),
            targets,
            publish_targets,
            start: Instant::now(),
        })
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.entered.set(Instant::now());
        self.changed.notify_waiters();
    }

    /// How far the run is, for people.
    pub(super) fn stage_words(&self) -> String {
        let elapsed = self.entered.get().elapsed().as_secs();
        match self.stage() {
            Stage::Before => "warming up".to_owned(),
            Stage::Measured => format!("{elapsed} of {} s", self.plan.time.as_secs()),
            Stage::Over => "waiting for stragglers".to_owned(),
        }
    }

    /// Whether the run is to end early.
    pub(super) fn is_ended(&self) -> bool {
        self.signals.get() > 0 || self.trouble.borrow().is_some()
    }

    /// Whether nothing is to be waited for any more.
    pub(super) fn is_hurried(&self) -> bool {
        self.signals.get() > 1 || self.trouble.borrow().is_some()
    }

    /// Ends the run: what comes of it would mean nothing.
    pub(super) fn give_up(&self, trouble: Trouble) {
        self.trouble.borrow_mut().get_or_insert(trouble);
        self.changed.notify_waiters();
    }

    /// What ended the run, if something did.
    pub(super) fn trouble(&self) -> Result<(), Trouble> {
        self.trouble.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits, but not longer than the run goes on.
    pub(super) async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.ended()).await; // either is the end of it
    }

    /// Waits until the run is to end early.
    async fn ended(&self) {
        while !self.is_ended() {
            self.changed.notified().await;
        }
    }

    /// Connects client number `index`, and counts how that goes.
    pub(super) async fn open(&self, index: usize, role: Role) -> Option<Client> {
        let (targets, turn) = match role {
            Role::Publisher(turn) => (&self.publish_targets, turn),
            Role::Client | Role::Stalled => (&self.targets, index),
        };
        let way = Way {
            target: Rc::clone(&targets[turn % targets.len()]),
            index,
            sources: self.plan.sources,
            receive_bytes: (role == Role::Stalled).then_some(STALLED_RECEIVE_BYTES),
        };
        let start = self.now();
        let opened = tokio::select! {
            opened = Client::open(&self.manner, way) => opened,
            () = self.ended() => return None,
        };
        match opened {
            Ok(client) => {
                self.connects.add(self.now() - start);
                self.connected.set(self.connected.get() + 1);
                Some(client)
            }
            Err(failure) => {
                self.failed(&failure);
                None
            }
        }
    }

    /// Counts a connection that was not made.
    pub(super) fn failed(&self, failure: &Failure) {
        *self.failed.borrow_mut().entry(failure.to_string()).or_default() += 1;
    }

    /// How many connections were not made.
    pub(super) fn failures(&self) -> u64 {
        self.failed.borrow().values().sum()
    }

    /// Counts a connection that ended before the run did.
    pub(super) fn closed(&self, failure: &Failure) {
        *self.closed.borrow_mut().entry(failure.to_string()).or_default() += 1;
    }

    /// How many connections ended before the run did.
    pub(super) fn losses(&self) -> u64 {
        self.closed.borrow().values().sum()
    }

    /// Connections that were not made, and those that ended before the run did, by reason.
    pub(super) fn counts(&self) -> (Counts, Counts) {
        (self.failed.borrow().clone(), self.closed.borrow().clone())
    }

    /// Without a connection there is nothing to report.
    pub(super) fn check_connected(&self) -> Result<(), Trouble> {
        self.trouble()?;
        if self.connected.get() > 0 {
            return Ok(());
        }
        let (urls, reasons) = (self.plan.urls.join(", "), listed(&self.failed.borrow()));
        Err(Trouble::Unavailable(if reasons.is_empty() {
            format!("nothing connected to {urls} before the end")
        } else {
            format!("nothing connected to {urls}: {reasons}")
        }))
    }

    /// All who connected are gone before anything was measured.
    pub(super) fn nobody_stayed(&self) -> Trouble {
        let reasons = listed(&self.closed.borrow());
        Trouble::Unavailable(format!("every connection ended before all were made: {reasons}"))
    }

    /// What the server's processes have used up to now.
    pub(super) fn server(&self) -> Reading {
        Reading::now(&self.plan.pids)
    }

    /// What this process has used up to now.
    pub(super) fn own() -> Reading {
        Reading::now(&[std::process::id()])
    }

    /// What is the same in all reports.
    pub(super) fn report(&self, connect_seconds: f64) -> Report {
        let plan = &self.plan;
        Report {
            case: plan.case.name(),
            version: env!("CARGO_PKG_VERSION"),
            urls: plan.urls.clone(),
            transport: plan.transport.to_string(),
            eio: match plan.version {
                Version::V3 => 3,
                Version::V4 => 4,
            },
            parser: plan.parser.to_string(),
            connected: self.connected.get(),
            connect_seconds: rounded(connect_seconds, 3),
            connects_per_second: rounded(self.connected.get() as f64 / connect_seconds, 1),
            connect_latency_us: self.connects.quantiles(),
            failed: self.failed.borrow().clone(),
            closed: self.closed.borrow().clone(),
            ..Report::default()
        }
    }

    /// What the server used between two readings; nothing where no process of it is known.
    pub(super) fn used(&self, before: &Reading, after: &Reading, seconds: f64) -> Option<Server> {
        let by_pid: BTreeMap<_, _> = self.plan.pids.iter().copied().zip(after.since(before)).collect();
        let cpu_seconds = after.cpu_since(before);
        (!by_pid.is_empty()).then(|| Server {
            cpu_seconds,
            cpu_seconds_by_pid: by_pid,
            busy: rounded(cpu_seconds / seconds, 3),
            resident_bytes_before: before.resident_bytes(),
            resident_bytes: after.resident_bytes(),
            ..Server::default()
        })
    }

    /// What this process used between two readings.
    pub(super) fn own_use(before: &Reading, after: &Reading, seconds: f64) -> Bench {
        Bench {
            busy: rounded(after.cpu_since(before) / seconds, 3),
            resident_bytes: after.resident_bytes(),
        }
    }
}

/// Reasons, with how often each came up.
fn listed(counts: &Counts) -> String {
    let counts = counts.iter().map(|(reason, count)| format!("{reason} ({count})"));
    counts.collect::<Vec<_>>().join(", ")
}

async fn resolve(urls: &[String]) -> Result<Vec<Rc<Target>>, Trouble> {
    let mut targets = Vec::new();
    for url in urls {
        let place = Place::parse(url).map_err(Trouble::Usage)?;
        if place.is_secure {
            crate::tls::check().map_err(Trouble::Unavailable)?;
        }
        let target = place.resolve().await;
        let target = target.map_err(|problem| Trouble::Unavailable(format!("{url} {problem}")))?;
        targets.push(Rc::new(target));
    }
    Ok(targets)
}
