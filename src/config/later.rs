//! Settings that are known but not built yet. Naming one is an error that says so: nothing is
//! accepted that does nothing.

const TLS: &str = "TLS comes with a later version; until then a proxy in front can do it";
const RECOVERY: &str = "recovery of missed events comes with a later version";
const ADMIN_UI: &str = "the admin page comes with a later version";

/// Sections and keys of later versions.
const SETTINGS: [(&str, &str); 4] = [
    ("server.tls", TLS),
    ("recovery", RECOVERY),
    ("admin.tls", TLS),
    ("admin_ui", ADMIN_UI),
];

/// Why the setting at `path` (`server.tls.cert`, `namespace.stamp`) is not there yet, if it will be.
pub(super) fn setting(path: &str) -> Option<&'static str> {
    let named = |name: &str| {
        path.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    SETTINGS.iter().find(|(name, _)| named(name)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_known_by_its_path_and_by_its_section() {
        for (path, expected) in [
            ("cluster.listen", None),
            ("token", None),
            ("webhook.url", None),
            ("cluster.redis", None),
            ("server.tls.cert", Some(TLS)),
            ("clusters.redis", None),
            ("server.listen", None),
            ("namespace", None),
        ] {
            assert_eq!(setting(path), expected, "{path}");
        }
    }
}
