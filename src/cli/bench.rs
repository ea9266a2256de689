//! `roomcast bench`: reads what is to be measured, and prints what came of it.

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{UNAVAILABLE, USAGE, complain, print};
use crate::bench::{self, Case, Parser, Plan, Transport, Trouble};
use crate::protocol::Version;
use crate::units::Span;

/// The server does not do what is measured.
const UNSUITED: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  roomcast bench connect --clients 10000 --pid $(pidof roomcast)
                                     what an idle client costs in memory, and connecting in processor time
  roomcast bench connect --churn --rate 500 --time 1m
                                     500 clients a second that come and go
  roomcast bench echo                100 clients, each with 16 events under way that are answered
  roomcast bench fanout --clients 5000 --rooms 100 --publishers 10
                                     as fast as nothing is lost; --rate 200 for the latency at a given load
  roomcast bench fanout --url http://10.0.0.1:3000 --publish-url http://10.0.0.2:3000
                                     from one node to another
  taskset -c 1 roomcast bench fanout --json >> results.jsonl
                                     on a core of its own, one line of JSON a run

It works with any Socket.IO server: \"join\" [room] and \"publish\" [room, event, text] must be acknowledged, or for echo
the event. It is one thread: run several for more. Ctrl-C ends a run early and prints what there is.
Exit codes: 0 measured, 1 the server does not answer as needed, 64 wrong usage, 69 nothing connected.";

/// What is to be measured.
#[derive(Subcommand)]
pub(super) enum Bench {
    /// Connections alone: how fast they are made, and what each takes in memory
    #[command(after_help = EXAMPLES)]
    Connect(Connect),
    /// Events that the server answers, so many under way of each client
    #[command(after_help = EXAMPLES)]
    Echo(Echo),
    /// Messages published to rooms, and their way to every subscriber
    #[command(after_help = EXAMPLES)]
    Fanout(Fanout),
}

/// What all of them have.
#[derive(Args)]
struct Common {
    /// Server: http, https, ws or wss; its path is that of Socket.IO, /socket.io/ if there is none; several times for several, in turn
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    url: Vec<String>,
    /// How clients connect: websocket, polling, or upgrade (polling first, then websocket, as stock clients do)
    #[arg(long, default_value = "websocket")]
    transport: Transport,
    /// Version of Engine.IO: 4, or 3 for clients 1.x and 2.x
    #[arg(long, value_name = "VERSION", default_value = "4", value_parser = version)]
    eio: Version,
    /// How packets are written: json or msgpack
    #[arg(long, default_value = "json")]
    parser: Parser,
    /// Namespace that clients enter
    #[arg(long, value_name = "NAME", default_value = "/")]
    namespace: String,
    /// Sent as auth.token (with --eio 3: as token in the query)
    #[arg(long)]
    token: Option<String>,
    /// Bytes of an event's argument, 40 at least
    #[arg(long, value_name = "BYTES", default_value = "64")]
    payload: usize,
    /// Time that is measured
    #[arg(long, default_value = "10s")]
    time: Span,
    /// Time before that, which does not count
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warmup: Span,
    /// Connections that are opened at once
    #[arg(long, value_name = "COUNT", default_value = "64")]
    parallel: usize,
    /// To a server on this machine, connect from so many addresses from 127.0.1.1 on, as each has some 28,000 ports; 0 = none
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u8).range(..=254))]
    sources: u8,
    /// Process of the server on this machine, whose processor time and memory are reported (Linux); several times for several
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Print one line of JSON instead of the summary
    #[arg(long)]
    json: bool,
    /// No line on stderr that tells how it goes
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
pub(super) struct Connect {
    #[command(flatten)]
    common: Common,
    /// Connections
    #[arg(long, value_name = "COUNT", default_value = "1000", conflicts_with = "churn")]
    clients: usize,
    /// Time that they stay, answering heartbeats
    #[arg(long, value_name = "TIME", default_value = "5s", conflicts_with = "churn")]
    hold: Span,
    /// Close each as soon as it is connected and open another, for --time, --parallel at once
    #[arg(long)]
    churn: bool,
    /// With --churn: connections a second in all; 0 = as fast as possible
    #[arg(long, value_name = "COUNT", default_value = "0", requires = "churn")]
    rate: f64,
}

