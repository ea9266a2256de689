//! What can be asked for: paths, and the methods and parameters of each.

use hyper::{Method, StatusCode};

use super::answer::Failure;
use crate::metrics::ApiRoute;

/// A route: its path, as it stands in `openapi.json`, and its methods, as they stand in `Allow`.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) label: ApiRoute,
    pub(super) path: &'static str,
    pub(super) allow: &'static str,
    /// What its query may hold.
    pub(super) parameters: &'static [&'static str],
}

const READ: &str = "GET, HEAD";
const DO: &str = "POST";

/// All of them. What stands in braces is one segment.
pub(super) const ROUTES: [Route; 12] = [
    Route::new(ApiRoute::Emit, "/v1/emit", DO),
    Route::new(ApiRoute::Join, "/v1/join", DO),
    Route::new(ApiRoute::Leave, "/v1/leave", DO),
    Route::new(ApiRoute::Disconnect, "/v1/disconnect", DO),
    Route::new(ApiRoute::Batch, "/v1/batch", DO),
    Route::new(ApiRoute::Sockets, "/v1/sockets", READ).with(&["namespace", "room", "user", "limit", "cursor"]),
    Route::new(ApiRoute::Socket, "/v1/sockets/{id}", READ).with(&["namespace"]),
    Route::new(ApiRoute::Rooms, "/v1/rooms", READ).with(&["namespace", "prefix", "limit", "cursor"]),
    Route::new(ApiRoute::Room, "/v1/rooms/{room}", READ).with(&["namespace"]),
    Route::new(ApiRoute::Nodes, "/v1/nodes", READ),
    Route::new(ApiRoute::Drain, "/v1/drain", "POST, DELETE").with(&["node"]),
    Route::new(ApiRoute::OpenApi, "/openapi.json", READ),
];

impl Route {
    const fn new(label: ApiRoute, path: &'static str, allow: &'static str) -> Self {
        Self {
            label,
            path,
            allow,
            parameters: &[],
        }
    }

    const fn with(self, parameters: &'static [&'static str]) -> Self {
        Self { parameters, ..self }
    }

    /// The route of a path, and what stands for its braces.
    pub(super) fn find(path: &str) -> Option<(&'static Self, &str)> {
        ROUTES.iter().find_map(|route| match route.path.split_once('{') {
            None => (route.path == path).then_some((route, "")),
            Some((before, _)) => {
                let segment = path.strip_prefix(before)?;
                let is_one = !segment.is_empty() && !segment.contains('/');
                is_one.then_some((route, segment))
            }
        })
    }

    /// Whether it can be asked for like this.
    pub(super) fn allows(&self, method: &Method) -> Result<(), Failure> {
        if self.allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Ok(());
        }
        let message = format!("{} is answered to {} alone", self.path, self.allow);
        let mut failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        failure.allow = Some(self.allow);
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_by_their_whole_path() {
        for (path, expected) in [
            ("/v1/emit", Some((ApiRoute::Emit, ""))),
            ("/v1/sockets", Some((ApiRoute::Sockets, ""))),
            ("/v1/sockets/abc%23", Some((ApiRoute::Socket, "abc%23"))),
            ("/v1/rooms/a", Some((ApiRoute::Room, "a"))),
            ("/openapi.json", Some((ApiRoute::OpenApi, ""))),
            ("/v1/emit/", None),
            ("/v1/sockets/", None),
            ("/v1/rooms/a/b", None),
            ("/v1/Emit", None),
            ("//v1/emit", None),
            ("/v1", None),
            ("/", None),
            ("", None),
        ] {
            let found = Route::find(path).map(|(route, segment)| (route.label, segment));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn who_uses_the_wrong_method_is_told_the_right_ones() {
        let (drain, _) = Route::find("/v1/drain").unwrap();
        assert!(drain.allows(&Method::DELETE).is_ok());
        let failure = drain.allows(&Method::GET).unwrap_err();
        assert_eq!((failure.status.as_u16(), failure.allow), (405, Some("POST, DELETE")));
        assert_eq!(failure.message, "/v1/drain is answered to POST, DELETE alone");
    }
}
