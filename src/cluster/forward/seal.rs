//! The header by which a node proves to another one that it is a gateway of the same cluster, and says for whom it asks.
//!
//! ```text
//! Roomcast-Peer: t=1764000000,for=request,address=203.0.113.9,scheme=https,host=chat.example.com,v1=<base64url>
//! ```
//!
//! `v1` is the HMAC-SHA256 of all that stands before it and of the request's method and target, by a secret that never
//! crosses the wire; shortly after a change of the secret there are two, the other by the secret before. `t` are seconds
//! since 1970 by the clock of who is asked; `host` is left out where the client named none. Pure: time is an argument.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header::HeaderValue;
use sha2::Sha256;

/// Name of the header.
pub(super) const SEAL: &str = "roomcast-peer";

/// What stands before a proof.
const PROOF: &str = ",v1=";

/// Proofs in one header: as many as secrets are good at a time.
const PROOFS_MAX: usize = 2;

/// Seconds by which the clocks of two nodes may differ, and for which a request is good.
const AGE_MAX: u64 = 60;

/// How long the secret before the present one is still good: heartbeats bring the new one to all nodes.
const OVERLAP: Duration = Duration::from_secs(60);

/// Longest name of a host: what DNS allows, and a port.
const HOST_BYTES_MAX: usize = 260;

/// What a node asks of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer to a client's request.
    Request,
    /// Whether it is believed.
    Hello,
    /// To answer the poll that is parked here, so that the client's next one can go elsewhere.
    Release,
    /// To end a session whose WebSocket goes through the asking node, which leaves.
    End,
}

/// Who sent the request that a node passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether it came by TLS.
    pub is_secure: bool,
    /// The host that it asked for.
    pub host: Option<String>,
}

/// Why a seal is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// There is none that could be read.
    #[error("it does not come from a gateway")]
    NoSeal,
    /// It was made with another secret, or for another request.
    #[error("its secret is not ours")]
    Forged,
    /// It was made for another time.
    #[error("its clock differs from ours by more than a minute")]
    OutOfTime,
}

/// The request that a seal is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
}

/// The secret of the cluster, and the one before it.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    current: Option<Secret>,
    previous: Option<(Secret, Instant)>,
}

#[derive(Clone)]
struct Secret {
    text: String,
    mac: Hmac<Sha256>,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Request, Self::Hello, Self::Release, Self::End];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Hello => "hello",
            Self::Release => "release",
            Self::End => "end",
        }
    }
}

impl Secrets {
    /// From now on this is the secret.
    pub(super) fn set(&mut self, text: &str, now: Instant) {
        if self.text() == Some(text) {
            return;
        }
        let mac = Hmac::new_from_slice(text.as_bytes()).expect("keys may have any length");
        let text = text.to_owned();
        let before = self.current.replace(Secret { text, mac });
        self.previous = before.map(|secret| (secret, now + OVERLAP));
    }

    /// The secret as others should have it.
    pub(super) fn text(&self) -> Option<&str> {
        self.current.as_ref().map(|secret| &*secret.text)
    }

    /// All that are good now.
    fn good(&self, now: Instant) -> impl Iterator<Item = &Secret> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        self.current.iter().chain(previous.map(|(secret, _)| secret))
    }

    /// The header for a request; `t` in seconds since 1970. `None` while there is no secret.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        client: &Client,
        subject: Subject<'_>,
        (t, now): (u64, Instant),
    ) -> Option<HeaderValue> {
        let scheme = if client.is_secure { "https" } else { "http" };
        let mut text = format!(
            "t={t},for={},address={},scheme={scheme}",
            purpose.as_str(),
            client.address
        );
        if let Some(host) = client.host.as_deref().filter(|host| is_host(host)) {
            text.push_str(",host=");
            text.push_str(host);
        }
        self.current.as_ref()?;
        let proofs = self
            .good(now)
            .map(|secret| secret.mac(&text, subject).finalize().into_bytes());
        for proof in proofs.collect::<Vec<_>>() {
            text.push_str(PROOF);
            text.push_str(&URL_SAFE_NO_PAD.encode(proof));
        }
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// What a request's seal says, if it is believed at this time, in seconds since 1970.
    pub(super) fn open(
        &self,
        header: Option<&HeaderValue>,
        subject: Subject<'_>,
        (t, now): (u64, Instant),
    ) -> Result<(Purpose, Client), Doubt> {
        let header = header.and_then(|header| header.to_str().ok()).ok_or(Doubt::NoSeal)?;
        let (text, proofs) = header.split_once(PROOF).ok_or(Doubt::NoSeal)?;
        let proofs = proofs.split(PROOF).take(PROOFS_MAX);
        let proofs = proofs.map(|proof| URL_SAFE_NO_PAD.decode(proof).map_err(|_| Doubt::NoSeal));
        let proofs: Vec<_> = proofs.collect::<Result<_, _>>()?;
        let is_proven = |secret: &Secret| {
            let mac = secret.mac(text, subject);
            proofs.iter().any(|proof| mac.clone().verify_slice(proof).is_ok())
        };
        if !self.good(now).any(is_proven) {
            return Err(Doubt::Forged);
        }
        let (sealed, purpose, client) = read(text).ok_or(Doubt::NoSeal)?;
        if sealed.abs_diff(t) > AGE_MAX {
            return Err(Doubt::OutOfTime);
        }
        Ok((purpose, client))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    fn mac(&self, text: &str, subject: Subject<'_>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        // No part holds a line feed, so none can be taken for another one.
        for part in [text, "\n", subject.method, "\n", subject.target] {
            mac.update(part.as_bytes());
        }
        mac
    }
}

fn read(text: &str) -> Option<(u64, Purpose, Client)> {
    let (mut t, mut purpose, mut address, mut is_secure, mut host) = (None, None, None, false, None);
    for field in text.split(',') {
        let (key, value) = field.split_once('=')?;
        match key {
            "t" => t = value.parse().ok(),
            "for" => purpose = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == value),
            "address" => address = value.parse().ok(),
            "scheme" => is_secure = value == "https",
            "host" => host = is_host(value).then(|| value.to_owned()),
            _ => {} // of a later version
        }
    }
    let client = Client {
        address: address?,
        is_secure,
        host,
    };
    Some((t?, purpose?, client))
}

