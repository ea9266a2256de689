//! Rust source as the rules see it: its words, without comments, strings and unit tests.
//!
//! Not a parser: it knows where comments, strings and items end, and nothing of what they mean.

use std::ops::Range;

/// A word, a `::` or a single other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Whether it is part of a unit test.
    pub(crate) is_test: bool,
}

/// The text with comments, strings and characters blanked, byte for byte. Paths in strings (`with = "crate::…"`) stay.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => at + text[at..].find('\n').unwrap_or(bytes.len() - at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if starts_word(bytes, at) => raw_string_end(text, at, 1),
            b'b' | b'c' if starts_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => raw_string_end(text, at, 2),
            b'\'' => character_end(text, at),
            _ => at,
        };
        if end > at && !text[at..end].starts_with("\"crate::") {
            out[at..end]
                .iter_mut()
                .filter(|byte| **byte != b'\n')
                .for_each(|byte| *byte = b' ');
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !is_word(bytes[at - 1])
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of `r#"…"#` with its quotes after `prefix` bytes; `start` where there is none.
fn raw_string_end(text: &str, start: usize, prefix: usize) -> usize {
    let rest = &text[start + prefix..];
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(hashes) != Some(&b'"') {
        return start;
    }
    let body = &rest[hashes + 1..];
    let close = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&close).map_or(body.len(), |at| at + close.len());
    start + prefix + hashes + 1 + length
}

/// The end of a character; `start` where the quote begins a lifetime.
fn character_end(text: &str, start: usize) -> usize {
    let mut characters = text[start + 1..].char_indices();
    match characters.next() {
        Some((_, '\\')) => {
            characters.next(); // the escaped one may be a quote
            characters
                .find(|(_, character)| *character == '\'')
                .map_or(start, |(at, _)| start + at + 2)
        }
        Some(_) => match characters.next() {
            Some((at, '\'')) => start + at + 2,
            _ => start,
        },
        None => start,
    }
}

/// The words of blanked text.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let length = match bytes[at] {
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            byte if is_word(byte) => bytes[at..].iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        if !bytes[at].is_ascii_whitespace() {
            tokens.push(Token {
                text: &code[at..at + length],
                line,
                is_test: false,
            });
        }
        line += usize::from(bytes[at] == b'\n');
        at += length;
    }
    for test in tests(&tokens) {
        tokens[test].iter_mut().for_each(|token| token.is_test = true);
    }
    tokens
}

/// Where the items are that `#[cfg(test)]` marks, or `#[cfg(any(test, fuzzing))]`.
fn tests(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    const TEST: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];
    const FUZZING: &[&str] = &["#", "[", "cfg", "(", "any", "(", "test", ",", "fuzzing", ")", ")", "]"];
    let begins = |at: usize, mark: &[&str]| {
        let texts = tokens[at..].iter().map(|token| token.text);
        texts.take(mark.len()).eq(mark.iter().copied())
    };
    let mark_at = |at: usize| [TEST, FUZZING].into_iter().find(|mark| begins(at, mark));
    (0..tokens.len())
        .filter_map(|start| Some(start..item_end(tokens, start + mark_at(start)?.len())))
        .collect()
}

