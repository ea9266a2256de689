//! A set of public keys (JWKS) in a file or at a URL: read at the start and again and again, and out of turn when a
//! token names a key that is not there.
//!
//! A set that cannot be read changes nothing: the last one that could be stays.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use hyper::Uri;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::fetch;
use super::keys::{self, BYTES_MAX, Key};

/// Time after which a set is read again.
const AGE_MAX: Duration = Duration::from_secs(300);

/// The shortest time between two readings that tokens ask for.
const SEEK_EVERY: Duration = Duration::from_secs(30);

/// Time after which a reading that failed is tried again, while there is a set and while there is none.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_EMPTY: Duration = Duration::from_secs(2);

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a token waits for a reading: longer than one takes.
const PATIENCE: Duration = Duration::from_secs(6);

/// Names of keys that are remembered not to be in the set.
const ABSENT_MAX: usize = 10_000;

/// Where a set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// At a URL.
    Url(Uri),
    /// In a file.
    File(PathBuf),
}

/// The set.
#[derive(Debug)]
pub(super) struct Jwks {
    location: Location,
    state: Mutex<State>,
    wanted: Notify,
    /// The number of the last reading that ended, and whether it was one.
    done: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<[Key]>>,
    /// Readings that were asked for, and that have begun.
    asked: u64,
    begun: u64,
    /// When a token asked for one last.
    sought: Option<Instant>,
    /// Names, hashed, that were looked for in this set in vain.
    absent: HashSet<u64, RandomState>,
    hasher: RandomState,
    is_failing: bool,
}

/// What there is to say of a key that is not in the set.
pub(super) enum Sought {
    /// It was looked for and is not there.
    Absent,
    /// Nobody can say, and nobody is looking.
    Unknown,
    /// Somebody is looking; whether the set could be read, and was asked for after the token came.
    Soon(Pin<Box<dyn Future<Output = bool> + Send>>),
}

impl Location {
    /// Reads a URL, or else takes the text for a file's name.
    ///
    /// # Errors
    /// With what is wrong with the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::File(text.into()));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(format!(
                "\"{scheme}://\" is not known: write http://, https:// or the name of a file"
            ));
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err("holds a user or password, or no host: a set of public keys needs neither".into());
        }
        Ok(Self::Url(uri))
    }

    async fn read(&self) -> Result<Vec<Key>, String> {
        match self {
            Self::Url(uri) => keys::read_set(&fetch::get(uri, BYTES_MAX).await?),
            Self::File(path) => keys::read_set(&keys::read_file(path)?),
        }
    }

    /// When the file was changed last, and how long it is.
    fn look(&self) -> Option<(SystemTime, u64)> {
        match self {
            Self::Url(_) => None,
            Self::File(path) => {
                let metadata = std::fs::metadata(path).ok()?;
                Some((metadata.modified().ok()?, metadata.len()))
            }
        }
    }
}

impl Jwks {
    /// Begins to read; it goes on for as long as somebody holds this.
    pub(super) fn start(location: Location) -> Arc<Self> {
        let jwks = Arc::new(Self {
            location,
            state: Mutex::new(State {
                asked: 1,
                ..State::default()
            }),
            wanted: Notify::new(),
            done: watch::Sender::new((0, false)),
        });
        tokio::spawn(keep(Arc::downgrade(&jwks)));
        jwks
    }

    /// The keys that were read last.
    pub(super) fn keys(&self) -> Option<Arc<[Key]>> {
        self.state.lock().keys.clone()
    }

    /// A token names a key that is not in the set, or none and no key has signed it.
    pub(super) fn seek(self: &Arc<Self>, id: Option<&str>) -> Sought {
        let mut state = self.state.lock();
        let now = Instant::now();
        let is_due = state.sought.is_none_or(|sought| now - sought >= SEEK_EVERY);
        let mut is_late = false;
        let number = if state.asked > self.done.borrow().0 {
            is_late = state.begun == state.asked; // what is on its way may be older than the key
            state.asked
        } else if state.keys.is_none() {
            return Sought::Unknown; // tried again by itself
        } else if is_due {
            state.sought = Some(now);
            state.asked += 1;
            self.wanted.notify_one();
            state.asked
        } else {
            let is_absent = id.is_none_or(|id| state.absent.contains(&state.hash(id)));
            return if is_absent { Sought::Absent } else { Sought::Unknown };
        };
        drop(state);
        let mut done = self.done.subscribe();
        Sought::Soon(Box::pin(async move {
            let done = tokio::time::timeout(PATIENCE, done.wait_for(|(done, _)| *done >= number)).await;
            !is_late && matches!(done, Ok(Ok(done)) if done.1)
        }))
    }

    /// The set was read, and this key is not in it.
    pub(super) fn remember(&self, id: Option<&str>) {
        let mut state = self.state.lock();
        if let Some(id) = id
            && state.absent.len() < ABSENT_MAX
        {
            let hash = state.hash(id);
            state.absent.insert(hash);
        }
    }

    /// Reads once; whether that was one.
    async fn read(&self) -> bool {
        let number = {
            let mut state = self.state.lock();
            state.begun = state.asked;
            state.begun
        };
        let read = self.location.read().await;
        let is_read = read.is_ok();
        let mut state = self.state.lock();
        let was_failing = std::mem::replace(&mut state.is_failing, !is_read);
        match read {
            Ok(keys) => {
                state.absent.clear();
                state.keys = Some(keys.into());
                drop(state);
                if was_failing {
                    info!("the set of token keys can be read again");
                }
            }
            Err(problem) => {
                let has_keys = state.keys.is_some();
                drop(state);
                if !was_failing && has_keys {
                    warn!("the set of token keys {problem}; the keys read before stay");
                } else if !was_failing {
                    warn!("the set of token keys {problem}: no token can be judged by it yet");
                }
            }
        }
        self.done.send_replace((number, is_read));
        is_read
    }
}

impl State {
    fn hash(&self, id: &str) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(id)
    }
}

/// Reads the set again and again.
async fn keep(jwks: Weak<Jwks>) {
    loop {
        let Some(held) = jwks.upgrade() else { return };
        let seen = held.location.look();
        let is_read = held.read().await;
        let has_keys = held.state.lock().keys.is_some();
        let wait = match (is_read, has_keys) {
            (true, _) => AGE_MAX,
            (false, true) => RETRY,
            (false, false) => RETRY_EMPTY,
        };
        drop(held);
        rest(&jwks, wait, seen).await;
    }
}

/// Waits until it is time to read, a token asks for it, or the file is another one; or until nobody is left.
async fn rest(jwks: &Weak<Jwks>, wait: Duration, seen: Option<(SystemTime, u64)>) {
    let until = Instant::now() + wait;
    loop {
        let Some(held) = jwks.upgrade() else { return };
        if held.location.look() != seen {
            return;
        }
        let step = until.min(Instant::now() + LOOK_EVERY);
        let is_wanted = tokio::time::timeout_at(step, held.wanted.notified()).await.is_ok();
        if is_wanted || Instant::now() >= until {
            return;
        }
    }
}
