//! What is wrong with a document, where, and what to write instead.

use std::fmt;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object is taken as it is.
    Warning,
    /// The object is refused.
    Error,
}

/// A mistake in a document. Who knows the file's name prints it in front: `file:line:column: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// From 1, in the text given to [`crate::source::parse`].
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The field, such as `spec.rules[0].matches[1].path.type`; empty when the text is no YAML.
    pub path: String,
    /// The text that is wrong, as it was written.
    pub offending: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// Whether the object is refused because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// `line:column: error: path: message: "offending" (suggestion)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}:{}: {severity}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.offending.is_empty() {
            write!(f, ": {:?}", self.offending)?;
        }
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}
