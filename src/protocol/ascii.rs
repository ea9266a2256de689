//! Packets as pure ASCII, for polling clients of v3.
//!
//! Clients 1.x encode and decode text twice as UTF-8, clients 2.x once, and nothing in a request tells them apart for
//! sure. Where every character is ASCII both forms are the same bytes, so the JSON of a packet is escaped for them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text`, an Engine.IO packet, with all characters of its JSON that are not ASCII written as `\uXXXX`.
///
/// A namespace's name stands outside the JSON and has no escape: it stays as it is.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let (header, json) = text.split_at(header_length(text));
    let mut out = String::with_capacity(text.len() * 2);
    out.push_str(header);
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}"); // a String takes everything
            }
        }
    }
    Cow::Owned(out)
}

/// Bytes before the JSON: `42`, attachments and `/namespace,`.
fn header_length(text: &str) -> usize {
    let start = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'-')
        .count();
    if text[start..].starts_with('/') {
        text[start..].find(',').map_or(text.len(), |comma| start + comma + 1)
    } else {
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_namespace_becomes_ascii() {
        for (text, expected) in [
            (r#"42["plain"]"#, r#"42["plain"]"#),
            (r#"42["é€😀"]"#, r#"42["\u00e9\u20ac\ud83d\ude00"]"#),
            (r#"42/größe,1["é"]"#, r#"42/größe,1["\u00e9"]"#),
            (r#"451-/a,["é",{}]"#, r#"451-/a,["\u00e9",{}]"#),
            ("40/größe", "40/größe"),
            ("\u{2028}", r"\u2028"),
        ] {
            assert_eq!(escape(text), expected, "{text}");
        }
    }
}
