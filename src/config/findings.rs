//! What is wrong with a configuration: collected, never thrown at the first.
//!
//! A finding names its key, shows the value where that helps (never a secret's) and says where it
//! came from.

use std::fmt;

/// Everything that is wrong with a configuration, and what is merely odd, ready to be printed.
#[derive(Debug, Default)]
pub struct Problems {
    /// Why the gateway does not start.
    pub errors: Vec<String>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|text| ("error", text));
        let warnings = self.warnings.iter().map(|text| ("warning", text));
        for (index, (severity, text)) in errors.chain(warnings).enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{severity}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Whether the gateway starts all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It does not.
    Error,
    /// It does.
    Warning,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// In words.
    pub(super) text: String,
    /// The line, in the configuration file.
    pub(super) line: Option<usize>,
}

impl Source {
    /// A source that has no lines.
    pub(super) fn named(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, line: None }
    }

    /// A line of the configuration file.
    pub(super) fn line(file: &str, line: usize) -> Self {
        let text = format!("{file}, line {line}");
        Self { text, line: Some(line) }
    }
}

/// One thing that is wrong or odd.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What it is about: `engine.ping_interval`, `namespace.0.event.2.action`, a variable, or
    /// nothing in particular.
    pub(super) path: String,
    /// What else takes part in it, for rules that compare settings.
    pub(super) others: Vec<String>,
    /// What is the matter, as the end of a sentence that the path begins.
    pub(super) message: String,
    /// Where the value came from, if that is not to be looked up by the path.
    pub(super) source: Option<Source>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    /// Adds an error about the setting at `path`.
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, path, message);
    }

    /// Adds a warning about the setting at `path`.
    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, path, message);
    }

    /// Adds an error about something that `source` says.
    pub(super) fn error_in(&mut self, source: Source, path: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, path, message).source = Some(source);
    }

    /// Adds a warning about something that `source` says.
    pub(super) fn warning_in(&mut self, source: Source, path: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, path, message).source = Some(source);
    }

    /// Adds an error about settings that do not go together.
    pub(super) fn conflict(&mut self, path: &str, others: &[&str], message: impl Into<String>) {
        let others = others.iter().map(|path| (*path).to_owned()).collect();
        self.add(Severity::Error, path, message).others = others;
    }

    /// Whether there is an error about the setting at `path`.
    pub(super) fn refuse(&self, path: &str) -> bool {
        let mut errors = self.0.iter().filter(|finding| finding.severity == Severity::Error);
        errors.any(|finding| finding.path == path)
    }

    fn add(&mut self, severity: Severity, path: impl Into<String>, message: impl Into<String>) -> &mut Finding {
        self.0.push(Finding {
            severity,
            path: path.into(),
            others: Vec::new(),
            message: message.into(),
            source: None,
        });
        self.0.last_mut().expect("it was pushed just now")
    }
}
