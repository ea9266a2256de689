//! What URLs in the configuration have in common: passwords that are not shown, and percent signs.

use std::fmt;

/// A URL with `***` in the place of what nobody may read: its password, and what its query says under some names.
#[derive(Clone, Copy)]
pub struct Masked<'a> {
    /// The URL.
    pub url: &'a str,
    /// Whether a user without a password is one itself, as keys of HTTP APIs are.
    pub hides_user: bool,
    /// Whether the query's value under a name is hidden.
    pub hides: fn(&str) -> bool,
}

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, query) = match self.url.split_once('?') {
            Some((url, query)) => (url, Some(query)),
            None => (self.url, None),
        };
        let rest = match url.split_once("://") {
            Some((scheme, rest)) => {
                write!(f, "{scheme}://")?;
                rest
            }
            None => url,
        };
        match rest.rsplit_once('@') {
            Some((user, place)) => match user.split_once(':') {
                Some((user, _)) => write!(f, "{user}:***@{place}")?,
                None if self.hides_user => write!(f, "***@{place}")?,
                None => write!(f, "{user}@{place}")?,
            },
            None => f.write_str(rest)?,
        }
        for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) if (self.hides)(name) => write!(f, "{name}=***")?,
                None if (self.hides)("") => f.write_str("***")?,
                _ => f.write_str(pair)?,
            }
        }
        Ok(())
    }
}

/// The bytes that a text with percent signs stands for; `None` where one is not followed by two hexadecimal digits.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = str::from_utf8(rest.get(..2)?).ok()?;
        let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_number)?);
        rest = &rest[2..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_stand_for_bytes() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("a%40b%C3%a9", Some("a@bé".as_bytes())),
            ("%ff", Some(b"\xff")),
            ("%", None),
            ("%4", None),
            ("%+4", None),
            ("%é", None),
        ] {
            assert_eq!(decoded(text).as_deref(), expected, "{text}");
        }
    }
}
