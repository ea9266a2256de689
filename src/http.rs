//! What every HTTP listener shares. So far: the keys that callers show.
//!
//! A secret never leaves this type as text: not in logs, not in errors, not in printed configuration.

use std::fmt;
use std::hint::black_box;

use serde::{Deserialize, Serialize, Serializer};

/// A secret: prints as `***` and is compared in constant time.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Whether `shown` is this secret. The time it takes tells at most whether the lengths agree.
    pub fn matches(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if own.len() != shown.len() {
            return false;
        }
        // `black_box` keeps the compiler from leaving the loop at the first difference.
        let difference = own
            .iter()
            .zip(shown)
            .fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
        difference == 0
    }

    /// The secret itself, for checks of the configuration and for signing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_but_never_printed() {
        let secret = Secret::from("open sesame".to_owned());
        for (shown, expected) in [
            ("open sesame", true),
            ("open sesamf", false),
            ("open", false),
            ("", false),
        ] {
            assert_eq!(secret.matches(shown.as_bytes()), expected, "{shown}");
        }
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&[secret]).unwrap(), r#"["***"]"#);
    }
}
