//! Looking at clients' JSON without taking it apart.
//!
//! Arguments pass from client to client as the bytes they came as, so that numbers keep their digits and nothing is
//! paid for a tree that nobody reads. What is passed on must be JSON all the same, or one client could break the
//! others' parsers: one pass checks the grammar (RFC 8259) and the depth and remembers where the first elements are.

use std::borrow::Cow;

use super::quote::plain;
pub use super::quote::write_string;

/// Levels of nesting that are accepted. Also the bits of the stack that tells objects from arrays.
pub const DEPTH_MAX: u32 = 64;

/// Elements of an array whose places are remembered: an event's name, its rooms, the relayed event's name and what follows.
const ELEMENTS_KEPT: usize = 4;

/// Text that is not JSON, or JSON that is too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON value of at most {DEPTH_MAX} levels")]
pub struct JsonError;

/// A checked JSON array and where its first elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    text: &'a str,
    spans: [(usize, usize); ELEMENTS_KEPT],
    length: usize,
}

impl<'a> Array<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is not a JSON array, or nested too deeply.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text);
        scanner.skip_space();
        if scanner.peek() != Some(b'[') {
            return Err(JsonError);
        }
        scanner.document()?;
        let Scanner { spans, length, .. } = scanner;
        Ok(Self {
            text: text.trim_end_matches([' ', '\t', '\n', '\r']),
            spans,
            length,
        })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Element `index` as written, for the first four.
    pub fn element(&self, index: usize) -> Option<&'a str> {
        let (start, end) = *self.spans.get(index).filter(|_| index < self.length)?;
        Some(&self.text[start..end])
    }

    /// The elements from `index` on and the closing bracket, as written: `1,2]`. For the first four.
    pub fn tail(&self, index: usize) -> &'a str {
        match self.spans.get(index) {
            Some((start, _)) if index < self.length => &self.text[*start..],
            _ => "]",
        }
    }
}

/// Checks that `text` is one JSON object.
///
/// # Errors
/// When it is anything else, or nested too deeply.
pub fn check_object(text: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        return Err(JsonError);
    }
    scanner.document()
}

/// Checks that `text` is one JSON value.
///
/// # Errors
/// When it is anything else, or nested too deeply.
pub fn check_value(text: &str) -> Result<(), JsonError> {
    Scanner::new(text).document()
}

/// The text of a JSON string as written. Lone surrogates, which JavaScript can send, become U+FFFD; `None` where `raw` is no string.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        match escape {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let (decoded, length) = unicode_escape(rest)?;
                out.push(decoded);
                rest = &rest[length..];
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// Reads what follows `\u`, and the second half of a pair; the character and the bytes it took.
fn unicode_escape(rest: &str) -> Option<(char, usize)> {
    let unit = u16::from_str_radix(rest.get(..4)?, 16).ok()?;
    let low = || {
        let pair = rest.get(4..10)?.strip_prefix("\\u")?;
        u16::from_str_radix(pair, 16)
            .ok()
            .filter(|low| (0xdc00..0xe000).contains(low))
    };
    match unit {
        0xd800..0xdc00 => Some(low().map_or((char::REPLACEMENT_CHARACTER, 4), |low| {
            let code = 0x1_0000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        })),
        _ => Some((
            char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER),
            4,
        )),
    }
}

/// Checks the placeholders `{"_placeholder":true,"num":n}` of a binary packet: each `n` must be an integer below `attachments`.
/// `text` must have been checked before.
///
/// # Errors
/// When one is not: Node calls that "illegal attachments" (CVE-2022-2421).
pub fn check_placeholders(text: &str, attachments: usize) -> Result<(), JsonError> {
    if !text.contains("placeholder") && !text.contains("\\u") {
        return Ok(());
    }
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    scanner.placeholders(attachments)
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// One bit a level, the innermost lowest: set for an object.
    objects: u64,
    spans: [(usize, usize); ELEMENTS_KEPT],
    length: usize,
}

