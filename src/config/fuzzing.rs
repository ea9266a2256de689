//! What must hold for every configuration file: it is taken and means the same when it is printed, or everything that is
//! wrong with it is said.

use super::{Config, Problems};

/// Any text as the file.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::from_toml(text) {
        Ok(config) => {
            let printed = config.to_toml();
            // What is secret is printed as `***`.
            if config.admin.keys.is_empty() {
                let again = Config::from_toml(&printed).map(|config| config.to_toml());
                assert_eq!(again.ok(), Some(printed));
            }
        }
        Err(Problems { errors, .. }) => {
            assert!(!errors.is_empty(), "a refusal says why");
            assert!(errors.iter().all(|error| !error.trim().is_empty()));
        }
    }
}
