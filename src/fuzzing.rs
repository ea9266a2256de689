//! What must hold for every input: one function a group of parsers or states, run by `tests/fuzz` and, on its seeds, by
//! `cargo test`.
//!
//! The functions stand beside what they are about, in a file `fuzzing.rs` that is compiled for tests and for the fuzzer
//! alone. They take any bytes, panic where a promise is broken, and must never touch anything outside themselves. A new
//! one is a line here, three in `tests/fuzz/Cargo.toml`, and a folder `tests/fuzz/seeds/<name>`.

use crate::{backend, cluster, config, engine, gate, hub, protocol, server, socketio};

/// Takes any bytes, and panics where a promise is broken.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Check)] = &[
    ("payload", protocol::fuzzing::payload),
    ("socket_packet", protocol::fuzzing::socket_packet),
    ("json", protocol::fuzzing::json),
    ("msgpack", protocol::fuzzing::msgpack),
    ("gate", gate::fuzzing::gate),
    ("frames", engine::fuzzing::frames),
    ("lifecycle", engine::fuzzing::lifecycle),
    ("request", engine::fuzzing::request),
    ("hub", hub::fuzzing::hub),
    ("wire", cluster::fuzzing::wire),
    ("tokens", backend::fuzzing::tokens),
    ("binary", backend::fuzzing::binary),
    ("answers", backend::webhook::fuzzing::answers),
    ("commands", socketio::commands::fuzzing::commands),
    ("rules", socketio::fuzzing::rules),
    ("configuration", config::fuzzing::configuration),
    ("proxies", server::fuzzing::proxies),
];

/// Gives `data` to a target.
pub fn run(target: &str, data: &[u8]) {
    let (_, check) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .unwrap_or_else(|| panic!("no target is called {target}"));
    check(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
    }

    fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        names.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let targets = names(TARGETS.iter().map(|(name, _)| *name));
        let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        let bins = manifest.split("[[bin]]\nname = \"").skip(1);
        assert_eq!(names(bins.map(|rest| rest.split('"').next().unwrap())), targets);
        let seeds = std::fs::read_dir(folder().join("seeds")).unwrap();
        let seeds: Vec<_> = seeds
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names(seeds.iter().map(String::as_str)), targets);
    }

    /// Also with a byte changed and cut short, so that what is around them is seen without a fuzzer.
    #[test]
    fn all_that_must_hold_holds_for_the_seeds() {
        for (target, check) in TARGETS {
            let mut count = 0;
            for entry in std::fs::read_dir(folder().join("seeds").join(target)).unwrap() {
                let path = entry.unwrap().path();
                let seed = std::fs::read(&path).unwrap();
                eprintln!("{}", path.display()); // shown where a check fails
                check(&seed);
                for cut in 0..seed.len().min(64) {
                    check(&seed[..cut]);
                    let mut changed = seed.clone();
                    changed[cut] ^= 1;
                    check(&changed);
                }
                count += 1;
            }
            assert!(count > 0, "{target} has no seeds");
        }
    }
}