/// Behind the `;` or the closing brace of the item at `start`.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The modules at the top of the crate that a file names by `crate::` or `super::`. `depth` is the file's own: 1 for
/// `src/drain.rs` and `src/engine/mod.rs`, 2 for `src/engine/query.rs`.
pub(crate) fn modules_named<'a>(tokens: &[Token<'a>], depth: usize) -> Vec<Token<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut named = Vec::new();
    let mut braces = Vec::new(); // whether each open one is a module's
    for at in 0..tokens.len() {
        let mut behind = at;
        match text(at) {
            "{" => braces.push(at >= 2 && text(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" if text(at + 1) == "::" => behind = at + 2,
            "super" if at == 0 || text(at - 1) != "::" => {
                let mut levels = 0;
                while text(behind) == "super" && text(behind + 1) == "::" {
                    (levels, behind) = (levels + 1, behind + 2);
                }
                if levels < depth + braces.iter().filter(|is_module| **is_module).count() {
                    behind = at;
                }
            }
            _ => {}
        }
        if behind > at {
            named.extend(heads(tokens, behind));
        }
    }
    named
}

/// The first words of a path, or of each path in a group.
fn heads<'a>(tokens: &[Token<'a>], start: usize) -> Vec<Token<'a>> {
    let Some(first) = tokens.get(start) else {
        return Vec::new();
    };
    if first.text != "{" {
        return vec![*first];
    }
    let mut depth = 1;
    let mut heads = Vec::new();
    for pair in tokens[start..].windows(2) {
        if depth == 1 && matches!(pair[0].text, "{" | ",") && pair[1].text.bytes().all(is_word) {
            heads.push(pair[1]);
        }
        match pair[1].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// The first words of all paths, and crates that are named whole: what may be a crate.
pub(crate) fn crates_named<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let is_head = |at: &usize| {
        let before = if *at == 0 { "" } else { text(at - 1) };
        let starts_path = text(at + 1) == "::" && before != "::" && before != ".";
        starts_path || (before == "use" && matches!(text(at + 1), ";" | "as"))
    };
    (0..tokens.len())
        .filter(is_head)
        .map(|at| tokens[at])
        .filter(|token| token.text.bytes().all(is_word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: Vec<Token<'_>>) -> Vec<String> {
        tokens
            .into_iter()
            .map(|token| format!("{} {}", token.line, token.text))
            .collect()
    }

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a "b \" c" d"#, "a          d"),
            ("a r#\"b \" c\"# d", "a            d"),
            ("a br\"\\\" d", "a       d"),
            ("for r in b {}", "for r in b {}"),
            (r"a '\'' b 'c' '\u{e9}' d", "a      b              d"),
            ("fn a<'b>(c: &'b str)", "fn a<'b>(c: &'b str)"),
            (r#"x "é" y"#, "x      y"),
            (r#"with = "crate::config""#, r#"with = "crate::config""#),
            ("\"open", "     "),
        ] {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn unit_tests_are_known() {
        let code = "a\n#[cfg(test)]\nmod tests { b { c } d }\ne\n#[cfg(test)] use f; g\n#[cfg(test)] mod tests;\n\
                    #[cfg(any(test, fuzzing))]\n#[doc(hidden)]\npub mod h;";
        let outside: Vec<_> = tokens(code)
            .into_iter()
            .filter(|token| !token.is_test)
            .map(|token| token.text)
            .collect();
        assert_eq!(outside, ["a", "e", "g"]);
    }

    #[test]
    fn modules_are_found_in_every_way_to_name_them() {
        for (depth, text, expected) in [
            (
                1,
                "use crate::hub::Hub;\nfn a() { crate::engine::b() }",
                &["1 hub", "2 engine"][..],
            ),
            (2, "use crate::{a, b::{c, d},\n e::f as g};", &["1 a", "1 b", "2 e"]),
            (1, "use super::hub;", &["1 hub"]),
            (2, "use super::sibling;\nuse super::super::hub::a;", &["2 hub"]),
            (
                1,
                "mod inner { use super::own; use super::super::hub; }\nuse super::b;",
                &["1 hub", "2 b"],
            ),
            (1, "pub(crate) fn a() {} pub(super) fn b() {}", &[]),
            (1, "#[serde(with = \"crate::config::list\")]", &["1 config"]),
        ] {
            let code = blank(text);
            let mut named = texts(modules_named(&tokens(&code), depth));
            named.sort_by_key(|name| expected.iter().position(|expected| expected == name));
            assert_eq!(named, expected, "{text}");
        }
    }

    #[test]
    fn crates_are_found_where_a_path_begins() {
        let code = "use tokio::net; use hyper::http::Uri; use toml; use rand as r;\na.b::<serde::C>(); flate2::d::e();";
        assert_eq!(
            texts(crates_named(&tokens(code))),
            ["1 tokio", "1 hyper", "1 toml", "1 rand", "2 serde", "2 flate2"]
        );
    }
}
