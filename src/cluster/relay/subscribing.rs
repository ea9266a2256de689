//! The subscriber's end: does what the table of subscriptions says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use super::Relay;
use crate::cluster::redis::Failure;
use crate::cluster::subscriptions::Purpose;

/// Channels in one SUBSCRIBE.
const SUBSCRIBE_MAX: usize = 1000;

impl Relay {
    /// Does what the table of subscriptions says.
    pub(super) async fn keep_subscribed(self: Arc<Self>) {
        loop {
            if !self.redis.is_subscriber_up() {
                self.subscribe.notified().await;
                continue;
            }
            let (generation, wanted, lapsed, next_lapse) = {
                let mut state = self.state.lock();
                let wanted = state.table.take_wanted(SUBSCRIBE_MAX);
                let lapsed = state.table.take_lapsed(Instant::now(), SUBSCRIBE_MAX);
                (state.table.generation(), wanted, lapsed, state.table.next_lapse())
            };
            let is_idle = [&wanted, &lapsed]
                .iter()
                .all(|(exact, patterns)| exact.is_empty() && patterns.is_empty());
            if is_idle {
                self.settle();
                let lapse = next_lapse.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
                tokio::select! {
                    () = self.subscribe.notified() => {}
                    () = tokio::time::sleep_until(lapse.into()) => {}
                }
                continue;
            }
            self.subscribe_to(wanted, generation).await;
            self.unsubscribe_from(lapsed, generation).await;
        }
    }

    /// Everything that was wanted is subscribed: the next probe says whether all is well.
    fn settle(&self) {
        let mut state = self.state.lock();
        if state.table.is_settled() && !std::mem::replace(&mut state.is_subscribed, true) {
            drop(state);
            self.probe.notify_one();
        }
    }

    async fn subscribe_to(&self, (exact, patterns): (Vec<Arc<str>>, Vec<Arc<str>>), generation: u64) {
        for (names, is_pattern) in [(exact, false), (patterns, true)] {
            if names.is_empty() {
                continue;
            }
            match self.ask(&names, is_pattern).await {
                Ok(()) => self.state.lock().table.settle(&names, generation, true),
                // Redis refuses all where it refuses one.
                Err(Failure::Refused(_)) => {
                    for name in &names {
                        let name = std::slice::from_ref(name);
                        let result = self.ask(name, is_pattern).await;
                        if let Err(Failure::Refused(words)) = &result {
                            self.refused(&name[0], words);
                        }
                        let is_live = result.is_ok() || is_pattern; // without patterns we go on by names
                        self.state.lock().table.settle(name, generation, is_live);
                    }
                }
                Err(failure) => self.lost(&failure),
            }
        }
    }

    /// Some managed Redis, and users who may hear a list of channels, allow no patterns.
    fn refused(&self, name: &str, words: &str) {
        if self
            .purpose(name)
            .is_some_and(|(purpose, _)| purpose == Purpose::Private)
        {
            if self.routes.do_without_patterns() {
                warn!(words, "Redis refuses patterns: private rooms are subscribed one by one");
            }
        } else {
            error!(channel = name, words, "Redis refuses a subscription");
        }
    }

    async fn ask(&self, names: &[Arc<str>], is_pattern: bool) -> Result<(), Failure> {
        if is_pattern {
            self.redis.psubscribe(names.to_vec()).await
        } else {
            self.redis.subscribe(names.to_vec()).await
        }
    }

    async fn unsubscribe_from(&self, (exact, patterns): (Vec<Arc<str>>, Vec<Arc<str>>), generation: u64) {
        for (names, is_pattern) in [(exact, false), (patterns, true)] {
            if names.is_empty() {
                continue;
            }
            let result = if is_pattern {
                self.redis.punsubscribe(names.clone()).await
            } else {
                self.redis.unsubscribe(names.clone()).await
            };
            match result {
                Ok(()) => self.state.lock().table.unsubscribed(&names, generation),
                Err(failure) => self.lost(&failure),
            }
        }
    }

    /// A subscription was not answered; with the connection everything is subscribed anew.
    fn lost(&self, failure: &Failure) {
        debug!(%failure, "subscriptions could not be changed");
        if *failure == Failure::Timeout {
            self.go_away("a subscription was not answered");
            self.redis.reset_subscriber();
        }
    }
}
