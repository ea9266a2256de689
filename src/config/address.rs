//! Addresses, networks and origins as they are written in the configuration. Nothing is looked up here.

use std::net::{IpAddr, SocketAddr};

use crate::server::UNIX_PREFIX;

/// Longest path of a Unix socket (`sun_path`, less the zero behind it).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// What can be listened on.
pub(super) enum Address {
    /// An address with a port.
    Ip(SocketAddr),
    /// A name with a port.
    Name,
    /// The path of a Unix socket.
    Unix,
}

/// Reads an address to listen on.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
        return match path.len() {
            _ if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') => Err(format!(
                "\"{text}\" must name a file by its whole path: \"unix:/run/roomcast/clients.sock\""
            )),
            ..=UNIX_PATH_BYTES_MAX => Ok(Address::Unix),
            bytes => Err(format!(
                "\"{text}\" has a path of {bytes} bytes: the system allows {UNIX_PATH_BYTES_MAX}"
            )),
        };
    }
    if let Ok(address) = text.parse() {
        return Ok(Address::Ip(address));
    }
    let is_name = |host: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        // What ends in a number is an IP address that went wrong.
        let last = host.rsplit('.').next().unwrap_or("");
        host.chars().all(letters) && last.contains(|c: char| c.is_ascii_alphabetic())
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_name(host) && port.parse::<u16>().is_ok() => Ok(Address::Name),
        _ => Err(format!(
            "\"{text}\" is not an address with a port: \
             write it as \"0.0.0.0:3000\", \"[::]:3000\", \"localhost:3000\" or \"unix:/path\""
        )),
    }
}

/// Other nodes come by the network.
pub(super) fn networked(text: &str, address: Address) -> Result<(), String> {
    match address {
        Address::Unix => Err(format!(
            "\"{text}\" is of this machine alone: other nodes come by the network"
        )),
        Address::Ip(_) | Address::Name => Ok(()),
    }
}

/// Others can connect to it.
pub(super) fn reachable(text: &str, address: Address) -> Result<(), String> {
    networked(text, address)?;
    if text.ends_with(":0") {
        return Err(format!("\"{text}\" has no port that others could connect to"));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => Err(format!(
            "\"{text}\" is no address that others could connect to: name one of this node's"
        )),
        _ => Ok(()),
    }
}

/// An origin must be written as browsers send it, or it would never match.
pub(super) fn check_origin(origin: &str) -> Result<(), String> {
    if origin == "null" {
        return Ok(());
    }
    let Some((scheme, rest)) = origin.split_once("://").filter(|(_, rest)| !rest.is_empty()) else {
        return Err(format!(
            "\"{origin}\" is not an origin: write it as \"https://app.example.com\", \"null\" or \"*\""
        ));
    };
    let host = rest.split('/').next().unwrap_or(rest);
    if host != rest {
        return Err(format!(
            "\"{origin}\" must end after host and port: \"{scheme}://{host}\""
        ));
    }
    if origin.chars().any(|c| c.is_ascii_uppercase()) {
        let lower = origin.to_ascii_lowercase();
        return Err(format!("\"{origin}\" would never match, browsers send \"{lower}\""));
    }
    if origin.contains('*') {
        return Err(format!(
            "\"{origin}\" is not an exact origin: there are no patterns here, only \"*\" alone"
        ));
    }
    if origin.contains(|c: char| c.is_whitespace() || "?#@,".contains(c)) {
        return Err(format!("\"{origin}\" is not an origin"));
    }
    let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    match (scheme, port) {
        ("http", Some((host, "80"))) | ("https", Some((host, "443"))) => Err(format!(
            "\"{origin}\" would never match, browsers leave out the usual port: \"{scheme}://{host}\""
        )),
        (_, Some((_, port))) if port.parse::<u16>().is_err() => Err(format!("\"{origin}\" has no valid port")),
        _ => Ok(()),
    }
}

pub(super) fn not_a_network(text: &str) -> String {
    let bits = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => {
            return format!("\"{text}\" is not a network: write it as \"10.0.0.0/8\", or \"unix\" for Unix sockets");
        }
    };
    format!("\"{text}\" is an address: write the network of it alone as \"{text}/{bits}\"")
}
