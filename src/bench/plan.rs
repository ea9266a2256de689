//! What is to be measured, and how.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::stamp::STAMP_BYTES;
use super::talk::Parser;
use super::target::Place;
use super::trouble::Trouble;
use super::unanswered::LENGTH_MAX;
use crate::protocol::Version;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Servers, over which clients are spread in turn.
    pub urls: Vec<String>,
    /// Servers of publishers; none = the same.
    pub publish_urls: Vec<String>,
    /// How clients connect.
    pub transport: Transport,
    /// Their protocol.
    pub version: Version,
    /// How they write packets.
    pub parser: Parser,
    /// The namespace that they enter.
    pub namespace: String,
    /// What they show to be let in.
    pub token: Option<String>,
    /// Bytes of an event's argument.
    pub payload: usize,
    /// Time that is measured.
    pub time: Duration,
    /// Time before that.
    pub warmup: Duration,
    /// Connections that are opened at once.
    pub parallel: usize,
    /// Addresses of this machine that connections to itself come from.
    pub sources: u8,
    /// Processes of the server.
    pub pids: Vec<u32>,
    /// Whether a line on stderr tells how it goes.
    pub shows_progress: bool,
    /// What the clients do.
    pub case: Case,
}

/// What the clients do.
#[derive(Clone, Debug)]
pub enum Case {
    /// They stay.
    Connect {
        /// How many.
        clients: usize,
        /// For how long.
        hold: Duration,
    },
    /// They leave at once, and others take their place.
    Churn {
        /// Connections a second in all; 0 = as fast as possible.
        rate: f64,
    },
    /// They say events that are answered.
    Echo {
        /// How many.
        clients: usize,
        /// Events under way of each.
        window: usize,
        /// The event's name.
        event: String,
    },
    /// They hear what others publish.
    Fanout(Fanout),
}

/// Who hears what others publish.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// Subscribers.
    pub clients: usize,
    /// Rooms.
    pub rooms: usize,
    /// Rooms that each subscriber is in.
    pub rooms_per_client: usize,
    /// What rooms' names begin with.
    pub room: String,
    /// Publishers.
    pub publishers: usize,
    /// Messages under way of each publisher.
    pub window: usize,
    /// Messages a second in all, instead of the window; 0 = by the window.
    pub rate: f64,
    /// The event's name.
    pub event: String,
    /// Further subscribers that never read.
    pub stalled: usize,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By WebSocket at once.
    WebSocket,
    /// By HTTP long polling.
    Polling,
    /// By polling first, then by WebSocket, as stock clients do.
    Upgrade,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
            Self::Upgrade => "upgrade",
        })
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "polling" => Ok(Self::Polling),
            "upgrade" => Ok(Self::Upgrade),
            _ => Err("it is websocket, polling or upgrade".to_owned()),
        }
    }
}

impl fmt::Display for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
        })
    }
}

impl FromStr for Parser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::Msgpack),
            _ => Err("it is json or msgpack".to_owned()),
        }
    }
}

impl Case {
    /// Its name in reports.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Churn { .. } => "churn",
            Self::Echo { .. } => "echo",
            Self::Fanout(_) => "fanout",
        }
    }
}

impl Fanout {
    /// The rooms that a subscriber is in, each once.
    pub(super) fn rooms_of(&self, subscriber: usize) -> impl Iterator<Item = usize> {
        let (rooms, each) = (self.rooms, self.rooms_per_client);
        (0..each).map(move |number| (subscriber * each + number) % rooms)
    }

    /// The rooms that a publisher publishes to in turn.
    pub(super) fn rooms_of_publisher(&self, publisher: usize) -> impl Iterator<Item = usize> {
        (publisher % self.rooms..self.rooms).step_by(self.publishers)
    }

    /// A room's name.
    pub(super) fn name(&self, room: usize) -> String {
        format!("{}-{room}", self.room)
    }
}

