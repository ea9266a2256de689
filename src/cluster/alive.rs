//! Which other gateways are there. Pure: time is an argument.
//!
//! A gateway is gone when it says so, or when five of its heartbeats are missing. What is missing is told by our own
//! heartbeats, which come back by the same channel: while those do not, we hear nobody, and nobody is declared dead.

use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::gossip::Node;

/// Heartbeats that may be missing.
const MISSED_MAX: u32 = 5;

/// Gateways that are kept count of; anybody may say to be one.
const NODES_MAX: usize = 1000;

/// Heartbeats that are believed to be somebody's.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

const HEARTBEAT_MAX: Duration = Duration::from_mins(1);

/// Time that others have at least when Redis was away: they connect anew every one to two seconds, and then see whether
/// what they publish comes back.
pub(super) const RETURN_MIN: Duration = Duration::from_secs(5);

/// How often each other gateway was heard of.
#[derive(Clone, Debug, Default)]
pub struct Beats(HashMap<CompactString, u64, RandomState>);

/// The other gateways.
#[derive(Debug)]
pub(super) struct Alive {
    nodes: HashMap<CompactString, Heard, RandomState>,
    /// Time between our own heartbeats.
    heartbeat: Duration,
    /// The time in which we heard ourselves.
    clock: Duration,
    /// When we did so last.
    echoed: Option<Instant>,
}

#[derive(Debug)]
struct Heard {
    node: Node,
    /// When, by our clock.
    at: Duration,
    /// How often.
    times: u64,
}

impl Alive {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self {
            nodes: HashMap::default(),
            heartbeat,
            clock: Duration::ZERO,
            echoed: None,
        }
    }

    /// A gateway says that it is there. True where that is news.
    pub(super) fn heard(&mut self, node: Node) -> bool {
        let at = self.clock;
        if let Some(known) = self.nodes.get_mut(&node.run) {
            let times = known.times + 1;
            *known = Heard { node, at, times };
            return false;
        }
        if self.nodes.len() >= NODES_MAX {
            return false;
        }
        self.nodes.insert(node.run.clone(), Heard { node, at, times: 1 });
        true
    }

    /// A gateway says that it is gone.
    pub(super) fn left(&mut self, run: &str) -> Option<Node> {
        self.nodes.remove(run).map(|heard| heard.node)
    }

    /// A heartbeat of our own came back: those that are gone.
    pub(super) fn echo(&mut self, now: Instant) -> Vec<Node> {
        if let Some(last) = self.echoed.replace(now) {
            self.clock += now.duration_since(last).min(self.heartbeat * 2);
        }
        let clock = self.clock;
        let is_gone = |heard: &Heard| clock.saturating_sub(heard.at) >= heard.patience(self.heartbeat);
        let gone = self.nodes.extract_if(|_, heard| is_gone(heard));
        gone.map(|(_, heard)| heard.node).collect()
    }

    /// Whether others may have declared us dead before the heartbeat that comes back now.
    pub(super) fn was_silent(&self, now: Instant) -> bool {
        self.echoed
            .is_some_and(|last| now.duration_since(last) >= self.heartbeat * MISSED_MAX)
    }

    /// We hear again after a while in which we did not: all others get their whole time again.
    pub(super) fn resume(&mut self) {
        self.echoed = None;
        for heard in self.nodes.values_mut() {
            heard.at = self.clock + RETURN_MIN.saturating_sub(heard.patience(self.heartbeat));
        }
    }

    /// All that are there.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|heard| &heard.node)
    }

    /// How often each was heard.
    pub(super) fn beats(&self) -> Beats {
        let beats = self.nodes.iter().map(|(run, heard)| (run.clone(), heard.times));
        Beats(beats.collect())
    }

    /// How many are there, ourselves left out.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

impl Beats {
    /// Whether each of those gateways was heard of again since, or is gone.
    pub fn are_over(&self, now: &Self) -> bool {
        self.0
            .iter()
            .all(|(run, times)| now.0.get(run).is_none_or(|later| later > times))
    }

    #[cfg(test)]
    pub(crate) fn of(beats: &[(&str, u64)]) -> Self {
        let beats = beats.iter().map(|(run, times)| (CompactString::from(*run), *times));
        Self(beats.collect())
    }

    /// The gateways.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(CompactString::as_str)
    }
}

