//! One thing wrong with a configuration, and how it is written as JSON.
//!
//! A fault says what happened, where, why, and what to do. It is data: [`crate::render`] draws it for people.

use std::fmt;

use serde::Serialize;

use crate::source::{Source, Span};

/// Whether a fault stops the gateway from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration runs, but hardly does what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A replacement of some bytes of the source that would mend a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What to replace; empty to insert.
    pub span: Span,
    /// The new text.
    pub text: String,
}

/// One fault at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The source's name.
    pub file: String,
    /// Line, from 1; 0 when the fault has no place in the text (the file cannot be read).
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Error or warning.
    pub severity: Severity,
    /// A short stable code such as `C101`; see [`crate::codes`].
    pub code: &'static str,
    /// What happened, one line, no full stop.
    pub message: String,
    /// What stands under the marked text.
    pub label: Option<String>,
    /// Facts that help to understand, each one line.
    pub notes: Vec<String>,
    /// What to do, one line.
    pub help: Option<String>,
    /// A change to the text that `help` suggests.
    pub patch: Option<Patch>,
    /// The marked bytes.
    pub span: Span,
}

impl Fault {
    /// A fault at a span of a source.
    #[must_use]
    pub fn new(
        source: &Source,
        span: Span,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let position = source.position(span.start);
        Self {
            file: source.name.clone(),
            line: position.line,
            column: position.column,
            severity,
            code,
            message: message.into(),
            label: None,
            notes: Vec::new(),
            help: None,
            patch: None,
            span,
        }
    }

    /// An error at a span of a source.
    #[must_use]
    pub fn error(source: &Source, span: Span, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(source, span, Severity::Error, code, message)
    }

    /// A warning at a span of a source.
    #[must_use]
    pub fn warning(source: &Source, span: Span, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(source, span, Severity::Warning, code, message)
    }

    /// Adds what stands under the marked text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a change to the text.
    #[must_use]
    pub fn patch(mut self, span: Span, text: impl Into<String>) -> Self {
        self.patch = Some(Patch { span, text: text.into() });
        self
    }

    /// One line of `check --json`: `{"file","line","column","severity","code","message","help"}`. The label and the notes are
    /// part of `message`, so that nothing is lost.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            file: &'a str,
            line: u32,
            column: u32,
            severity: Severity,
            code: &'a str,
            message: String,
            help: Option<&'a str>,
        }
        let mut message = self.message.clone();
        for more in self.label.iter().chain(&self.notes) {
            message.push_str("; ");
            message.push_str(more);
        }
        let line = Line {
            file: &self.file,
            line: self.line,
            column: self.column,
            severity: self.severity,
            code: self.code,
            message,
            help: self.help.as_deref(),
        };
        serde_json::to_string(&line).expect("strings and numbers always serialise")
    }

    fn place(&self) -> (&str, u32, u32, &str, &str) {
        (&self.file, self.line, self.column, self.code, &self.message)
    }
}

impl fmt::Display for Fault {
    /// `FILE:LINE:COL: error[C101]: message`, one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { file, line, column, severity, code, message, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}[{code}]: {message}")
    }
}

/// Sorts by file, line, column, then code; removes exact repeats.
pub fn sort(faults: &mut Vec<Fault>) {
    faults.sort_by(|a, b| a.place().cmp(&b.place()));
    faults.dedup();
}

/// Whether any of them is an error.
#[must_use]
pub fn any_error(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_seven_members() {
        let source = Source::new("x.yaml", "a: b");
        let fault = Fault::error(&source, Span::new(3, 4), "C102", "a wants a size").label("this").help("write 1KiB");
        assert_eq!(
            fault.to_json(),
            r#"{"file":"x.yaml","line":1,"column":4,"severity":"error","code":"C102","message":"a wants a size; this","help":"write 1KiB"}"#
        );
        assert_eq!(fault.to_string(), "x.yaml:1:4: error[C102]: a wants a size");
    }
}
