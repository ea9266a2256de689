//! Every rule on a few lines that break it: a rule that cannot fail is none.

use crate::file::File;
use crate::manifest::Dependency;
use crate::rules::*;

const ORDER: [&str; 3] = ["units", "hub", "server"];

#[track_caller]
fn check(complaints: &[String], expected: &[&str]) {
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.starts_with(expected), "{complaint}");
    }
}

#[test]
fn the_reading_order_is_read() {
    let lib = File::new(
        "src/lib.rs",
        "//! - [`a`], [`b`]: words that\n//! - [`c`]: more, words\n\npub mod a;\npub mod c;\nmod d;\n",
    );
    assert_eq!(reading_order(&lib.text), ["a", "b", "c"]);
    let mut odd = undocumented_modules(&lib);
    odd.sort();
    check(&odd, &["src/lib.rs: `b`", "src/lib.rs: `d`"]);
}

#[test]
fn upward_uses_are_found() {
    let files = [
        File::new(
            "src/hub/mod.rs",
            "use crate::units;\nuse crate::{hub, server::A};\nuse super::server;",
        ),
        File::new(
            "src/hub/shard.rs",
            "use super::server;\nuse super::super::server;\n// crate::server",
        ),
        File::new("src/units.rs", "fn a() -> crate::nowhere::B {}"),
        File::new(
            "src/server.rs",
            "use crate::hub;\n#[cfg(test)]\nmod tests { use crate::server; }",
        ),
        File::new("src/hub/tests.rs", "use crate::server;"),
        File::new("src/main.rs", "use crate::server;"),
    ];
    check(
        &upward_uses(&files, &ORDER, &[]),
        &[
            "src/hub/mod.rs:2: `hub` uses `server`",
            "src/hub/mod.rs:3",
            "src/hub/shard.rs:2",
            "src/units.rs:1",
        ],
    );
    let exceptions = [("hub", "server", ""), ("units", "hub", "")];
    check(
        &upward_uses(&files[..2], &ORDER, &exceptions),
        &["tests/tidy/main.rs: `units`"],
    );
}

#[test]
fn modules_that_are_there_for_others_are_found() {
    let rules: [(&str, &[&str], &str); 1] = [("units", &["hub"], "")];
    let files = ["src/units.rs", "src/hub/shard.rs", "src/server.rs"].map(|path| File::new(path, "use crate::units;"));
    check(
        &modules_used_by_others(&files, &rules),
        &["src/server.rs:1: `server` may not use `units`"],
    );
}

#[test]
fn files_without_a_word_about_themselves_are_found() {
    let files = [
        File::new("src/a.rs", "//! A.\n"),
        File::new("tests/b.rs", "// B.\n//! B."),
    ];
    check(&missing_docs(&files), &["tests/b.rs:1"]);
}

#[test]
fn long_files_are_found() {
    let lines = |count| "a\n".repeat(count);
    let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(LINES_MAX));
    let files = [
        File::new("src/short.rs", &(lines(LINES_MAX) + &test)),
        File::new("src/long.rs", &(lines(LINES_MAX) + &test + "a\n")),
        File::new("src/longer.rs", &lines(LINES_MAX + 1)),
        File::new("tests/long.rs", &test),
    ];
    check(
        &long_files(&files, &[]),
        &["src/long.rs:400: 401 lines", "src/longer.rs:400", "tests/long.rs:400"],
    );
    let exceptions = [
        ("src/long.rs", 401, ""),
        ("src/longer.rs", 401, ""),
        ("src/short.rs", 500, ""),
    ];
    check(
        &long_files(&files[..3], &exceptions),
        &["tests/tidy/main.rs: src/short.rs"],
    );
}

#[test]
fn crates_out_of_place_are_found() {
    let homes: [(&str, &[&str], &str); 1] = [("toml", &["src/config/"], "")];
    let pure: [(&str, &[&str], &str); 1] = [("src/hub/", &["tokio"], "")];
    let files = [
        File::new("src/config/mod.rs", "use toml::Value;"),
        File::new("src/hub/mod.rs", "use std::io;\nuse tokio::net;\ntoml::from_str(a);"),
        File::new(
            "src/hub/shard.rs",
            "#[cfg(test)]\nmod tests { use tokio::time; }\n/// tokio::net",
        ),
        File::new("tests/a.rs", "use toml::Value;"),
    ];
    check(
        &crates_out_of_place(&files, &homes, &pure),
        &["src/hub/mod.rs:2: `tokio`", "src/hub/mod.rs:3: `toml`"],
    );
}

#[test]
fn careless_words_are_found() {
    let text = "a.unwrap()\n.unwrap_or(b); // unwrap()\nprintln!(\"dbg!\")\n// TODO more\n#[allow(dead_code)]\n";
    let test = "#[cfg(test)]\nmod tests {\n  // FIXME\n  fn a() { b.unwrap() }\n}\n";
    let files = [
        File::new("src/a.rs", &format!("{text}{test}")),
        File::new("src/hub/tests.rs", text),
        File::new("tests/a.rs", text),
    ];
    check(
        &careless_words(&files),
        &[
            "src/a.rs:1: no `unwrap(`",
            "src/a.rs:3: no `println!`",
            "src/a.rs:5: no `allow(`",
            "src/a.rs:4: no \"TODO\"",
        ],
    );
}

#[test]
fn dependencies_that_are_not_used_are_found() {
    let dependency = |name, is_dev| Dependency { name, line: 7, is_dev };
    let all = [("a-b", false), ("c", false), ("d", false), ("e", true), ("f", true)];
    let files = [
        File::new("src/a.rs", "use a_b::B; // c::D\n#[cfg(test)]\nmod tests { use d::E; }"),
        File::new("tests/a.rs", "e::f();"),
    ];
    check(
        &unused_dependencies(&files, &all.map(|(name, is_dev)| dependency(name, is_dev))),
        &["Cargo.toml:7: `c`", "Cargo.toml:7: `d`", "Cargo.toml:7: `f`"],
    );
}