impl Heard {
    fn patience(&self, ours: Duration) -> Duration {
        let theirs = Duration::from_millis(self.node.heartbeat).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        ours.max(theirs) * MISSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    fn node(run: &str) -> Node {
        Node {
            run: run.into(),
            heartbeat: 1000,
            ..Node::default()
        }
    }

    /// Beats of our own from the second `from` to the second `to`: who is gone, and in which second.
    fn beats(alive: &mut Alive, start: Instant, from: u32, to: u32) -> Vec<(u32, CompactString)> {
        let seconds = from..=to;
        seconds
            .flat_map(|second| {
                let gone = alive.echo(start + BEAT * second);
                gone.into_iter().map(move |node| (second, node.run))
            })
            .collect()
    }

    #[test]
    fn a_gateway_is_gone_after_five_missed_heartbeats_and_no_sooner() {
        let (mut alive, start) = (Alive::new(BEAT), Instant::now());
        alive.echo(start);
        assert!(alive.heard(node("a")));
        assert!(!alive.heard(node("a")));
        assert!(alive.heard(node("b")));
        assert_eq!(beats(&mut alive, start, 1, 4), []);
        alive.heard(node("b"));
        assert_eq!(beats(&mut alive, start, 5, 8), [(5, "a".into())]);
        assert_eq!(beats(&mut alive, start, 9, 9), [(9, "b".into())]);
        assert_eq!(alive.len(), 0);
        assert!(alive.heard(node("a")), "it may come back");
    }

    #[test]
    fn nobody_is_gone_because_we_are_deaf() {
        let (mut alive, start) = (Alive::new(BEAT), Instant::now());
        alive.echo(start);
        alive.heard(node("a"));
        assert_eq!(beats(&mut alive, start, 1, 2), []);
        // An hour without an echo, whether or not somebody noticed; then all have their time again.
        assert_eq!(beats(&mut alive, start, 3600, 3600), []);
        alive.resume();
        assert_eq!(beats(&mut alive, start, 7200, 7204), []);
        assert_eq!(beats(&mut alive, start, 7205, 7205), [(7205, "a".into())]);
    }

    #[test]
    fn who_beats_fast_still_has_time_to_come_back_to_redis() {
        let beat = HEARTBEAT_MIN;
        let (mut alive, start) = (Alive::new(beat), Instant::now());
        let fast = Node {
            heartbeat: 100,
            ..node("a")
        };
        alive.heard(fast.clone());
        alive.resume();
        let gone_after = |alive: &mut Alive| (0..).find(|number| !alive.echo(start + beat * *number).is_empty());
        assert_eq!(gone_after(&mut alive), Some(50));
        alive.heard(fast);
        alive.echoed = None;
        assert_eq!(gone_after(&mut alive), Some(5));
    }

    #[test]
    fn who_beats_more_slowly_is_given_its_own_time() {
        let (mut alive, start) = (Alive::new(BEAT), Instant::now());
        alive.echo(start);
        alive.heard(Node {
            heartbeat: 3000,
            ..node("slow")
        });
        alive.heard(Node {
            heartbeat: u64::MAX,
            ..node("liar")
        });
        assert_eq!(beats(&mut alive, start, 1, 14), []);
        assert_eq!(beats(&mut alive, start, 15, 15), [(15, "slow".into())]);
        assert_eq!(beats(&mut alive, start, 16, 300), [(300, "liar".into())]);
    }

    #[test]
    fn a_goodbye_is_believed_at_once() {
        let mut alive = Alive::new(BEAT);
        alive.heard(node("a"));
        assert_eq!(alive.left("a").map(|node| node.run), Some("a".into()));
        assert_eq!(alive.left("a"), None);
    }

    #[test]
    fn whether_all_were_heard_of_since() {
        let mut alive = Alive::new(BEAT);
        assert!(alive.beats().are_over(&alive.beats()), "there is nobody");
        alive.heard(node("a"));
        alive.heard(node("b"));
        let before = alive.beats();
        assert!(!before.are_over(&alive.beats()));
        alive.heard(node("a"));
        alive.heard(node("new"));
        assert!(!before.are_over(&alive.beats()));
        alive.left("b");
        assert!(before.are_over(&alive.beats()));
    }

    #[test]
    fn not_everybody_can_be_a_gateway() {
        let mut alive = Alive::new(BEAT);
        for number in 0..NODES_MAX {
            assert!(alive.heard(node(&number.to_string())));
        }
        assert!(!alive.heard(node("one more")));
        assert_eq!(alive.nodes().count(), NODES_MAX);
    }
}
