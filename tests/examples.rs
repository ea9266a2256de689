//! What users copy: the example set-ups and every configuration in README.md must work as they stand.

#![expect(
    clippy::unwrap_used,
    reason = "this is a test, its helpers included: what cannot be unwrapped fails it"
)]

use std::path::{Path, PathBuf};

use roomcast::config::{Config, Sources};

const README: &str = include_str!("../README.md");

/// The configuration files below `config/examples`.
fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect()
}

/// The blocks of a Markdown text that say they are TOML.
fn toml_blocks(markdown: &str) -> Vec<&str> {
    let blocks = markdown.split("\n```toml\n").skip(1);
    blocks
        .map(|rest| rest.split_once("\n```").expect("every block ends").0)
        .collect()
}

#[test]
fn every_example_is_good_without_a_warning() {
    let examples = examples();
    for name in ["chat.toml", "rooms.toml"] {
        assert!(examples.iter().any(|path| path.ends_with(name)), "{name} is missing");
    }
    for path in examples {
        let text = std::fs::read_to_string(&path).unwrap();
        let config = Config::from_toml(&text).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        assert!(!config.is_open(), "{} has no namespace", path.display());
        let loaded = Config::load(&Sources {
            file: Some(path.clone()),
            environment: Vec::new(),
            flags: Vec::new(),
        });
        assert_eq!(loaded.unwrap().warnings, Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn the_configuration_of_the_sample_chat_is_good_without_a_warning() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/roomcast.toml");
    let loaded = Config::load(&Sources {
        file: Some(file),
        // npm puts it there; any file will do.
        environment: vec![("ROOMCAST_SERVER__CLIENT_BUNDLE".into(), "Cargo.toml".into())],
        flags: Vec::new(),
    });
    match loaded {
        Ok(loaded) => assert_eq!(loaded.warnings, Vec::<String>::new()),
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn every_configuration_in_the_readme_is_good() {
    // A block that is indented, say, would be passed over in silence.
    assert_eq!(README.matches("```toml").count(), toml_blocks(README).len());
    assert!(!toml_blocks(README).is_empty());
    for block in toml_blocks(README) {
        if let Err(problems) = Config::from_toml(block) {
            panic!("README.md:\n{block}\n{problems}");
        }
    }
}

#[test]
fn the_readme_names_every_example() {
    for path in examples() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            README.contains(&format!("config/examples/{name}")),
            "README.md does not name {name}"
        );
    }
}