impl Plan {
    /// Whether it can be carried out at all.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        self.problem().map_or(Ok(()), |problem| Err(Trouble::Usage(problem)))
    }

    fn problem(&self) -> Option<String> {
        for url in self.urls.iter().chain(&self.publish_urls) {
            if let Err(problem) = Place::parse(url) {
                return Some(problem);
            }
        }
        if !self.namespace.starts_with('/') || self.namespace.contains([',', '?']) {
            let namespace = &self.namespace;
            return Some(format!(
                "--namespace: \"{namespace}\" is no namespace: it begins with a slash"
            ));
        }
        if self.version == Version::V3 && self.parser == Parser::Msgpack {
            return Some("--parser msgpack needs --eio 4: clients of version 3 write text".to_owned());
        }
        if self.payload < STAMP_BYTES {
            return Some(format!(
                "--payload: {} bytes are too few, {STAMP_BYTES} is the least",
                self.payload
            ));
        }
        let gone = self.pids.iter().find(|pid| super::process::Use::of(**pid).is_none());
        if let Some(pid) = gone {
            return Some(format!(
                "--pid: {pid} is no process on this machine (read from Linux's /proc)"
            ));
        }
        let counts = match &self.case {
            Case::Connect { clients, .. } => vec![("clients", *clients)],
            Case::Churn { .. } => vec![],
            Case::Echo { clients, window, .. } => vec![("clients", *clients), ("window", *window)],
            Case::Fanout(plan) => vec![
                ("clients", plan.clients),
                ("rooms", plan.rooms),
                ("rooms-per-client", plan.rooms_per_client),
                ("publishers", plan.publishers),
                ("window", plan.window),
            ],
        };
        let zero = counts
            .into_iter()
            .chain([("parallel", self.parallel)])
            .find(|(_, count)| *count == 0);
        if let Some((name, _)) = zero {
            return Some(format!("--{name}: 0 is too few"));
        }
        let window = match &self.case {
            Case::Echo { window, .. } => *window,
            Case::Fanout(plan) => plan.window,
            Case::Connect { .. } | Case::Churn { .. } => 0,
        };
        if window > LENGTH_MAX {
            return Some(format!("--window: {window} is too many, {LENGTH_MAX} is the most"));
        }
        match &self.case {
            Case::Fanout(plan) if plan.rooms_per_client > plan.rooms => Some(format!(
                "--rooms-per-client: {} is more than the {} of --rooms",
                plan.rooms_per_client, plan.rooms
            )),
            Case::Fanout(Fanout { rate, .. }) | Case::Churn { rate } if !(0.0..=1e7).contains(rate) => {
                Some(format!("--rate: {rate} is not between 0 and 10,000,000"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan of which nothing is wrong.
    pub(in crate::bench) fn plan(case: Case) -> Plan {
        Plan {
            urls: vec!["http://127.0.0.1:3000".into()],
            publish_urls: Vec::new(),
            transport: Transport::WebSocket,
            version: Version::V4,
            parser: Parser::Json,
            namespace: "/".into(),
            token: None,
            payload: 64,
            time: Duration::from_secs(1),
            warmup: Duration::ZERO,
            parallel: 64,
            sources: 64,
            pids: Vec::new(),
            shows_progress: false,
            case,
        }
    }

    pub(in crate::bench) fn fanout() -> Fanout {
        Fanout {
            clients: 1000,
            rooms: 10,
            rooms_per_client: 3,
            room: "bench".into(),
            publishers: 4,
            window: 4,
            rate: 0.0,
            event: "message".into(),
            stalled: 0,
        }
    }

    #[test]
    fn rooms_are_spread_over_subscribers_and_publishers() {
        let plan = fanout();
        assert_eq!(plan.rooms_of(0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(plan.rooms_of(3).collect::<Vec<_>>(), [9, 0, 1]);
        let all: Vec<Vec<_>> = (0..5)
            .map(|publisher| plan.rooms_of_publisher(publisher).collect())
            .collect();
        assert_eq!(all, [vec![0, 4, 8], vec![1, 5, 9], vec![2, 6], vec![3, 7], vec![4, 8]]);
        assert_eq!(plan.name(7), "bench-7");
        let many = Fanout {
            rooms: 1,
            publishers: 3,
            ..fanout()
        };
        assert_eq!(many.rooms_of_publisher(2).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_by_its_option() {
        let churn = Case::Churn { rate: 0.0 };
        assert_eq!(plan(churn.clone()).check(), Ok(()));
        let is_refused = |change: &dyn Fn(&mut Plan), expected: &str| {
            let mut plan = plan(Case::Fanout(fanout()));
            change(&mut plan);
            let Err(Trouble::Usage(problem)) = plan.check() else {
                panic!("{expected} is accepted")
            };
            assert!(problem.contains(expected), "{problem}");
        };
        is_refused(&|plan| plan.urls.push("a".into()), "\"a\"");
        is_refused(&|plan| plan.publish_urls.push("b".into()), "\"b\"");
        is_refused(&|plan| plan.namespace = "x".into(), "--namespace");
        is_refused(&|plan| plan.payload = 39, "--payload: 39");
        is_refused(&|plan| plan.parallel = 0, "--parallel");
        is_refused(&|plan| plan.pids.push(u32::MAX), "--pid");
        is_refused(
            &|plan| (plan.version, plan.parser) = (Version::V3, Parser::Msgpack),
            "--eio 4",
        );
        is_refused(&|plan| plan.case = Case::Churn { rate: -1.0 }, "--rate");
        is_refused(
            &|plan| {
                plan.case = Case::Connect {
                    clients: 0,
                    hold: Duration::ZERO,
                }
            },
            "--clients",
        );
        let with = |change: &dyn Fn(&mut Fanout)| {
            let mut fanout = fanout();
            change(&mut fanout);
            Case::Fanout(fanout)
        };
        is_refused(
            &|plan| plan.case = with(&|fanout| fanout.rooms = 2),
            "--rooms-per-client: 3",
        );
        is_refused(
            &|plan| plan.case = with(&|fanout| fanout.publishers = 0),
            "--publishers",
        );
        is_refused(&|plan| plan.case = with(&|fanout| fanout.rate = f64::NAN), "--rate");
    }
}
