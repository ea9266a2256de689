//! The PROXY protocol: who a balancer says the client is, before the first byte of HTTP (`server.proxy_protocol`).
//!
//! Read strictly, within bounds and without I/O. Only what a sender must write is taken: a header that is not exactly
//! one of versions 1 and 2 ends the connection, as its peer may be anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest header of version 1, its line end included.
const V1_BYTES_MAX: usize = 107;

/// Longest header of version 2 that is read: addresses and what balancers write behind them.
pub(super) const V2_BYTES_MAX: usize = 536;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses: its start, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = 16;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its bytes; HTTP follows.
    pub(super) length: usize,
    /// The client's address; `None` where the balancer speaks for itself, or does not know.
    pub(super) source: Option<IpAddr>,
}

/// These bytes can begin no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY header")]
pub(super) struct NoHeader;

/// Reads the header that `bytes` begin with; `None` while it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let may_be = |start: &[u8]| bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted);
    if may_be(V1_START) {
        version_1(bytes)
    } else if may_be(V2_START) {
        version_2(bytes)
    } else {
        Err(NoHeader)
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`, `PROXY UNKNOWN…\r\n`
fn version_1(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let is_full = window.len() == V1_BYTES_MAX;
        return if is_full { Err(NoHeader) } else { Ok(None) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        Some("UNKNOWN") => None, // and whatever stands behind it
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?.into()),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?.into()),
        _ => return Err(NoHeader),
    };
    Ok(Some(Header {
        length: end + 1,
        source,
    }))
}

/// The first of two addresses, with two ports and nothing behind them.
fn addresses<'a, T: FromStr>(mut words: impl Iterator<Item = &'a str>) -> Result<T, NoHeader> {
    let mut address = || words.next().and_then(|word| word.parse().ok()).ok_or(NoHeader);
    let (source, _): (T, T) = (address()?, address()?);
    for _ in 0..2 {
        let port = words.next().ok_or(NoHeader)?;
        // `parse` would take a sign; a sender writes no leading zeros.
        let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        if !is_plain || port.parse::<u16>().is_err() {
            return Err(NoHeader);
        }
    }
    if words.next().is_some() {
        Err(NoHeader)
    } else {
        Ok(source)
    }
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some(fixed) = bytes.get(V2_START.len()..V2_FIXED_BYTES) else {
        return Ok(None);
    };
    let [command, family, high, low] = *fixed else {
        return Err(NoHeader);
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err(NoHeader);
    }
    let Some(rest) = bytes.get(V2_FIXED_BYTES..length) else {
        return Ok(None);
    };
    let source = match command {
        0x20 => None, // LOCAL: the balancer itself, for a health check
        0x21 => source(family, rest)?,
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { length, source }))
}

/// The source address of version 2; what follows the addresses (TLVs) is not looked at.
fn source(family: u8, rest: &[u8]) -> Result<Option<IpAddr>, NoHeader> {
    const V4_BYTES: usize = 2 * 4 + 2 * 2;
    const V6_BYTES: usize = 2 * 16 + 2 * 2;
    const UNIX_BYTES: usize = 2 * 108;
    match family {
        0x00 => Ok(None),
        0x11 if rest.len() >= V4_BYTES => Ok(rest.first_chunk::<4>().copied().map(IpAddr::from)),
        0x21 if rest.len() >= V6_BYTES => Ok(rest.first_chunk::<16>().copied().map(IpAddr::from)),
        0x31 if rest.len() >= UNIX_BYTES => Ok(None),
        _ => Err(NoHeader), // too short, or datagrams
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_START, &[command, family], &length, rest].concat()
    }

    fn complete() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&Ipv6Addr::from_str("2001:db8::9").unwrap().octets());
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 16));
        vec![
            (
                b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n".to_vec(),
                Some("203.0.113.9"),
            ),
            (b"PROXY TCP6 2001:db8::9 ::1 0 65535\r\n".to_vec(), Some("2001:db8::9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (version_2(0x21, 0x11, &v4), Some("203.0.113.9")),
            (
                version_2(0x21, 0x11, &[&v4[..], &[3, 0, 1, 7]].concat()),
                Some("203.0.113.9"),
            ),
            (version_2(0x21, 0x21, &v6), Some("2001:db8::9")),
            (version_2(0x21, 0x31, &[0; 216]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &v4), None),
            (version_2(0x20, 0x00, &[0; V2_BYTES_MAX - V2_FIXED_BYTES]), None),
        ]
    }

    #[test]
    fn a_header_is_read_once_its_last_byte_is_there() {
        for (header, source) in complete() {
            let source = source.map(|source| source.parse().unwrap());
            let length = header.len();
            for cut in 0..length {
                assert_eq!(parse(&header[..cut]), Ok(None), "{header:?} cut at {cut}");
            }
            let with_more = [&header, &b"GET / HTTP/1.1\r\n"[..]].concat();
            assert_eq!(parse(&with_more), Ok(Some(Header { length, source })), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_told_as_soon_as_it_shows() {
        for bytes in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY\tTCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1  1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 a.example 1.1.1.1 1 1\r\n",
            "\r\n\r\n\0\r\nQUIT\r",
        ] {
            assert_eq!(parse(bytes.as_bytes()), Err(NoHeader), "{bytes:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "f".repeat(V1_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Err(NoHeader));
        for bytes in [
            version_2(0x11, 0x11, &[0; 12]),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x21, 0x11, &[0; 11]),
            version_2(0x21, 0x12, &[0; 12]),
            version_2(0x21, 0x21, &[0; 35]),
            version_2(0x21, 0x31, &[0; 215]),
            version_2(0x21, 0x41, &[0; 216]),
            version_2(0x20, 0x00, &[0; V2_BYTES_MAX - V2_FIXED_BYTES + 1]),
        ] {
            assert_eq!(parse(&bytes), Err(NoHeader), "{:?}", &bytes[..16]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_badly_or_wait_for_ever(
            start in prop::sample::select(vec![&b""[..], V1_START, b"PROXY TCP4 ", V2_START]),
            bytes in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let bytes = [start, &bytes].concat();
            match parse(&bytes) {
                Ok(Some(header)) => prop_assert!(header.length <= bytes.len() && header.length <= V2_BYTES_MAX),
                Ok(None) => prop_assert!(bytes.len() < V2_BYTES_MAX),
                Err(NoHeader) => {}
            }
        }
    }
}
