//! What must hold for every stream of bytes before HTTP.
//!
//! How the bytes come in pieces makes no difference, and what passes is read in the same way by a reader that knows
//! nothing but RFC 9112, and has all of it at once.

use super::{Place, Scanner};

/// Any bytes; they come in pieces whose sizes are taken from them, too.
pub(crate) fn gate(data: &[u8]) {
    let whole = scan(data, [data.len().max(1)]);
    assert_eq!(scan(data, [1]), whole, "byte by byte");
    let sizes: Vec<_> = data.iter().map(|byte| usize::from(byte % 16) + 1).collect();
    if !sizes.is_empty() {
        assert_eq!(scan(data, sizes), whole, "in pieces");
    }
    match whole {
        Err(at) => {
            assert!(at < data.len() && data[at] == b'\n', "a line is refused at its end");
            assert!(scan(&data[..at], [data.len()]).is_ok(), "nothing before is wrong");
        }
        Ok((Place::Start, 0)) => {
            if let Some(rest) = simple_reading(data) {
                assert!(rest.is_empty(), "a plain reader sees a request in {rest:?}");
            }
        }
        Ok(_) => {}
    }
}

/// Reads `data` in pieces: where it refuses, or where it is then, and how much of a line it has begun.
fn scan<T: IntoIterator<Item = usize, IntoIter: Clone>>(data: &[u8], sizes: T) -> Result<(Place, usize), usize> {
    let mut scanner = Scanner::default();
    let (mut sizes, mut at) = (sizes.into_iter().cycle(), 0);
    while at < data.len() {
        let end = data.len().min(at + sizes.next().unwrap_or(1));
        scanner.scan(&data[at..end]).map_err(|place| at + place)?;
        assert!(
            scanner.begun.len() <= super::LINE_BYTES + 1,
            "only the beginning of a line is kept"
        );
        at = end;
    }
    Ok((scanner.place, scanner.length))
}

/// Reads whole requests, one after the other, and returns what is behind the last; `None` where a WebSocket begins, or hyper
/// refuses by itself.
///
/// # Panics
/// Where a request could be read in two ways.
fn simple_reading(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        if rest.is_empty() {
            return Some(rest);
        }
        let (head, behind) = split(rest, b"\r\n\r\n").expect("a head that ends");
        rest = behind;
        assert!(!has_bare_line_feed(head), "a bare line feed");
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        lines.next();
        for line in lines {
            assert!(
                !line.starts_with(b" ") && !line.starts_with(b"\t"),
                "a line that goes on"
            );
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (
                line[..colon].to_ascii_lowercase(),
                line[colon + 1..].to_ascii_lowercase(),
            );
            if name.trim_ascii_end() != name {
                return None; // hyper refuses the request
            }
            match &name[..] {
                b"content-length" => lengths.push(value),
                b"transfer-encoding" => codings.push(value),
                b"upgrade" if value.windows(9).any(|part| part == b"websocket") => return None,
                _ => {}
            }
        }
        assert!(lengths.len() + codings.len() <= 1, "two lengths");
        if let Some(length) = lengths.first() {
            let length = std::str::from_utf8(length).expect("digits").trim_matches([' ', '\t']);
            rest = rest.get(length.parse().expect("a length")..).expect("the whole body");
        }
        if let Some(coding) = codings.first() {
            assert_eq!(coding.trim_ascii(), b"chunked");
            rest = behind_chunks(rest);
        }
    }
}

fn behind_chunks(mut rest: &[u8]) -> &[u8] {
    loop {
        let (line, behind) = split(rest, b"\r\n").expect("the size of a chunk");
        assert!(!has_bare_line_feed(line), "a bare line feed");
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            // Trailers, which end with an empty line.
            let mut rest = behind;
            while let Some((line, behind)) = split(rest, b"\r\n") {
                assert!(!has_bare_line_feed(line), "a bare line feed");
                rest = behind;
                if line.is_empty() {
                    return rest;
                }
            }
            panic!("trailers without an end");
        }
        rest = behind[size..].strip_prefix(b"\r\n").expect("a line end behind a chunk");
    }
}

fn has_bare_line_feed(text: &[u8]) -> bool {
    (0..text.len()).any(|at| text[at] == b'\n' && (at == 0 || text[at - 1] != b'\r'))
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|part| part == at)?;
    Some((&bytes[..place], &bytes[place + at.len()..]))
}
