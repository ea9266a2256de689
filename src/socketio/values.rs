//! What `{user}`, `{socket}` and `{namespace}` stand for.

/// The values of one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    /// Who the client is, once something says so.
    pub(super) user: Option<&'a str>,
    /// The id that others are shown.
    pub(super) socket: &'a str,
    /// The namespace's name.
    pub(super) namespace: &'a str,
}

impl Values<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        match key {
            "user" => self.user,
            "socket" => Some(self.socket),
            "namespace" => Some(self.namespace),
            _ => None,
        }
    }
}
