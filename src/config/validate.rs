//! What makes sense only as a whole: ranges, addresses, and settings that must agree.
//!
//! Works on a configuration whose every value has the right type.

use std::collections::HashSet;
use std::time::Duration;

use ipnet::IpNet;

use super::Config;
use super::address::{Address, address, check_origin, networked, not_a_network, reachable};
use super::credentials::{keys, secret, token};
use super::findings::Findings;
use super::namespaces::namespaces;
use super::webhook::webhook;
use crate::cluster::config::Mode;
use crate::cluster::redis;
use crate::proxies;
use crate::socketio::config::Auth;
use crate::units::Span;

/// Below this no handshake fits.
const MAX_PAYLOAD_MIN: usize = 1_000;

/// Clients count milliseconds in 32 bits: a longer timer would fire at once.
const HEARTBEAT_MS_MAX: u128 = i32::MAX as u128;

/// Below this, other nodes look dead that are only busy.
const CLUSTER_SPAN_MIN: Duration = Duration::from_millis(100);

/// Reports everything in `config` that cannot work, and what looks like a mistake.
pub(super) fn validate(config: &Config, findings: &mut Findings) {
    server(config, findings);
    engine(config, findings);
    limits(config, findings);
    cluster(config, findings);
    drain(config, findings);
    token(config, findings);
    webhook(config, findings);
    admin(config, findings);
    namespaces(config, findings);
}

fn server(config: &Config, findings: &mut Findings) {
    let server = &config.server;
    if server.listen.is_empty() {
        findings.error("server.listen", "is empty: clients need an address");
    }
    for (index, listen) in server.listen.iter().enumerate() {
        if let Err(message) = address(listen) {
            findings.error("server.listen", message);
        } else if server.listen[..index].contains(listen) && !listen.ends_with(":0") {
            findings.error("server.listen", format!("\"{listen}\" is there twice"));
        }
    }
    let path = &server.path;
    if !(path.starts_with('/') && path.ends_with('/')) {
        let message = format!("\"{path}\" must begin and end with a slash");
        findings.error("server.path", message);
    } else if path.contains(['?', '#']) || path.contains(char::is_whitespace) {
        let message = format!("\"{path}\" must not contain `?`, `#` or spaces");
        findings.error("server.path", message);
    }
    for origin in &server.origins {
        if origin == "*" {
            let message = "\"*\" lets every page on the internet connect in its visitors' name";
            findings.warning("server.origins", message);
        } else if let Err(message) = check_origin(origin) {
            findings.error("server.origins", message);
        }
    }
    for network in &server.trusted_proxies {
        if network != proxies::UNIX && network.parse::<IpNet>().is_err() {
            findings.error("server.trusted_proxies", not_a_network(network));
        }
    }
    bundle(&server.client_bundle, findings);
}

fn bundle(path: &str, findings: &mut Findings) {
    if path.is_empty() {
        return;
    }
    // Opened, as rights are checked then.
    let problem = match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Err(error) => format!("cannot be read: {error}"),
        Ok(metadata) if !metadata.is_file() => "is not a file".into(),
        Ok(metadata) if metadata.len() == 0 => "is empty".into(),
        Ok(_) => return,
    };
    findings.error("server.client_bundle", format!("\"{path}\" {problem}"));
}

fn cluster(config: &Config, findings: &mut Findings) {
    let cluster = &config.cluster;
    if !cluster.is_alone()
        && let Err(message) = redis::check(&cluster.settings())
    {
        findings.error("cluster.redis", message);
    }
    if cluster.mode != Mode::Pubsub {
        findings.error(
            "cluster.mode",
            "comes with a later version; until then there is \"pubsub\"",
        );
    }
    if cluster.prefix.is_empty() {
        findings.error("cluster.prefix", "is empty: all servers of a cluster share one");
    }
    if let Err(message) = address(&cluster.listen).and_then(|address| networked(&cluster.listen, address)) {
        findings.error("cluster.listen", message);
    }
    if !cluster.advertise.is_empty() {
        let advertise = &cluster.advertise;
        if let Err(message) = address(advertise).and_then(|address| reachable(advertise, address)) {
            findings.error("cluster.advertise", message);
        }
    }
    let own = cluster.secret.expose();
    if !own.is_empty() {
        secret("cluster.secret", own, "", findings);
    }
    for (path, span) in [
        ("cluster.request_timeout", cluster.request_timeout),
        ("cluster.heartbeat", cluster.heartbeat),
    ] {
        if span.0 < CLUSTER_SPAN_MIN {
            findings.error(
                path,
                format!("\"{span}\" is too short: at least {}", Span(CLUSTER_SPAN_MIN)),
            );
        }
    }
}