#[derive(Args)]
pub(super) struct Echo {
    #[command(flatten)]
    common: Common,
    /// Clients
    #[arg(long, value_name = "COUNT", default_value = "100")]
    clients: usize,
    /// Events under way of each client
    #[arg(long, value_name = "COUNT", default_value = "16")]
    window: usize,
    /// Event that the server acknowledges
    #[arg(long, value_name = "NAME", default_value = "echo")]
    event: String,
}

#[derive(Args)]
pub(super) struct Fanout {
    #[command(flatten)]
    common: Common,
    /// Server of the publishers; several times for several, in turn [default: as --url]
    #[arg(long, value_name = "URL")]
    publish_url: Vec<String>,
    /// Subscribers
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    clients: usize,
    /// Rooms, over which subscribers are spread in turn
    #[arg(long, value_name = "COUNT", default_value = "1")]
    rooms: usize,
    /// Rooms that each subscriber joins; a message goes to one room
    #[arg(long, value_name = "COUNT", default_value = "1")]
    rooms_per_client: usize,
    /// What rooms' names begin with: NAME-0, NAME-1, ...
    #[arg(long, value_name = "NAME", default_value = "bench")]
    room: String,
    /// Publishers, each of which goes through its share of the rooms in turn
    #[arg(long, value_name = "COUNT", default_value = "1")]
    publishers: usize,
    /// Messages of each publisher that have not reached every subscriber
    #[arg(long, value_name = "COUNT", default_value = "4")]
    window: usize,
    /// Messages a second in all, come what may, instead of --window
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "0",
        hide_default_value = true,
        conflicts_with = "window"
    )]
    rate: f64,
    /// Event that is published
    #[arg(long, value_name = "NAME", default_value = "message")]
    event: String,
    /// Further subscribers that never read
    #[arg(long, value_name = "COUNT", default_value = "0")]
    stalled: usize,
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "3" => Ok(Version::V3),
        "4" => Ok(Version::V4),
        _ => Err("it is 3 or 4".to_owned()),
    }
}

impl Common {
    fn plan(self, publish_urls: Vec<String>, case: Case) -> Plan {
        let Self { time, warmup, .. } = self;
        Plan {
            urls: self.url,
            publish_urls,
            transport: self.transport,
            version: self.eio,
            parser: self.parser,
            namespace: self.namespace,
            token: self.token,
            payload: self.payload,
            time: time.0.max(Duration::from_millis(1)),
            warmup: warmup.0,
            parallel: self.parallel,
            sources: self.sources,
            pids: self.pid,
            shows_progress: !self.quiet && stderr().is_terminal(),
            case,
        }
    }
}

impl Bench {
    /// Measures, and prints what came of it.
    pub(super) fn run(self) -> ExitCode {
        let (is_json, plan) = match self {
            Self::Connect(Connect {
                common,
                clients,
                hold,
                churn,
                rate,
            }) => {
                let case = if churn {
                    Case::Churn { rate }
                } else {
                    Case::Connect { clients, hold: hold.0 }
                };
                (common.json, common.plan(Vec::new(), case))
            }
            Self::Echo(Echo {
                common,
                clients,
                window,
                event,
            }) => {
                let case = Case::Echo { clients, window, event };
                (common.json, common.plan(Vec::new(), case))
            }
            Self::Fanout(fanout) => {
                let case = Case::Fanout(bench::Fanout {
                    clients: fanout.clients,
                    rooms: fanout.rooms,
                    rooms_per_client: fanout.rooms_per_client,
                    room: fanout.room,
                    publishers: fanout.publishers,
                    window: fanout.window,
                    rate: fanout.rate,
                    event: fanout.event,
                    stalled: fanout.stalled,
                });
                (fanout.common.json, fanout.common.plan(fanout.publish_url, case))
            }
        };
        match bench::run(plan) {
            Ok(report) if is_json => print(&format!("{}\n", report.to_json())),
            Ok(report) => print(&report.summary()),
            Err(trouble) => {
                complain(&format!("roomcast bench: {trouble}"));
                ExitCode::from(match trouble {
                    Trouble::Usage(_) => USAGE,
                    Trouble::Unavailable(_) => UNAVAILABLE,
                    Trouble::Unsuited(_) => UNSUITED,
                })
            }
        }
    }
}
