//! `[limits]`: what one client may make this node hold.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// `[limits]`. A count of 0 means none, unless said otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Connections of this node, and sessions; 0 = the file-descriptor limit less 256.
    pub connections: usize,
    /// Sessions of one address (of one /64 network for IPv6).
    pub connections_per_ip: u32,
    /// Sockets of one user in a namespace, on all nodes.
    pub sockets_per_user: usize,
    /// Handshakes a second, of this node.
    pub handshakes_per_second: u32,
    /// Events a second, of one socket.
    pub events_per_second: u32,
    /// Events that a socket may send at once; 0 = one second's worth.
    pub events_burst: u32,
    /// Rooms that a client may be in by its own `join`.
    pub rooms_per_socket: usize,
    /// Bytes of a room's name.
    pub room_name_bytes: usize,
    /// Namespaces that one client may be in at once.
    pub namespaces_per_client: usize,
    /// Live namespaces that exist through a pattern, on this node.
    pub pattern_namespaces: usize,
    /// Binary attachments of one packet.
    pub attachments: usize,
    /// Bytes that may wait for one client before it is cut as too slow.
    pub outbox: ByteSize,
}

/// A token bucket: lets through a rate on average and a burst at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f32,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: u32, now: Instant) -> Self {
        Self {
            tokens: burst as f32,
            at: now,
        }
    }

    /// Takes a token; false when there is none. `rate` is tokens a second, `burst` the most that the bucket holds.
    pub fn take(&mut self, rate: u32, burst: u32, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f32();
        self.tokens = (self.tokens + elapsed * rate as f32).min(burst as f32);
        self.at = now;
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }
}

/// Says when a complaint that could be made again and again may be written down: at most once in ten seconds.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Complaints>);

#[derive(Debug, Default)]
struct Complaints {
    /// Those that were not spoken of.
    unsaid: u64,
    said: Option<Instant>,
}

impl Seldom {
    /// So many more. How many there are to speak of, where it is time; then not again for a while.
    pub fn add(&self, count: u64) -> Option<u64> {
        self.add_at(count, Instant::now())
    }

    fn add_at(&self, count: u64, now: Instant) -> Option<u64> {
        const EVERY: Duration = Duration::from_secs(10);
        let mut complaints = self.0.lock();
        complaints.unsaid += count;
        if complaints.said.is_some_and(|said| now.duration_since(said) < EVERY) {
            return None;
        }
        complaints.said = Some(now);
        Some(std::mem::take(&mut complaints.unsaid))
    }

    /// One more, where it does not matter how many there are: whether it is time.
    pub fn is_time(&self) -> bool {
        self.add(1).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(5, start);
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(10, 5, now)).count();
        assert_eq!(taken(&mut bucket, start), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(50)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(150)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 5);
        assert_eq!(taken(&mut bucket, start), 0, "a clock that stands still gives nothing");
    }

    #[test]
    fn complaints_are_made_seldom_and_none_is_forgotten() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let said = [(0, 1), (0, 2), (9, 3), (10, 4), (11, 1), (60, 1)]
            .map(|(seconds, count)| seldom.add_at(count, at(seconds)));
        assert_eq!(said, [Some(1), None, None, Some(9), None, Some(2)]);
    }
}
