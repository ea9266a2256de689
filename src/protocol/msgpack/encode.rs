//! A packet for text clients, rewritten in MessagePack.
//!
//! One walk over JSON that was checked before, into one buffer. Nothing is written for what a packet does not have: the
//! clients' parser refuses nil where it expects nothing.

use bytes::Bytes;
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint,
};

use super::super::json::{self, DEPTH_MAX, JsonError, Scanner};

/// Levels that an answer or event of ours may have: a client's, in one array more.
const LEVELS_MAX: u32 = DEPTH_MAX + 1;

/// How many times their size attachments may take in all: a text may name one of them any number of times, and here each
/// time costs its bytes.
const REPEATS_MAX: usize = 4;

/// Bytes of attachments that are no matter, however often they are named.
const REPEATED_BYTES_MIN: usize = 64 * 1024;

/// Writes the packet whose text is `packet` (with Engine.IO's type digit) and whose placeholders stand for `attachments`.
///
/// # Errors
/// When it is no Socket.IO packet of ours.
pub(in super::super) fn encode(packet: &str, attachments: &[Bytes]) -> Result<Vec<u8>, JsonError> {
    let head = Head::parse(packet).ok_or(JsonError)?;
    let bytes: usize = attachments.iter().map(Bytes::len).sum();
    let mut writer = Writer {
        scanner: Scanner::new(head.json),
        out: Vec::with_capacity(packet.len() + bytes + 32),
        attachments,
        bytes_left: (bytes * REPEATS_MAX).max(REPEATED_BYTES_MIN),
    };
    let keys = 2 + u32::from(!head.json.is_empty()) + u32::from(head.id.is_some());
    let out = &mut writer.out;
    taken(write_map_len(out, keys));
    taken(write_str(out, "type"));
    taken(write_uint(out, head.kind.into()));
    if !head.json.is_empty() {
        taken(write_str(out, "data"));
        writer.value(0)?;
    }
    let out = &mut writer.out;
    taken(write_str(out, "nsp"));
    taken(write_str(out, head.namespace));
    if let Some(id) = head.id {
        taken(write_str(out, "id"));
        taken(write_uint(out, id));
    }
    Ok(writer.out)
}

/// What stands before the JSON of a packet.
struct Head<'a> {
    kind: u8,
    namespace: &'a str,
    id: Option<u64>,
    json: &'a str,
}

impl<'a> Head<'a> {
    fn parse(packet: &'a str) -> Option<Self> {
        let packet = packet.strip_prefix('4')?;
        let (kind, mut rest) = match packet.as_bytes().first()? {
            kind @ b'0'..=b'4' => (kind - b'0', &packet[1..]),
            kind @ b'5'..=b'6' => (kind - b'0' - 3, packet.split_once('-')?.1),
            _ => return None,
        };
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',')?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
        Some(Self {
            kind,
            namespace,
            id,
            json,
        })
    }
}

struct Writer<'a> {
    scanner: Scanner<'a>,
    out: Vec<u8>,
    attachments: &'a [Bytes],
    /// Bytes of attachments that may still be written.
    bytes_left: usize,
}

impl<'a> Writer<'a> {
    /// One value. Recursion is bounded by `LEVELS_MAX`.
    fn value(&mut self, depth: u32) -> Result<(), JsonError> {
        self.scanner.skip_space();
        let out = &mut self.out;
        match self.scanner.peek().ok_or(JsonError)? {
            b'{' | b'[' if depth == LEVELS_MAX => return Err(JsonError),
            b'[' => return self.array(depth + 1),
            b'{' => return self.object(depth + 1),
            b'"' => return self.text(),
            b'n' => write_nil(out).map_err(|_| JsonError)?,
            first @ (b't' | b'f') => write_bool(out, first == b't').map_err(|_| JsonError)?,
            _ => {}
        }
        let literal = self.scanner.take_scalar()?;
        if literal.ends_with(|last: char| last.is_ascii_digit()) {
            self.number(literal)?;
        }
        Ok(())
    }

    /// A string, or an object's key. The last thing written.
    fn text(&mut self) -> Result<(), JsonError> {
        let raw = self.scanner.take_scalar()?;
        let text = json::string(raw).ok_or(JsonError)?;
        taken(write_str(&mut self.out, &text));
        Ok(())
    }

    fn number(&mut self, digits: &str) -> Result<(), JsonError> {
        let out = &mut self.out;
        if let Ok(number) = digits.parse::<u64>() {
            taken(write_uint(out, number));
        } else if let Ok(number) = digits.parse::<i64>()
            && number != 0
        {
            taken(write_sint(out, number));
        } else {
            taken(write_f64(out, digits.parse().map_err(|_| JsonError)?));
        }
        Ok(())
    }

    fn array(&mut self, depth: u32) -> Result<(), JsonError> {
        let at = self.begin()?;
        let mut length = 0;
        while !self.scanner.eat(b']') {
            self.value(depth)?;
            self.scanner.next_item();
            length += 1;
        }
        self.end(at, |head| write_array_len(head, length).is_ok());
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Result<(), JsonError> {
        let at = self.begin()?;
        let mut length = 0;
        let (mut is_placeholder, mut number) = (false, None);
        while !self.scanner.eat(b'}') {
            let key = json::string(self.scanner.take_scalar()?).ok_or(JsonError)?;
            taken(write_str(&mut self.out, &key));
            self.scanner.skip_space();
            self.scanner.expect(b':')?;
            self.scanner.skip_space();
            let rest = self.scanner.rest();
            self.value(depth)?;
            let value = &rest[..rest.len() - self.scanner.rest().len()];
            match &*key {
                "_placeholder" => is_placeholder = value == "true",
                "num" => number = value.parse::<usize>().ok(),
                _ => {}
            }
            self.scanner.next_item();
            length += 1;
        }
        if is_placeholder && !self.attachments.is_empty() {
            self.out.truncate(at);
            return self.attachment(number.ok_or(JsonError)?);
        }
        self.end(at, |head| write_map_len(head, length).is_ok());
        Ok(())
    }

    /// The bytes that a placeholder stands for.
    fn attachment(&mut self, number: usize) -> Result<(), JsonError> {
        let bytes = self.attachments.get(number).ok_or(JsonError)?;
        match self.bytes_left.checked_sub(bytes.len()) {
            Some(left) => {
                self.bytes_left = left;
                taken(write_bin(&mut self.out, bytes));
            }
            None => taken(write_nil(&mut self.out)),
        }
        Ok(())
    }

    /// Enters an array or object. How long it is shows at its end alone: one byte is left for that, which is enough for
    /// most.
    fn begin(&mut self) -> Result<usize, JsonError> {
        self.scanner.enter();
        let at = self.out.len();
        self.out.push(0);
        Ok(at)
    }

    /// Writes the head of an array or object that began at `at`.
    fn end(&mut self, at: usize, write: impl FnOnce(&mut &mut [u8]) -> bool) {
        let mut head = [0; 5];
        let mut room: &mut [u8] = &mut head;
        let is_written = write(&mut room);
        debug_assert!(is_written, "the longest head has five bytes");
        let length = 5 - room.len();
        self.out.splice(at..=at, head[..length].iter().copied());
    }
}

/// A vector takes everything.
fn taken<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "memory takes what is written into it");
}
