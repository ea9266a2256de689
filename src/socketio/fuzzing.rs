//! What must hold for every pattern, every value in one, and every name that a client can think of; and for packets that
//! come with their attachments behind them.

use bytes::Bytes;

use super::arguments;
use super::partial::Partial;
use super::pattern::{Pattern, Template};
use super::values::Values;
use crate::protocol::Version;
use crate::protocol::json::{self, Array};
use crate::protocol::socket::{Packet, RESERVED_EVENTS};

const ROOM_BYTES_MAX: usize = 40;
const ATTACHMENTS_MAX: usize = 10;
const PACKET_BYTES_MAX: usize = 500;

/// The first byte picks what the rest is: a pattern and a name, a value between two texts, arguments, or messages.
pub(crate) fn rules(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 4 == 3 {
        return partial(data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match mode % 4 {
        0 => pattern(text),
        1 => value(text),
        _ => arguments(text),
    }
}

fn pattern(text: &str) {
    let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
    if pattern.len() * name.len() > 10_000 {
        return; // the simple way takes long
    }
    let (tokens, characters): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let expected = simple_match(&tokens, &characters);
    assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern:?} {name:?}");
    assert_eq!(Pattern::new(pattern).is_wild(), pattern.contains(['*', '?']));
    assert!(Pattern::new(name).matches(name), "a name matches itself");
    if !pattern.contains('{') {
        assert_eq!(Template::new(pattern).matches(name, &values(None, "")), expected);
    }
}

/// Which prefixes of the name the pattern so far matches, token by token.
fn simple_match(pattern: &[char], name: &[char]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for token in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match token {
                '*' => reached[..=at].contains(&true),
                '?' => at > 0 && reached[at - 1],
                character => at > 0 && reached[at - 1] && name[at - 1] == *character,
            };
        }
        reached = next;
    }
    reached[name.len()]
}

fn values<'a>(user: Option<&'a str>, socket: &'a str) -> Values<'a> {
    Values {
        user,
        socket,
        namespace: "/n",
    }
}

/// `before`, `value`, `after` and another name, a line each.
fn value(text: &str) {
    let mut lines = text.splitn(4, '\n').chain(["", "", ""]);
    let (before, value) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (after, other) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if [before, after].iter().any(|text| text.contains(['*', '?', '{', '}'])) {
        return;
    }
    let whole = format!("{before}{value}{after}");
    for (key, values) in [("{user}", values(Some(value), "s")), ("{socket}", values(None, value))] {
        let template = Template::new(&format!("{before}{key}{after}"));
        assert!(template.matches(&whole, &values), "{whole:?}");
        assert_eq!(
            template.matches(other, &values),
            other == whole,
            "a value has no wildcards"
        );
        assert_eq!(template.fill(&values).as_deref(), Some(&*whole));
        // And between two that are the pattern's own.
        let wild = Template::new(&format!("*{before}{key}{after}*"));
        assert_eq!(wild.matches(other, &values), other.contains(&whole));
    }
    let nobody = Template::new(&format!("{before}{{user}}{after}"));
    assert!(!nobody.matches(&whole, &values(None, value)) && nobody.fill(&values(None, value)).is_none());
    let unknown = Template::new(&format!("{before}{{nothing}}{after}"));
    assert!(!unknown.matches(other, &values(Some(value), value)));
}

fn arguments(text: &str) {
    let Ok(array) = Array::parse(text) else { return };
    if let Ok(rooms) = arguments::rooms(array.element(0), ROOM_BYTES_MAX) {
        assert!((1..=1000).contains(&rooms.len()));
        assert!(rooms.iter().all(|room| (1..=ROOM_BYTES_MAX).contains(&room.len())));
        let names: std::collections::BTreeSet<_> = rooms.iter().collect();
        assert_eq!(names.len(), rooms.len(), "none is named twice");
    }
    if let Some(raw) = array.element(1)
        && arguments::relayed_event(Some(raw)).is_ok()
    {
        let name = json::string(raw).expect("a string");
        assert!(!RESERVED_EVENTS.contains(&&*name) && (1..=256).contains(&name.len()));
        let event = format!("2[{raw}]");
        assert!(
            Packet::decode(&event, Version::V4, ATTACHMENTS_MAX).is_ok(),
            "{event} would end who receives it"
        );
    }
    let text = array.tail(0);
    assert!(text.starts_with(arguments::logged(text)) && arguments::logged(text).len() <= 256);
    assert!(arguments::quoted(text).chars().count() <= 67);
}

/// A text and binary messages behind it, between bytes 0xff.
fn partial(data: &[u8]) {
    let mut messages = data.split(|byte| *byte == 0xff);
    let Some(Ok(text)) = messages.next().map(std::str::from_utf8) else {
        return;
    };
    let Ok(announced) = Packet::decode(text, Version::V4, ATTACHMENTS_MAX).map(|packet| packet.attachments) else {
        return;
    };
    if announced == 0 {
        return;
    }
    let mut partial = Partial::new(text.to_owned(), announced);
    let (mut bytes, mut count) = (text.len(), 0);
    for message in messages {
        bytes += message.len();
        count += 1;
        match partial.push(Bytes::copy_from_slice(message), PACKET_BYTES_MAX) {
            Err(_) => return assert!(bytes > PACKET_BYTES_MAX),
            Ok(is_complete) => {
                assert!(bytes <= PACKET_BYTES_MAX);
                assert_eq!(is_complete, count == announced);
                if is_complete {
                    break;
                }
            }
        }
    }
    if count == announced {
        assert_eq!(partial.take_attachments().len(), announced);
        if let Ok(packet) = partial.packet(Version::V4, ATTACHMENTS_MAX) {
            assert!(json::check_placeholders(packet.json, announced).is_ok());
            assert_eq!(packet.attachments, announced);
        }
    }
}