const _: () = assert!(DEPTH_MAX == u64::BITS, "the stack of the scanner is one word");

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth: 0,
            objects: 0,
            spans: [(0, 0); ELEMENTS_KEPT],
            length: 0,
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(JsonError) }
    }

    /// Takes a value that holds no others.
    pub(super) fn take_scalar(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.scalar()?;
        Ok(&self.text[start..self.at])
    }

    /// One value and nothing behind it.
    fn document(&mut self) -> Result<(), JsonError> {
        loop {
            self.skip_space();
            if self.depth == 1 && self.objects & 1 == 0 {
                self.begin_element();
            }
            let opened = match self.peek() {
                Some(b'{') => self.open(true)?,
                Some(b'[') => self.open(false)?,
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if opened {
                continue;
            }
            if self.after_value()? {
                self.skip_space();
                return if self.at == self.bytes.len() {
                    Ok(())
                } else {
                    Err(JsonError)
                };
            }
        }
    }

    /// Enters an object or array; false where it is empty and thus already over.
    fn open(&mut self, object: bool) -> Result<bool, JsonError> {
        self.at += 1;
        if self.depth == DEPTH_MAX {
            return Err(JsonError);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        self.skip_space();
        if self.eat(if object { b'}' } else { b']' }) {
            self.close();
            return Ok(false);
        }
        if object {
            self.key()?;
        }
        Ok(true)
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    /// Commas and closing brackets behind a value; true when the outermost value is over.
    fn after_value(&mut self) -> Result<bool, JsonError> {
        loop {
            if self.depth == 0 {
                return Ok(true);
            }
            let object = self.objects & 1 == 1;
            if self.depth == 1 && !object {
                self.end_element();
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if object {
                        self.skip_space();
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if object => self.at += 1,
                Some(b']') if !object => self.at += 1,
                _ => return Err(JsonError),
            }
            self.close();
        }
    }

    fn begin_element(&mut self) {
        if let Some(span) = self.spans.get_mut(self.length) {
            span.0 = self.at;
        }
        self.length += 1;
    }

    fn end_element(&mut self) {
        // An array that was empty ends no element.
        if let Some(span) = self.length.checked_sub(1).and_then(|last| self.spans.get_mut(last)) {
            span.1 = self.at;
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), JsonError> {
        self.string()?;
        self.skip_space();
        self.expect(b':')
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(JsonError),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(JsonError);
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.expect(b'"')?;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            let byte = self.peek();
            self.at += 1;
            match byte {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                _ => return Err(JsonError),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let escaped = self.peek().ok_or(JsonError)?;
        self.at += 1;
        match escaped {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4).ok_or(JsonError)?;
                self.at += 4;
                if digits.iter().all(u8::is_ascii_hexdigit) {
                    Ok(())
                } else {
                    Err(JsonError)
                }
            }
            _ => Err(JsonError),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            self.fraction()?;
        }
        Ok(())
    }

    /// What follows the whole part of a number.
    fn fraction(&mut self) -> Result<(), JsonError> {
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let mut at = self.at;
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let is_empty = at == self.at;
        self.at = at;
        if is_empty { Err(JsonError) } else { Ok(()) }
    }

    /// Walks a checked value and checks the placeholders in it. Recursion is bounded by `DEPTH_MAX`.
    fn placeholders(&mut self, attachments: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'[') => {
                self.at += 1;
                self.skip_space();
                while !self.eat(b']') {
                    self.placeholders(attachments)?;
                    self.next_item();
                }
                Ok(())
            }
            Some(b'{') => self.placeholder_object(attachments),
            _ => self.scalar(),
        }
    }

    fn placeholder_object(&mut self, attachments: usize) -> Result<(), JsonError> {
        let (mut is_placeholder, mut number) = (false, None);
        self.at += 1;
        self.skip_space();
        while !self.eat(b'}') {
            let key = string(self.take_scalar()?).ok_or(JsonError)?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let value_start = self.at;
            self.placeholders(attachments)?;
            let value = &self.text[value_start..self.at];
            match &*key {
                "_placeholder" => is_placeholder = value == "true",
                "num" => number = value.parse::<usize>().ok(),
                _ => {}
            }
            self.next_item();
        }
        if is_placeholder && number.is_none_or(|number| number >= attachments) {
            return Err(JsonError);
        }
        Ok(())
    }

    /// Moves over a comma and the space around it; a closing bracket stays.
    pub(super) fn next_item(&mut self) {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_elements_are_found() {
        let array = Array::parse(r#" [ "a" , {"b":[1,2]},[ ],4.5e1, 5 ] "#).unwrap();
        assert_eq!(array.len(), 5);
        assert_eq!(array.element(0), Some(r#""a""#));
        assert_eq!(array.element(1), Some(r#"{"b":[1,2]}"#));
        assert_eq!(array.element(2), Some("[ ]"));
        assert_eq!(array.element(3), Some("4.5e1"));
        assert_eq!(array.element(4), None);
        assert_eq!(array.tail(2), "[ ],4.5e1, 5 ]");
        assert_eq!(array.tail(7), "]");
        let empty = Array::parse("[]").unwrap();
        assert!(empty.is_empty());
        assert_eq!((empty.element(0), empty.tail(0)), (None, "]"));
    }

    #[test]
    fn what_is_not_an_array_of_json_is_refused() {
        for text in [
            "",
            "[",
            "]",
            "{}",
            "1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[1e]",
            "[-]",
            "[tru]",
            "[nul]",
            "[\"a]",
            "[\"\n\"]",
            "[\"\\x\"]",
            "[\"\\u12g4\"]",
            "[{\"a\"}]",
            "[{a:1}]",
            "[{\"a\":1,}]",
            "[{\"a\":1]",
            "[1}",
            "[1]]",
            "[1] x",
            "[NaN]",
            "['a']",
            "[\u{a0}1]",
        ] {
            assert!(Array::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Array::parse(&nested(64)).is_ok());
        assert!(Array::parse(&nested(65)).is_err());
        assert!(Array::parse(&"[".repeat(1_000_000)).is_err());
        assert!(check_object(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    #[test]
    fn strings_lose_their_escapes_and_lone_surrogates() {
        for (raw, expected) in [
            (r#""plain""#, Some("plain")),
            (r#""a\n\"\\\/\u00e9""#, Some("a\n\"\\/é")),
            (r#""\ud83d\ude00""#, Some("😀")),
            (r#""\ud83d""#, Some("\u{fffd}")),
            (r#""\ud83dx""#, Some("\u{fffd}x")),
            (r#""\ud83d\u0041""#, Some("\u{fffd}A")),
            (r#""\ude00""#, Some("\u{fffd}")),
            ("1", None),
        ] {
            assert_eq!(string(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn placeholders_must_name_an_attachment() {
        for (text, attachments, good) in [
            (r#"["e",{"_placeholder":true,"num":0}]"#, 1, true),
            (
                r#"["e",{"num":1,"_placeholder":true},{"_placeholder":true,"num":0}]"#,
                2,
                true,
            ),
            (r#"["e",{"a":[{"b":{"_placeholder":true,"num":0}}]}]"#, 1, true),
            (r#"["e",{"_placeholder":false,"num":9}]"#, 1, true),
            (r#"["e",{"_placeholder":1,"num":"splice"}]"#, 1, true),
            (r#"["e",{"_placeholder":true,"num":1}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":-1}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":0.5}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":"splice"}]"#, 1, false),
            (r#"["e",{"_placeholder":true}]"#, 1, false),
            (r#"["e",{"\u005fplaceholder":true,"num":7}]"#, 1, false),
            (r#"["e",{"x":{"_placeholder": true , "num": 3 }}]"#, 1, false),
        ] {
            assert!(Array::parse(text).is_ok(), "{text}");
            assert_eq!(check_placeholders(text, attachments).is_ok(), good, "{text}");
        }
    }

    /// Arbitrary JSON text, with space in odd places.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>()
                .prop_filter("JSON has no NaN", |value| value.is_finite())
                .prop_map(|value| format!("{value:e}")),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<String>().prop_map(|value| serde_json::to_string(&value).unwrap()),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[ {}]", items.join(" ,"))),
                prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|items| {
                    let items: Vec<_> = items
                        .into_iter()
                        .map(|(key, value)| format!("{} :{value}", serde_json::to_string(&key).unwrap()))
                        .collect();
                    format!("{{{}\t}}", items.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_array_is_accepted_and_cut_where_serde_cuts_it(items in prop::collection::vec(any_json(), 0..6)) {
            let text = format!("[{}]", items.join(","));
            let array = Array::parse(&text).unwrap();
            prop_assert_eq!(array.len(), items.len());
            for (index, item) in items.iter().enumerate().take(ELEMENTS_KEPT) {
                prop_assert_eq!(array.element(index), Some(item.as_str()));
            }
        }

        #[test]
        fn damaged_json_is_judged_as_serde_judges_it(text in any_json(), at in any::<prop::sample::Index>(), byte in 0u8..128) {
            let mut bytes = format!("[{text}]").into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                let expected = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(&text).is_ok();
                prop_assert_eq!(Array::parse(&text).is_ok(), expected, "{}", text);
            }
        }

        #[test]
        fn strings_are_written_and_read_back(text in any::<String>()) {
            let mut raw = String::new();
            write_string(&mut raw, &text);
            prop_assert_eq!(&serde_json::from_str::<String>(&raw).unwrap(), &text);
            prop_assert_eq!(string(&raw).unwrap(), text);
        }
    }
}
