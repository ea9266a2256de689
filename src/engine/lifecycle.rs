//! The rules of an Engine.IO session: heartbeats, the upgrade and who may say what.
//!
//! No I/O and no clock: time is an argument, what to do is the answer. Times are counted from what happened last, as
//! the protocol says, and one `deadline` stands for all of them.
//!
//! ```text
//! v4   server ── ping ──▶ client ── pong ──▶ server      every interval, the pong within the timeout
//! v3   client ── ping ──▶ server ── pong ──▶ client      the client's clock; silence of interval + timeout ends it
//! ```

use std::time::{Duration, Instant};

use super::config::Config;
use crate::protocol::Version;
use crate::protocol::engine::Packet;
use crate::reason::Reason;

/// Time for an upgrade that is under way when the session is to end.
const LAST_UPGRADE_TIMEOUT: Duration = Duration::from_secs(2);

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'a> {
    /// A packet on the session's transport.
    Packet(&'a Packet),
    /// A WebSocket came that wants to take over from polling.
    ProbeOpened,
    /// A packet on that WebSocket.
    ProbePacket(&'a Packet),
    /// That WebSocket is gone.
    ProbeLost,
    /// Time has passed.
    Tick,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing.
    Nothing,
    /// The packet's message is the application's.
    Deliver,
    /// Send a ping.
    Ping,
    /// Send a pong with the ping's data.
    Pong,
    /// Answer the probe on its WebSocket, and every poll from now on at once.
    AnswerProbe,
    /// The WebSocket takes over.
    Switch,
    /// Close the probing WebSocket; the session goes on by polling.
    DropProbe,
    /// Close the probing WebSocket, whose time is over; the session goes on by polling.
    ExpireProbe,
    /// The session is over.
    Close(Reason),
}

/// The state of one session.
#[derive(Debug)]
pub(super) struct Lifecycle {
    version: Version,
    interval: Duration,
    timeout: Duration,
    upgrade_timeout: Duration,
    heartbeat: Heartbeat,
    upgrade: Upgrade,
}

#[derive(Clone, Copy, Debug)]
enum Heartbeat {
    /// v4: a ping is due.
    PingAt(Instant),
    /// v4: its pong must come. Any other packet moves that once: the client lives, its pong may stand behind.
    PongBy { at: Instant, is_extended: bool },
    /// v3: the client must say something.
    HeardBy(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    /// On polling, nobody asks.
    Possible,
    /// A WebSocket probes.
    Probing { until: Instant, is_answered: bool },
    /// On WebSocket.
    Done,
}

impl Lifecycle {
    /// A session that opened at `now`. `jitter`, from 0 to 1, spreads the first pings of sessions that opened together
    /// over the second half of the interval.
    pub(super) fn new(config: &Config, version: Version, is_websocket: bool, jitter: f32, now: Instant) -> Self {
        let (interval, timeout) = (config.ping_interval.0, config.ping_timeout.0);
        let heartbeat = match version {
            Version::V3 => Heartbeat::HeardBy(now + interval + timeout),
            Version::V4 => Heartbeat::PingAt(now + interval.mul_f32(0.5 + jitter.clamp(0.0, 1.0) / 2.0)),
        };
        let upgrade = if is_websocket { Upgrade::Done } else { Upgrade::Possible };
        Self {
            version,
            interval,
            timeout,
            upgrade_timeout: config.upgrade_timeout.0,
            heartbeat,
            upgrade,
        }
    }

    /// When [`Input::Tick`] is wanted next.
    pub(super) fn deadline(&self) -> Instant {
        let (Heartbeat::PingAt(heartbeat) | Heartbeat::PongBy { at: heartbeat, .. } | Heartbeat::HeardBy(heartbeat)) =
            self.heartbeat;
        match self.upgrade {
            Upgrade::Probing { until, .. } => heartbeat.min(until),
            Upgrade::Possible | Upgrade::Done => heartbeat,
        }
    }

    /// Whether polls are answered at once, because the client waits for its last one to end.
    pub(super) fn hurries_polls(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probing { is_answered: true, .. })
    }

    /// The session is to end, but not in the middle of an upgrade: clients whose WebSocket closes while they give up
    /// polling do neither any more. Whether one is under way, which from now on has little time left.
    pub(super) fn finishes_upgrade(&mut self, now: Instant) -> bool {
        let Upgrade::Probing {
            until,
            is_answered: true,
        } = &mut self.upgrade
        else {
            return false;
        };
        *until = (*until).min(now + LAST_UPGRADE_TIMEOUT);
        now < *until
    }

    /// Takes what happened and says what to do. Ticks may come early or late.
    pub(super) fn on(&mut self, input: Input<'_>, now: Instant) -> Output {
        match input {
            Input::Packet(packet) => self.packet(packet, now),
            Input::ProbeOpened => match self.upgrade {
                Upgrade::Possible => {
                    self.upgrade = Upgrade::Probing {
                        until: now + self.upgrade_timeout,
                        is_answered: false,
                    };
                    Output::Nothing
                }
                Upgrade::Probing { .. } | Upgrade::Done => Output::DropProbe,
            },
            Input::ProbePacket(packet) => self.probe(packet),
            Input::ProbeLost => {
                self.stop_probing();
                Output::Nothing
            }
            Input::Tick => self.tick(now),
        }
    }

    fn packet(&mut self, packet: &Packet, now: Instant) -> Output {
        self.heard(packet, now);
        match (packet, self.version) {
            (Packet::Message(_), _) => Output::Deliver,
            (Packet::Close, _) => Output::Close(Reason::ClientLeft),
            (Packet::Ping(_), Version::V3) => Output::Pong,
            // A heartbeat in the wrong direction is, to Node too, an error of the transport.
            (Packet::Ping(_), Version::V4) | (Packet::Pong, Version::V3) => Output::Close(Reason::TransportError),
            (Packet::Pong, Version::V4) => {
                if matches!(self.heartbeat, Heartbeat::PongBy { .. }) {
                    self.heartbeat = Heartbeat::PingAt(now + self.interval);
                }
                Output::Nothing // one more pong starts no timer
            }
            (Packet::Open | Packet::Upgrade | Packet::Noop, _) => Output::Nothing,
        }
    }

    fn heard(&mut self, packet: &Packet, now: Instant) {
        match &mut self.heartbeat {
            // Any packet shows a v3 client alive; browsers throttle the timers of its pings in background tabs.
            Heartbeat::HeardBy(at) => *at = now + self.interval + self.timeout,
            Heartbeat::PongBy { at, is_extended } if !*is_extended && !matches!(packet, Packet::Pong) => {
                (*at, *is_extended) = (now + self.timeout, true);
            }
            Heartbeat::PongBy { .. } | Heartbeat::PingAt(_) => {}
        }
    }

    fn probe(&mut self, packet: &Packet) -> Output {
        let Upgrade::Probing { is_answered, .. } = &mut self.upgrade else {
            return Output::Nothing;
        };
        match packet {
            Packet::Ping(data) if data == "probe" => {
                *is_answered = true;
                Output::AnswerProbe
            }
            Packet::Upgrade => {
                self.upgrade = Upgrade::Done;
                Output::Switch
            }
            _ => {
                self.stop_probing();
                Output::DropProbe
            }
        }
    }

    fn stop_probing(&mut self) {
        if matches!(self.upgrade, Upgrade::Probing { .. }) {
            self.upgrade = Upgrade::Possible;
        }
    }

    fn tick(&mut self, now: Instant) -> Output {
        match self.heartbeat {
            Heartbeat::PingAt(at) if at <= now => {
                self.heartbeat = Heartbeat::PongBy {
                    at: now + self.timeout,
                    is_extended: false,
                };
                return Output::Ping;
            }
            Heartbeat::PongBy { at, .. } | Heartbeat::HeardBy(at) if at <= now => {
                return Output::Close(Reason::PingTimeout);
            }
            Heartbeat::PingAt(_) | Heartbeat::PongBy { .. } | Heartbeat::HeardBy(_) => {}
        }
        match self.upgrade {
            Upgrade::Probing { until, .. } if until <= now => {
                self.stop_probing();
                Output::ExpireProbe
            }
            Upgrade::Probing { .. } | Upgrade::Possible | Upgrade::Done => Output::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config::TransportName;
    use super::*;
    use crate::protocol::engine::Message;
    use crate::units::{ByteSize, Span};

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> Config {
        Config {
            transports: vec![TransportName::Polling, TransportName::Websocket],
            eio3: true,
            ping_interval: Span(25 * SECOND),
            ping_timeout: Span(20 * SECOND),
            upgrade_timeout: Span(10 * SECOND),
            connect_timeout: Span(45 * SECOND),
            max_payload: ByteSize(1_000_000),
            cookie: String::new(),
            http_compression: false,
        }
    }

    fn message() -> Packet {
        Packet::Message(Message::Text("x".into()))
    }

    fn v4(now: Instant) -> Lifecycle {
        Lifecycle::new(&config(), Version::V4, false, 1.0, now)
    }

    #[test]
    fn v4_pings_and_ends_a_client_that_does_not_answer() {
        let start = Instant::now();
        let mut session = v4(start);
        assert_eq!(session.deadline(), start + 25 * SECOND);
        assert_eq!(session.on(Input::Tick, start + 24 * SECOND), Output::Nothing);
        assert_eq!(session.on(Input::Tick, start + 25 * SECOND), Output::Ping);
        assert_eq!(session.deadline(), start + 45 * SECOND);
        assert_eq!(
            session.on(Input::Packet(&Packet::Pong), start + 30 * SECOND),
            Output::Nothing
        );
        assert_eq!(session.deadline(), start + 55 * SECOND);
        assert_eq!(session.on(Input::Tick, start + 55 * SECOND), Output::Ping);
        assert_eq!(
            session.on(Input::Tick, start + 75 * SECOND),
            Output::Close(Reason::PingTimeout)
        );
    }

    #[test]
    fn other_packets_prolong_the_wait_for_a_pong_once() {
        let start = Instant::now();
        let mut session = v4(start);
        session.on(Input::Tick, start + 25 * SECOND);
        assert_eq!(
            session.on(Input::Packet(&message()), start + 40 * SECOND),
            Output::Deliver
        );
        assert_eq!(session.deadline(), start + 60 * SECOND);
        session.on(Input::Packet(&message()), start + 59 * SECOND);
        assert_eq!(session.deadline(), start + 60 * SECOND);
        assert_eq!(
            session.on(Input::Tick, start + 60 * SECOND),
            Output::Close(Reason::PingTimeout)
        );
    }

    #[test]
    fn extra_pongs_move_nothing() {
        let start = Instant::now();
        let mut session = v4(start);
        for second in 1..20 {
            assert_eq!(
                session.on(Input::Packet(&Packet::Pong), start + second * SECOND),
                Output::Nothing
            );
        }
        assert_eq!(session.deadline(), start + 25 * SECOND);
    }

    #[test]
    fn first_pings_are_spread_over_half_an_interval() {
        let start = Instant::now();
        for (jitter, millis) in [(0.0, 12_500), (0.5, 18_750), (1.0, 25_000), (9.0, 25_000)] {
            let session = Lifecycle::new(&config(), Version::V4, true, jitter, start);
            assert_eq!(session.deadline(), start + Duration::from_millis(millis));
        }
    }

    #[test]
    fn v3_clients_ping_and_any_packet_shows_them_alive() {
        let start = Instant::now();
        let mut session = Lifecycle::new(&config(), Version::V3, false, 0.0, start);
        assert_eq!(session.deadline(), start + 45 * SECOND);
        assert_eq!(
            session.on(Input::Packet(&Packet::Ping("hello".into())), start + 25 * SECOND),
            Output::Pong
        );
        assert_eq!(session.deadline(), start + 70 * SECOND);
        session.on(Input::Packet(&message()), start + 60 * SECOND);
        assert_eq!(
            session.on(Input::Tick, start + 105 * SECOND),
            Output::Close(Reason::PingTimeout)
        );
    }

    #[test]
    fn heartbeats_in_the_wrong_direction_end_the_session() {
        let now = Instant::now();
        let close = Output::Close(Reason::TransportError);
        assert_eq!(v4(now).on(Input::Packet(&Packet::Ping(String::new())), now), close);
        let mut v3 = Lifecycle::new(&config(), Version::V3, false, 0.0, now);
        assert_eq!(v3.on(Input::Packet(&Packet::Pong), now), close);
    }

    #[test]
    fn an_upgrade_that_is_under_way_has_two_seconds_left_when_the_session_is_to_end() {
        let now = Instant::now();
        let mut session = Lifecycle::new(&config(), Version::V4, false, 1.0, now);
        assert!(!session.finishes_upgrade(now));
        session.on(Input::ProbeOpened, now);
        assert!(!session.finishes_upgrade(now), "its client still polls");
        session.on(Input::ProbePacket(&Packet::Ping("probe".into())), now);
        assert!(session.finishes_upgrade(now));
        assert!(session.finishes_upgrade(now + SECOND));
        assert_eq!(session.deadline(), now + 2 * SECOND);
        assert!(!session.finishes_upgrade(now + 2 * SECOND));
        session.on(Input::ProbePacket(&Packet::Upgrade), now + SECOND);
        assert!(!session.finishes_upgrade(now + SECOND), "it is done");
    }

    #[test]
    fn an_upgrade_probes_and_switches() {
        let now = Instant::now();
        let mut session = v4(now);
        assert_eq!(session.on(Input::ProbeOpened, now), Output::Nothing);
        assert!(!session.hurries_polls());
        assert_eq!(
            session.on(Input::ProbePacket(&Packet::Ping("probe".into())), now),
            Output::AnswerProbe
        );
        assert!(session.hurries_polls());
        assert_eq!(session.on(Input::ProbeOpened, now), Output::DropProbe);
        assert_eq!(session.on(Input::ProbePacket(&Packet::Upgrade), now), Output::Switch);
        assert!(!session.hurries_polls());
        assert_eq!(session.on(Input::ProbeOpened, now), Output::DropProbe);
        assert_eq!(session.deadline(), now + 25 * SECOND);
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_session_on_polling() {
        let now = Instant::now();
        for (input, output) in [
            (Input::ProbePacket(&message()), Output::DropProbe),
            (Input::ProbePacket(&Packet::Ping("x".into())), Output::DropProbe),
            (Input::ProbeLost, Output::Nothing),
        ] {
            let mut session = v4(now);
            session.on(Input::ProbeOpened, now);
            assert_eq!(session.on(input, now), output);
            assert_eq!(
                session.on(Input::ProbeOpened, now),
                Output::Nothing,
                "it may be tried again"
            );
        }
        let mut session = v4(now);
        session.on(Input::ProbeOpened, now);
        assert_eq!(session.deadline(), now + 10 * SECOND);
        assert_eq!(session.on(Input::Tick, now + 10 * SECOND), Output::ExpireProbe);
        assert_eq!(session.deadline(), now + 25 * SECOND);
    }

    proptest! {
        /// Whatever happens in whatever order, a silent client is found within interval + 2 × timeout, and time never
        /// stands still: a tick at the deadline moves it or ends the session.
        #[test]
        fn the_deadline_always_moves_on(steps in prop::collection::vec((0u8..8, 0u64..30), 1..60), is_v3: bool) {
            let version = if is_v3 { Version::V3 } else { Version::V4 };
            let mut now = Instant::now();
            let mut session = Lifecycle::new(&config(), version, false, 1.0, now);
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                let packet = match step {
                    0 => message(),
                    1 => Packet::Ping("probe".into()),
                    2 => Packet::Pong,
                    3 => Packet::Upgrade,
                    _ => Packet::Noop,
                };
                let input = match step {
                    5 => Input::ProbeOpened,
                    6 => Input::ProbePacket(&packet),
                    7 => Input::Tick,
                    _ => Input::Packet(&packet),
                };
                if let Output::Close(_) = session.on(input, now) {
                    return Ok(());
                }
                let deadline = session.deadline();
                prop_assert!(deadline <= now + Duration::from_secs(65));
                now = now.max(deadline);
                if let Output::Close(_) = session.on(Input::Tick, now) {
                    return Ok(());
                }
                prop_assert!(session.deadline() > now || session.on(Input::Tick, now) != Output::Nothing);
            }
        }
    }
}
