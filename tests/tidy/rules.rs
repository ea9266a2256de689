//! The rules: each a function from sources to complaints, which name a file, a line and the rule.

use std::collections::HashSet;

use crate::file::File;
use crate::manifest::Dependency;
use crate::source::{crates_named, modules_named};

/// Lines of a file without its unit tests.
pub(crate) const LINES_MAX: usize = 400;

/// Words outside tests that stand for something unfinished or careless: the word, what follows it, what to do instead.
const WORDS: [(&str, &str, &str); 9] = [
    (
        "unwrap",
        "(",
        "an error, or `expect` with the reason why it cannot fail",
    ),
    ("todo", "!", "do it"),
    ("unimplemented", "!", "do it"),
    ("dbg", "!", "log, or nothing"),
    ("print", "!", "write to a stream that may be closed"),
    ("println", "!", "write to a stream that may be closed"),
    ("eprint", "!", "write to a stream that may be closed"),
    ("eprintln", "!", "write to a stream that may be closed"),
    (
        "allow",
        "(",
        "`expect` with a reason, which tells when it is no longer needed",
    ),
];

/// The modules in the order that the crate's documentation tells, lowest first.
pub(crate) fn reading_order(lib: &str) -> Vec<&str> {
    let lists = lib.lines().filter_map(|line| line.strip_prefix("//! - ["));
    let names = lists.flat_map(|list| list.split("]:").next().unwrap_or(list).split(','));
    names
        .map(|name| name.trim_matches(|character: char| !character.is_alphanumeric()))
        .collect()
}

pub(crate) fn undocumented_modules(lib: &File) -> Vec<String> {
    let order: HashSet<_> = reading_order(&lib.text).into_iter().collect();
    let tokens = lib.tokens();
    let declared = tokens
        .windows(2)
        .filter(|pair| pair[0].text == "mod" && !pair[0].is_test)
        .map(|pair| pair[1].text);
    let declared: HashSet<_> = declared.collect();
    let odd = order.symmetric_difference(&declared);
    odd.map(|name| format!("src/lib.rs: `{name}` must be declared and have its place in the reading order"))
        .collect()
}

/// What unit tests use does not count: a test may read a configuration, for one.
pub(crate) fn upward_uses(files: &[File], order: &[&str], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|name| *name == module);
    let mut complaints = Vec::new();
    let mut unused: Vec<_> = exceptions.to_vec();
    for file in files {
        let Some((own, depth)) = file.module() else { continue };
        for used in modules_named(&file.tokens(), depth).iter().filter(|used| !used.is_test) {
            unused.retain(|(user, module, _)| (*user, *module) != (own, used.text));
            let is_excepted = exceptions
                .iter()
                .any(|(user, module, _)| (*user, *module) == (own, used.text));
            match place(used.text) {
                _ if is_excepted => {}
                Some(other) if place(own).is_some_and(|own| other <= own) => {}
                Some(_) => complaints.push(format!(
                    "{}:{}: `{own}` uses `{}`, which is above it in the order of src/lib.rs",
                    file.path, used.line, used.text
                )),
                None => complaints.push(format!(
                    "{}:{}: `{}` is no module in the order of src/lib.rs",
                    file.path, used.line, used.text
                )),
            }
        }
    }
    complaints.extend(unused.iter().map(|(user, module, _)| {
        format!("tests/tidy/main.rs: `{user}` does not use `{module}` any more; take the exception out")
    }));
    complaints
}

pub(crate) fn modules_used_by_others(files: &[File], rules: &[(&str, &[&str], &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let Some((own, depth)) = file.module() else { continue };
        for used in modules_named(&file.tokens(), depth).iter().filter(|used| !used.is_test) {
            for (module, users, reason) in rules {
                if used.text == *module && own != *module && !users.contains(&own) {
                    complaints.push(format!(
                        "{}:{}: `{own}` may not use `{module}`: {reason}",
                        file.path, used.line
                    ));
                }
            }
        }
    }
    complaints
}

pub(crate) fn missing_docs(files: &[File]) -> Vec<String> {
    let bare = files.iter().filter(|file| !file.text.starts_with("//! "));
    bare.map(|file| {
        format!(
            "{}:1: a file begins with `//!`: what it is and what it must never do",
            file.path
        )
    })
    .collect()
}

pub(crate) fn long_files(files: &[File], exceptions: &[(&str, usize, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, _, _) in exceptions {
        if files.iter().all(|file| file.path != *path || length(file) <= LINES_MAX) {
            complaints.push(format!(
                "tests/tidy/main.rs: {path} is not too long any more; take the exception out"
            ));
        }
    }
    for file in files {
        let lines = length(file);
        let excepted = exceptions.iter().find(|(path, _, _)| *path == file.path);
        let max = excepted.map_or(LINES_MAX, |(_, max, _)| *max);
        if lines > max {
            complaints.push(format!(
                "{}:{max}: {lines} lines without unit tests, and {max} is the limit",
                file.path
            ));
        }
    }
    complaints
}

/// Lines that count; a file of tests has none that could be left out.
fn length(file: &File) -> usize {
    if file.is_test() {
        file.text.lines().count()
    } else {
        file.lines().len()
    }
}

pub(crate) fn crates_out_of_place(
    files: &[File],
    homes: &[(&str, &[&str], &str)],
    pure: &[(&str, &[&str], &str)],
) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        for named in crates_named(&file.tokens()) {
            let outside = homes
                .iter()
                .filter(|(name, places, _)| named.text == *name && !places.iter().any(|place| file.is_at(place)));
            let within = pure
                .iter()
                .filter(|(place, names, _)| names.contains(&named.text) && file.is_at(place) && !named.is_test);
            for (_, _, reason) in outside.chain(within) {
                complaints.push(format!(
                    "{}:{}: `{}` may not be named here: {reason}",
                    file.path, named.line, named.text
                ));
            }
        }
    }
    complaints
}

pub(crate) fn careless_words(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        for pair in file.tokens().windows(2).filter(|pair| !pair[0].is_test) {
            for (word, behind, instead) in WORDS {
                if (pair[0].text, pair[1].text) == (word, behind) {
                    complaints.push(format!(
                        "{}:{}: no `{word}{behind}`: {instead}",
                        file.path, pair[0].line
                    ));
                }
            }
        }
        for (number, line) in file.lines() {
            if let Some(word) = ["TODO", "FIXME"].iter().find(|word| line.contains(*word)) {
                complaints.push(format!(
                    "{}:{number}: no \"{word}\": do it, or write an issue",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// Dependencies that no source names: those of the program outside tests, those of tests inside.
pub(crate) fn unused_dependencies(files: &[File], dependencies: &[Dependency<'_>]) -> Vec<String> {
    let (mut in_tests, mut outside) = (HashSet::new(), HashSet::new());
    for file in files {
        for named in crates_named(&file.tokens()) {
            let names = if named.is_test { &mut in_tests } else { &mut outside };
            names.insert(named.text.to_owned());
        }
    }
    let unused = dependencies.iter().filter(|dependency| {
        let names = if dependency.is_dev { &in_tests } else { &outside };
        !names.contains(&dependency.name.replace('-', "_"))
    });
    unused
        .map(|dependency| format!("Cargo.toml:{}: `{}` is named nowhere", dependency.line, dependency.name))
        .collect()
}
