//! What namespaces and their rules must be.

use super::Config;
use super::findings::Findings;
use super::webhook::calls;
use crate::backend::webhook::Kind;
use crate::protocol::socket::NAMESPACE_BYTES_MAX;
use crate::socketio::config::{ActionName, Auth, EVENT_BYTES_MAX, EventRule, Namespace, Otherwise};

/// Checks all `[[namespace]]`.
pub(super) fn namespaces(config: &Config, findings: &mut Findings) {
    for (index, namespace) in config.namespace.iter().enumerate() {
        let path = format!("namespace.{index}");
        let name = &namespace.name;
        if let Err(message) = check_namespace_name(name) {
            findings.error(format!("{path}.name"), message);
        }
        let mut earlier = config.namespace[..index].iter();
        if let Some(first) = earlier.position(|earlier| earlier.name == *name) {
            let message = format!("\"{name}\" is there twice");
            let (own, other) = (format!("{path}.name"), format!("namespace.{first}.name"));
            findings.conflict(&own, &[&other], message);
        }
        if namespace.auth.reads_tokens() && !config.token.has_keys() {
            let message = "\"token\" needs a key to believe tokens by: token.secrets, token.public_keys or token.jwks";
            let others = ["token.secrets", "token.public_keys", "token.jwks"];
            findings.conflict(&format!("{path}.auth"), &others, message);
        }
        if namespace.auth.asks() {
            calls(config, &format!("{path}.auth"), Kind::Connect, findings);
        }
        if namespace.otherwise == Otherwise::Webhook {
            calls(config, &format!("{path}.otherwise"), Kind::Event, findings);
        }
        for (key, list) in [
            ("rooms", &namespace.rooms),
            ("join", &namespace.join),
            ("publish", &namespace.publish),
        ] {
            for entry in list {
                check_entry(&format!("{path}.{key}"), entry, namespace.auth, findings);
            }
        }
        for room in &namespace.rooms {
            check_room_length(&format!("{path}.rooms"), room, config, findings);
        }
        rules(config, namespace, &path, findings);
    }
}

fn check_namespace_name(name: &str) -> Result<(), String> {
    if !name.starts_with('/') {
        return Err(format!("\"{name}\" must begin with a slash"));
    }
    if name.len() > NAMESPACE_BYTES_MAX {
        return Err(format!("\"{name}\" is longer than {NAMESPACE_BYTES_MAX} bytes"));
    }
    // The comma ends a namespace's name on the wire.
    if name.contains(',') {
        return Err(format!("\"{name}\" must not contain a comma"));
    }
    Ok(())
}

/// Checks a room's name or pattern and the placeholders in it.
fn check_entry(path: &str, entry: &str, auth: Auth, findings: &mut Findings) {
    if entry.is_empty() {
        findings.error(path, "has an empty entry");
    }
    let mut rest = entry;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((placeholder, after)) = after.split_once('}') else {
            break;
        };
        match placeholder {
            "socket" | "namespace" => {}
            "user" if auth != Auth::None => {}
            "user" => {
                let message = format!("\"{entry}\" is skipped: users come with `auth = \"token\"` or \"webhook\"");
                findings.warning(path, message);
            }
            _ => {
                let message = format!(
                    "\"{entry}\" has the unknown placeholder `{{{placeholder}}}`: \
                     there are `{{socket}}`, `{{namespace}}` and `{{user}}`"
                );
                findings.error(path, message);
            }
        }
        rest = after;
    }
}

fn check_room_length(path: &str, room: &str, config: &Config, findings: &mut Findings) {
    let bytes_max = config.limits.room_name_bytes;
    if bytes_max > 0 && room.len() > bytes_max {
        let message = format!("\"{room}\" is longer than limits.room_name_bytes, {bytes_max}");
        findings.conflict(path, &["limits.room_name_bytes"], message);
    }
}

fn rules(config: &Config, namespace: &Namespace, path: &str, findings: &mut Findings) {
    for (index, rule) in namespace.event.iter().enumerate() {
        let path = format!("{path}.event.{index}");
        if rule.name.is_empty() {
            findings.error(format!("{path}.name"), "is empty");
        } else if rule.name.len() > EVENT_BYTES_MAX {
            let message = format!("is longer than {EVENT_BYTES_MAX} bytes");
            findings.error(format!("{path}.name"), message);
        }
        let mut earlier = namespace.event[..index].iter();
        if let Some(first) = earlier.find(|first| first.name == rule.name || first.name == "*") {
            let message = format!("never matches: the rule \"{}\" before it does", first.name);
            findings.warning(format!("{path}.name"), message);
        }
        check_action(config, rule, &path, findings);
    }
}

/// Checks the stream of a rule.
fn stream(config: &Config, rule: &EventRule, path: &str, findings: &mut Findings) {
    let (own, action) = (format!("{path}.stream"), format!("{path}.action"));
    let stream = &rule.stream;
    if rule.action != ActionName::Stream {
        if !stream.is_empty() {
            let message = format!("\"{stream}\" is read by the action \"stream\" alone");
            findings.conflict(&own, &[&action], message);
        }
        return;
    }
    if stream.is_empty() {
        let message = "\"stream\" needs the name of a stream in Redis: stream";
        findings.conflict(&action, &[&own], message);
    }
    if config.cluster.is_alone() {
        let message = "\"stream\" needs a Redis: cluster.redis";
        findings.conflict(&action, &["cluster.redis"], message);
    }
}

/// Checks that a rule says nothing that its action does not read.
fn check_action(config: &Config, rule: &EventRule, path: &str, findings: &mut Findings) {
    let action = rule.action;
    if action == ActionName::Webhook {
        calls(config, &format!("{path}.action"), Kind::Event, findings);
    }
    let is_broadcast = action == ActionName::Broadcast;
    if rule.echo && !is_broadcast && action != ActionName::Publish {
        let message = "is read by the actions \"broadcast\" and \"publish\" alone";
        findings.conflict(&format!("{path}.echo"), &[&format!("{path}.action")], message);
    }
    stream(config, rule, path, findings);
    let to = &rule.to;
    let to_path = format!("{path}.to");
    if !is_broadcast && to != "namespace" {
        let message = format!("\"{to}\" is read by the action \"broadcast\" alone");
        findings.conflict(&to_path, &[&format!("{path}.action")], message);
        return;
    }
    match to.strip_prefix("room:") {
        Some("") => findings.error(to_path, "\"room:\" must name a room"),
        Some(room) => check_room_length(&to_path, room, config, findings),
        None if to == "namespace" || to == "rooms" => {}
        None => {
            let message = format!("\"{to}\" is none of \"namespace\", \"rooms\", \"room:NAME\"");
            findings.error(to_path, message);
        }
    }
}