fn engine(config: &Config, findings: &mut Findings) {
    let engine = &config.engine;
    if engine.transports.is_empty() {
        findings.error("engine.transports", "is empty: clients need a transport");
    }
    let mut seen = HashSet::new();
    for transport in &engine.transports {
        if !seen.insert(transport) {
            let message = format!("\"{}\" is there twice", transport.as_str());
            findings.error("engine.transports", message);
        }
    }
    for (path, span) in [
        ("engine.ping_interval", engine.ping_interval),
        ("engine.ping_timeout", engine.ping_timeout),
        ("engine.upgrade_timeout", engine.upgrade_timeout),
        ("engine.connect_timeout", engine.connect_timeout),
    ] {
        if span.0.is_zero() {
            findings.error(path, format!("\"{span}\" must be more than nothing"));
        }
    }
    let (interval, timeout) = (engine.ping_interval, engine.ping_timeout);
    let heartbeat = interval.0.saturating_add(timeout.0);
    if heartbeat.as_millis() > HEARTBEAT_MS_MAX {
        let message = format!("\"{interval}\" and ping_timeout \"{timeout}\" exceed 24 days");
        findings.conflict("engine.ping_interval", &["engine.ping_timeout"], message);
    }
    let max_payload = engine.max_payload;
    if max_payload.0 < MAX_PAYLOAD_MIN {
        let message = format!("\"{max_payload}\" is too little: at least \"1kB\"");
        findings.error("engine.max_payload", message);
    }
    // A token of RFC 9110: what a cookie's name is made of.
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let cookie = &engine.cookie;
    if !cookie.chars().all(is_token) {
        let message = format!("\"{cookie}\" is not a cookie's name: use letters, digits, `-`, `_`");
        findings.error("engine.cookie", message);
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let (outbox, max_payload) = (config.limits.outbox, config.engine.max_payload);
    if outbox.0 < max_payload.0.saturating_mul(2) {
        let message = format!("\"{outbox}\" must be at least twice engine.max_payload, \"{max_payload}\"");
        findings.conflict("limits.outbox", &["engine.max_payload"], message);
    }
    if config.limits.events_burst > 0 && config.limits.events_per_second == 0 {
        let message = "does nothing without events_per_second".to_owned();
        findings.conflict("limits.events_burst", &["limits.events_per_second"], message);
    }
    if config.limits.sockets_per_user > 0 && config.namespace.iter().all(|namespace| namespace.auth == Auth::None) {
        let message = "does nothing: users come with tokens and from the webhook, by `auth`";
        findings.warning("limits.sockets_per_user", message);
    }
}

fn drain(config: &Config, findings: &mut Findings) {
    let (delay, spread, timeout) = (config.drain.delay, config.drain.spread, config.drain.timeout);
    if delay.0.saturating_add(spread.0) > timeout.0 {
        let message = format!("\"{timeout}\" is less than delay \"{delay}\" + spread \"{spread}\"");
        findings.conflict("drain.timeout", &["drain.delay", "drain.spread"], message);
    }
}

fn admin(config: &Config, findings: &mut Findings) {
    let admin = &config.admin;
    let listen = &admin.listen;
    match address(listen) {
        Err(message) => findings.error("admin.listen", message),
        Ok(_) if config.server.listen.contains(listen) && !listen.ends_with(":0") => {
            let message = format!("\"{listen}\" is the clients' address as well");
            findings.conflict("admin.listen", &["server.listen"], message);
        }
        Ok(address) => {
            let is_local = match address {
                Address::Ip(address) => address.ip().to_canonical().is_loopback(),
                Address::Name => listen.starts_with("localhost:"),
                Address::Unix => true,
            };
            if !is_local && admin.keys.is_empty() {
                let message = format!(
                    "\"{listen}\" can be reached from other machines: set admin.keys, \
                     or listen on a loopback address such as \"127.0.0.1:3001\""
                );
                findings.conflict("admin.listen", &["admin.keys"], message);
            }
        }
    }
    keys("admin.keys", "key", &admin.keys, findings);
}
