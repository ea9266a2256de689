//! HTTP/1.1 as far as Engine.IO needs it: requests to write, answers to read.
//!
//! An answer is given out when all of it is there. It is read from where it lies; only one in chunks is copied.

use std::borrow::Cow;

use memchr::memmem;

use super::failure::Failure;

/// Bytes of the longest head and of the longest body that are taken.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 64 << 20;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// Whether its body is a v3 payload in binary.
    pub(super) is_binary: bool,
    /// Whether the connection ends behind it.
    pub(super) is_last: bool,
    pub(super) body: Cow<'a, [u8]>,
}

/// What a head says of the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Unknown,
    Bytes(usize),
    Chunked,
}

/// The answer at the beginning of `input` and its bytes; `None` while it is not complete.
pub(super) fn answer(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, Failure> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > HEAD_BYTES_MAX {
            Err(Failure::Protocol("the head of an answer is too long"))
        } else {
            Ok(None)
        };
    };
    let (mut answer, length) = head(&input[..end])?;
    let rest = &input[end + 4..];
    let body = match length {
        _ if matches!(answer.status, 101 | 204 | 304) => Some((Cow::Borrowed(&b""[..]), 0)),
        Length::Unknown => return Err(Failure::status(answer.status, rest)),
        Length::Bytes(length) => rest.get(..length).map(|body| (Cow::Borrowed(body), length)),
        Length::Chunked => chunks(rest)?.map(|(body, used)| (Cow::Owned(body), used)),
    };
    if body.is_none() && rest.len() > BODY_BYTES_MAX + HEAD_BYTES_MAX {
        return Err(Failure::Protocol("an answer is too long")); // whatever its chunks say
    }
    Ok(body.map(|(body, used)| {
        answer.body = body;
        (answer, end + 4 + used)
    }))
}

fn head(head: &[u8]) -> Result<(Answer<'static>, Length), Failure> {
    let not_http = Failure::Protocol("what answers does not speak HTTP");
    let Ok(head) = std::str::from_utf8(head) else {
        return Err(not_http);
    };
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok());
    let Some(status) = status else {
        return Err(not_http);
    };
    let mut answer = Answer {
        status,
        is_binary: false,
        is_last: first.starts_with("HTTP/1.0"),
        body: Cow::Borrowed(b""),
    };
    let mut length = Length::Unknown;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let bytes = value.parse().ok().filter(|bytes| *bytes <= BODY_BYTES_MAX);
            length = Length::Bytes(bytes.ok_or(Failure::Protocol("an answer is too long"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("content-type") {
            answer.is_binary = value == crate::protocol::payload::BINARY_TYPE;
        } else if name.eq_ignore_ascii_case("connection") {
            answer.is_last = value.eq_ignore_ascii_case("close");
        }
    }
    Ok((answer, length))
}

/// A body in chunks and the bytes that it takes; `None` while it is not complete.
fn chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Failure> {
    let broken = Failure::Protocol("the chunks of an answer are none");
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = memmem::find(&input[at..], b"\r\n") else {
            return Ok(None);
        };
        let digits = input[at..at + line]
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().map(str::trim);
        let size = size.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size.filter(|size| *size <= BODY_BYTES_MAX - body.len()) else {
            return Err(broken);
        };
        at += line + 2;
        let Some(chunk) = input.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err(broken); // trailers, too, which no server of Engine.IO sends
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// Appends a request, whose body is `text/plain` if there is one.
pub(super) fn push_request(out: &mut Vec<u8>, authority: &str, target: &str, body: Option<&[u8]>) {
    let method = if body.is_some() { "POST" } else { "GET" };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n");
    out.extend_from_slice(head.as_bytes());
    match body {
        Some(body) => {
            let length = body.len();
            let fields = format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n");
            out.extend_from_slice(fields.as_bytes());
            out.extend_from_slice(body);
        }
        None => out.extend_from_slice(b"\r\n"),
    }
}

/// Appends the request for a WebSocket. Its key is that of RFC 6455's example: nobody is to be kept out by it.
pub(super) fn push_upgrade(out: &mut Vec<u8>, authority: &str, target: &str) {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Option<(u16, &str)>) {
        let found = answer(input.as_bytes()).unwrap();
        let found = found.map(|(answer, used)| {
            assert_eq!(&input[used..], "", "{input}");
            (answer.status, String::from_utf8(answer.body.into_owned()).unwrap())
        });
        let found = found.as_ref().map(|(status, body)| (*status, &**body));
        assert_eq!(found, expected, "{input}");
        for cut in 0..input.len() {
            assert_eq!(answer(&input.as_bytes()[..cut]).unwrap(), None, "{cut} of {input}");
        }
    }

    #[test]
    fn answers_are_given_out_when_they_are_complete() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Some((200, "hello")),
        );
        check(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            Some((101, "")),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "")));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            Some((200, "hello")),
        );
    }

    #[test]
    fn what_a_head_says_is_heard() {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let (found, _) = answer(text.as_bytes()).unwrap().unwrap();
        assert!(found.is_binary && found.is_last);
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\nHTTP";
        let (found, used) = answer(text.as_bytes()).unwrap().unwrap();
        assert!(!found.is_binary && !found.is_last);
        assert_eq!(used, text.len() - 4);
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        for input in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nto the end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(answer(input.as_bytes()).is_err(), "{input}");
        }
        assert!(answer(&vec![b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn requests_say_what_is_asked() {
        let mut out = Vec::new();
        push_request(&mut out, "a:1", "/x?y", Some(b"40"));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("POST /x?y HTTP/1.1\r\nHost: a:1\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n40"), "{text}");
    }
}