/// Whether it can stand in the seal, and in a `Host`.
fn is_host(host: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const T: u64 = 1_764_000_000;
    const POLL: Subject<'static> = Subject {
        method: "GET",
        target: "/socket.io/?EIO=4&transport=polling&sid=abc",
    };

    fn client() -> Client {
        Client {
            address: Ipv4Addr::new(203, 0, 113, 9).into(),
            is_secure: true,
            host: Some("chat.example.com:8443".into()),
        }
    }

    fn secrets(text: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.set(text, Instant::now());
        secrets
    }

    #[test]
    fn what_is_sealed_is_read_again() {
        let secrets = secrets("one");
        for purpose in Purpose::ALL {
            for client in [
                client(),
                Client {
                    address: "2001:db8::1".parse().unwrap(),
                    is_secure: false,
                    host: None,
                },
            ] {
                let seal = secrets.seal(purpose, &client, POLL, (T, Instant::now())).unwrap();
                let opened = secrets.open(Some(&seal), POLL, (T + 60, Instant::now()));
                assert_eq!(opened, Ok((purpose, client)));
            }
        }
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let secrets = secrets("one");
        let seal = secrets
            .seal(Purpose::Request, &client(), POLL, (T, Instant::now()))
            .unwrap();
        let seal = seal.to_str().unwrap();
        let now = Instant::now();
        for (from, to) in [
            ("for=request", "for=end"),
            ("203.0.113.9", "203.0.113.8"),
            ("https", "http"),
            ("chat.", "c."),
        ] {
            let changed = HeaderValue::from_str(&seal.replace(from, to)).unwrap();
            assert_ne!(changed, seal);
            assert_eq!(secrets.open(Some(&changed), POLL, (T, now)), Err(Doubt::Forged), "{to}");
        }
        let seal = HeaderValue::from_str(seal).unwrap();
        for subject in [
            Subject { method: "POST", ..POLL },
            Subject {
                target: "/socket.io/?EIO=4&transport=polling&sid=abd",
                ..POLL
            },
        ] {
            assert_eq!(secrets.open(Some(&seal), subject, (T, now)), Err(Doubt::Forged));
        }
        assert_eq!(
            self::secrets("two").open(Some(&seal), POLL, (T, now)),
            Err(Doubt::Forged)
        );
        assert_eq!(Secrets::default().open(Some(&seal), POLL, (T, now)), Err(Doubt::Forged));
    }

    #[test]
    fn what_is_no_seal_is_told_apart_and_so_is_the_wrong_time() {
        let (secrets, now) = (secrets("one"), Instant::now());
        assert_eq!(secrets.open(None, POLL, (T, now)), Err(Doubt::NoSeal));
        for text in ["", "t=1", "t=1,v1=", "v1=AAAA", "t=1,v1=&&", "\u{7f}"] {
            let header = HeaderValue::from_bytes(text.as_bytes()).ok();
            assert!(secrets.open(header.as_ref(), POLL, (T, now)).is_err(), "{text}");
        }
        let seal = secrets.seal(Purpose::Hello, &client(), POLL, (T, now));
        for (t, expected) in [
            (T - 61, Err(Doubt::OutOfTime)),
            (T - 60, Ok((Purpose::Hello, client()))),
            (T + 60, Ok((Purpose::Hello, client()))),
            (T + 61, Err(Doubt::OutOfTime)),
        ] {
            assert_eq!(secrets.open(seal.as_ref(), POLL, (t, now)), expected, "{t}");
        }
    }

    #[test]
    fn the_secret_before_is_good_for_a_minute() {
        let (mut ours, start) = (secrets("one"), Instant::now());
        let old = ours.seal(Purpose::Hello, &client(), POLL, (T, start));
        ours.set("two", start);
        ours.set("two", start + OVERLAP / 2); // read again, not changed
        let opened = |seconds| {
            let now = start + Duration::from_secs(seconds);
            ours.open(old.as_ref(), POLL, (T, now)).map(|_| ())
        };
        assert_eq!(opened(59), Ok(()));
        assert_eq!(opened(60), Err(Doubt::Forged));
        // Whoever has not heard of the new one believes what is sealed with both, and so does who has only that.
        let both = ours.seal(Purpose::Hello, &client(), POLL, (T, start));
        for text in ["one", "two"] {
            assert!(secrets(text).open(both.as_ref(), POLL, (T, start)).is_ok(), "{text}");
        }
        let later = start + OVERLAP;
        let new = ours.seal(Purpose::Hello, &client(), POLL, (T, later));
        assert_eq!(new, secrets("two").seal(Purpose::Hello, &client(), POLL, (T, later)));
    }

    #[test]
    fn a_host_that_is_none_is_left_out() {
        let secrets = secrets("one");
        for host in ["a,for=end", "a\nb", "", &"a".repeat(261)] {
            let client = Client {
                host: Some(host.into()),
                ..client()
            };
            let seal = secrets.seal(Purpose::Request, &client, POLL, (T, Instant::now()));
            let (_, opened) = secrets.open(seal.as_ref(), POLL, (T, Instant::now())).unwrap();
            assert_eq!(opened.host, None, "{host}");
        }
    }
}
