//! One source file and what the rules ask about it.

use std::collections::HashSet;

use crate::source::{Token, blank, tokens};

/// One file.
pub(crate) struct File {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    code: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            code: blank(text),
        }
    }

    pub(crate) fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("/fuzzing.rs")
    }

    /// The words; in a file of tests, all of them are test.
    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = tokens(&self.code);
        tokens.iter_mut().for_each(|token| token.is_test |= self.is_test());
        tokens
    }

    /// The module at the top of the crate that it belongs to, and its depth in the crate.
    pub(crate) fn module(&self) -> Option<(&str, usize)> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let top = path.split('/').next()?;
        (!matches!(top, "lib" | "main")).then(|| (top, path.split('/').count()))
    }

    /// The lines that belong to no unit test, with their numbers.
    pub(crate) fn lines(&self) -> Vec<(usize, &str)> {
        let tested: HashSet<_> = self
            .tokens()
            .chunk_by(|a, b| a.is_test == b.is_test)
            .filter(|chunk| chunk[0].is_test)
            .flat_map(|chunk| chunk[0].line..=chunk[chunk.len() - 1].line)
            .collect();
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(number, _)| !tested.contains(number)).collect()
    }

    /// Whether it is this file, or in this folder where `place` ends in `/`.
    pub(crate) fn is_at(&self, place: &str) -> bool {
        self.path == place || (place.ends_with('/') && self.path.starts_with(place))
    }
}
