//! The dependencies in Cargo.toml, read line by line, as comments are what a TOML parser throws away.

/// One line of a table of dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dependency<'a> {
    pub(crate) name: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Whether only tests need it.
    pub(crate) is_dev: bool,
}

/// All dependencies, and complaints about those without a reason behind them.
pub(crate) fn dependencies(text: &str) -> (Vec<Dependency<'_>>, Vec<String>) {
    let (mut dependencies, mut complaints) = (Vec::new(), Vec::new());
    let mut table = "";
    for (line, content) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if content.starts_with('[') {
            table = content.trim_matches(['[', ']']);
            if table.contains("dependencies.") {
                complaints.push(format!(
                    "Cargo.toml:{line}: a dependency is one line with its reason behind it"
                ));
            }
            continue;
        }
        if !table.ends_with("dependencies") || content.is_empty() || content.starts_with('#') {
            continue;
        }
        let name = content.split(['=', '.', ' ']).next().unwrap_or(content);
        if reason(content).is_none_or(str::is_empty) {
            complaints.push(format!(
                "Cargo.toml:{line}: `{name}` needs a comment behind it that says what it is here for"
            ));
        }
        dependencies.push(Dependency {
            name,
            line,
            is_dev: table.ends_with("dev-dependencies"),
        });
    }
    (dependencies, complaints)
}

/// The comment at the end of a line.
fn reason(line: &str) -> Option<&str> {
    let mut is_string = false;
    let start = line.find(|character| {
        is_string ^= character == '"';
        character == '#' && !is_string
    })?;
    Some(line[start + 1..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_with_their_reasons() {
        let (found, complaints) = dependencies(
            "[package]\nname = \"x\"\n[dependencies]\n# all\na-b = \"1\" # why\nc = { version = \"#1\" }\n\
             d.workspace = true #\n[dev-dependencies]\ne = \"1\" # tests\n[dependencies.f]\nversion = \"1\"",
        );
        let names: Vec<_> = found
            .iter()
            .map(|found| (found.name, found.line, found.is_dev))
            .collect();
        assert_eq!(
            names,
            [("a-b", 5, false), ("c", 6, false), ("d", 7, false), ("e", 9, true)]
        );
        let starts: Vec<_> = complaints.iter().map(|complaint| &complaint[..12]).collect();
        assert_eq!(
            starts,
            ["Cargo.toml:6", "Cargo.toml:7", "Cargo.toml:1"],
            "{complaints:?}"
        );
    }
}
