//! Patterns of names: `*` is any run of characters, `?` is one, everything else is itself; the whole name must match.

use super::values::Values;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*`
    Everything,
    /// No wildcard in it.
    Exact(String),
    /// All others.
    Glob(Vec<Token>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Character(char),
    AnyCharacter,
    AnyRun,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self::from_tokens(tokens(text).collect())
    }

    fn from_tokens(tokens: Vec<Token>) -> Self {
        let literal: Option<String> = tokens
            .iter()
            .map(|token| match token {
                Token::Character(character) => Some(*character),
                Token::AnyCharacter | Token::AnyRun => None,
            })
            .collect();
        match literal {
            Some(literal) => Self::Exact(literal),
            None if tokens == [Token::AnyRun] => Self::Everything,
            None => Self::Glob(tokens),
        }
    }

    /// Whether a wildcard is in it.
    pub(super) fn is_wild(&self) -> bool {
        !matches!(self, Self::Exact(_))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Exact(exact) => exact == name,
            Self::Glob(tokens) => glob(tokens, name),
        }
    }
}

fn tokens(text: &str) -> impl Iterator<Item = Token> {
    text.chars().map(|character| match character {
        '*' => Token::AnyRun,
        '?' => Token::AnyCharacter,
        other => Token::Character(other),
    })
}

/// Matches from left to right and, where that fails, lets the last run take one character more: time is bounded by the
/// product of both lengths, whatever a client calls its rooms.
fn glob(tokens: &[Token], name: &str) -> bool {
    let (mut rest, mut at) = (name.chars(), 0);
    let mut last_run: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let mut next = rest.clone();
        match (tokens.get(at), next.next()) {
            (None, None) => return true,
            (Some(Token::AnyRun), _) => {
                last_run = Some((at + 1, rest.clone()));
                at += 1;
            }
            (Some(Token::AnyCharacter), Some(_)) => (rest, at) = (next, at + 1),
            (Some(Token::Character(expected)), Some(found)) if *expected == found => (rest, at) = (next, at + 1),
            _ => {
                let Some((after, from)) = &mut last_run else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (rest, at) = (from.clone(), *after);
            }
        }
    }
}

/// A pattern in which `{user}`, `{socket}` and `{namespace}` stand for values of a socket.
#[derive(Clone, Debug)]
pub(super) struct Template {
    text: String,
    /// The pattern, where no value is needed for it.
    fixed: Option<Pattern>,
}

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
}

impl Template {
    pub(super) fn new(text: &str) -> Self {
        let has_values = pieces(text).any(|piece| matches!(piece, Piece::Value(_)));
        Self {
            text: text.to_owned(),
            fixed: (!has_values).then(|| Pattern::new(text)),
        }
    }

    /// Whether the name matches. Values count literally, wildcards in them too; where one is missing nothing matches.
    pub(super) fn matches(&self, name: &str, values: &Values<'_>) -> bool {
        match &self.fixed {
            Some(pattern) => pattern.matches(name),
            None => self.bind(values).is_some_and(|pattern| pattern.matches(name)),
        }
    }

    fn bind(&self, values: &Values<'_>) -> Option<Pattern> {
        let mut bound = Vec::new();
        for piece in pieces(&self.text) {
            match piece {
                Piece::Text(text) => bound.extend(tokens(text)),
                Piece::Value(key) => bound.extend(values.get(key)?.chars().map(Token::Character)),
            }
        }
        Some(Pattern::from_tokens(bound))
    }

    /// The text with its values in place; `None` where one is missing. For names that are no patterns.
    pub(super) fn fill(&self, values: &Values<'_>) -> Option<String> {
        let mut filled = String::new();
        for piece in pieces(&self.text) {
            filled.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Value(key) => values.get(key)?,
            });
        }
        Some(filled)
    }
}

/// Cuts a text at its `{…}`.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((key, tail)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            rest = tail;
            return Some(Piece::Value(key));
        }
        let end = rest.char_indices().skip(1).find(|(_, character)| *character == '{');
        let (text, tail) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = tail;
        Some(Piece::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("lobby", "Lobby", false),
            ("org-*", "org-", true),
            ("org-*", "org-1/x", true),
            ("org-*", "xorg-1", false),
            ("*-a-*-b", "1-a-2-a-3-b", true),
            ("*-a-*-b", "1-a-2-a-3-c", false),
            ("?", "é", true),
            ("?", "", false),
            ("a?c", "a😀c", true),
            ("a?c", "ac", false),
            ("**", "x", true),
            ("*a", "aaa", true),
            ("*ab", "aab", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = Pattern::new(&format!("{}b", "*a".repeat(50)));
        assert!(!pattern.matches(&"a".repeat(256)));
    }

    #[test]
    fn values_are_literal() {
        let values = Values {
            user: Some("*"),
            socket: "s?",
            namespace: "/chat",
        };
        for (template, name, expected) in [
            ("user:{user}", "user:*", true),
            ("user:{user}", "user:alice", false),
            ("{socket}-*", "s?-1", true),
            ("{socket}-*", "sx-1", false),
            ("{namespace}", "/chat", true),
            ("é{socket}é", "és?é", true),
            ("{unknown}", "{unknown}", false),
        ] {
            assert_eq!(
                Template::new(template).matches(name, &values),
                expected,
                "{template} {name}"
            );
        }
        let nobody = Values { user: None, ..values };
        assert_eq!(Template::new("user:{user}").fill(&nobody), None);
        assert!(!Template::new("*{user}").matches("x", &nobody));
        assert_eq!(
            Template::new("{namespace}#{socket}*").fill(&nobody).as_deref(),
            Some("/chat#s?*")
        );
    }
}
