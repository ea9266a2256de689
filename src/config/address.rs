//! Addresses to listen on, as they are written in the configuration. Nothing is looked up here.

use std::net::SocketAddr;

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
