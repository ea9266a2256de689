//! How many clients come in: sessions, handshakes a second, and sessions of one address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::http::Lease;
use crate::limits::{self, Bucket};
use crate::metrics::{Limit, Metrics};

/// Bits of an IPv6 address that name a network: what one subscriber gets, and can choose addresses from.
const NETWORK_BITS: u32 = 64;

/// Admits handshakes.
#[derive(Debug)]
pub(super) struct Admission {
    sessions: Arc<AtomicUsize>,
    sessions_max: usize,
    per_second: u32,
    bucket: Mutex<Bucket>,
    per_address: u32,
    addresses: Arc<Addresses>,
    metrics: Arc<Metrics>,
}

/// Sessions by address.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, u32, RandomState>>);

/// Lets one session in, and counts it while it is held.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Of all sessions: a connection can open any number of those that poll.
    pub(super) session: Lease,
    /// Of those of its address, where they are limited.
    pub(super) place: Option<Box<Place>>,
}

/// Counts a session of an address for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    addresses: Arc<Addresses>,
}

impl Admission {
    pub(super) fn new(limits: &limits::Config, metrics: Arc<Metrics>) -> Self {
        Self {
            sessions: Arc::default(),
            sessions_max: match limits.connections {
                0 => usize::MAX,
                limit => limit,
            },
            per_second: limits.handshakes_per_second,
            bucket: Mutex::new(Bucket::new(limits.handshakes_per_second, Instant::now())),
            per_address: limits.connections_per_ip,
            addresses: Arc::default(),
            metrics,
        }
    }

    /// Lets a client in; what it returns is held as long as the session. `Err` where a limit is met.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Admitted, Limit> {
        self.check(address).inspect_err(|limit| self.metrics.limited(*limit))
    }

    fn check(&self, address: IpAddr) -> Result<Admitted, Limit> {
        let session = Lease::take(&self.sessions, self.sessions_max).ok_or(Limit::Connections)?;
        let place = self.place(address)?;
        self.pace()?;
        Ok(Admitted { session, place })
    }

    fn pace(&self) -> Result<(), Limit> {
        let rate = self.per_second;
        if rate == 0 || self.bucket.lock().take(rate, rate, Instant::now()) {
            Ok(())
        } else {
            Err(Limit::HandshakesPerSecond)
        }
    }

    fn place(&self, address: IpAddr) -> Result<Option<Box<Place>>, Limit> {
        if self.per_address == 0 {
            return Ok(None);
        }
        let address = network(address);
        let mut counts = self.addresses.0.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= self.per_address {
            return Err(Limit::ConnectionsPerIp);
        }
        *count += 1;
        let addresses = Arc::clone(&self.addresses);
        Ok(Some(Box::new(Place { address, addresses })))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address that a limit counts by.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - NETWORK_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_per_ip: u32, handshakes_per_second: u32) -> Admission {
        let limits = limits::Config {
            connections: 0,
            connections_per_ip,
            sockets_per_user: 0,
            handshakes_per_second,
            events_per_second: 0,
            events_burst: 0,
            rooms_per_socket: 0,
            room_name_bytes: 0,
            namespaces_per_client: 0,
            pattern_namespaces: 0,
            attachments: 0,
            outbox: crate::units::ByteSize(0),
        };
        Admission::new(&limits, Arc::new(Metrics::new(&[]).unwrap()))
    }

    #[test]
    fn sessions_of_an_address_are_counted_while_they_last() {
        let admission = admission(2, 0);
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("::ffff:192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), Limit::ConnectionsPerIp);
        assert!(admit("192.0.2.2").is_ok());
        drop(first);
        let _third = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_err());
        let _networks = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert!(admit("2001:db8::3").is_err());
        assert!(admit("2001:db8:0:1::3").is_ok());
    }

    #[test]
    fn sessions_are_counted_while_they_last() {
        let mut admission = admission(0, 0);
        admission.sessions_max = 2;
        let admit = || admission.admit(IpAddr::from([192, 0, 2, 1]));
        let (_first, second) = (admit().unwrap(), admit().unwrap());
        assert_eq!(admit().unwrap_err(), Limit::Connections);
        drop(second);
        assert!(admit().is_ok());
    }

    #[test]
    fn handshakes_are_paced() {
        let admission = admission(0, 3);
        let admitted = (0..10)
            .filter(|_| admission.admit(IpAddr::from([192, 0, 2, 1])).is_ok())
            .count();
        assert!((3..5).contains(&admitted), "{admitted}");
        assert_eq!(
            admission.addresses.0.lock().len(),
            0,
            "nobody counts addresses without a limit"
        );
    }
}
