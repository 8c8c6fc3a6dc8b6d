//! What is wrong with an object, first by field, then by place in the text.

use std::fmt::Write;

use crate::{
    Diagnostic, Severity,
    source::{Document, MAX_DIAGNOSTICS, Node, NodeValue},
};

/// A step down from an object's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'s> {
    Field(&'s str),
    Index(usize),
}

/// Where a check stands: a list from the innermost step outwards, on the stack, so that sound objects cost nothing.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Option<Step<'p>>,
}

impl<'p> Path<'p> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: None };

    pub(crate) fn field(&'p self, name: &'p str) -> Path<'p> {
        Path { parent: Some(self), step: Some(Step::Field(name)) }
    }

    pub(crate) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Some(Step::Index(index)) }
    }

    /// The steps from the root.
    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps: Vec<Step<'_>> =
            std::iter::successors(Some(self), |path| path.parent).filter_map(|path| path.step).collect();
        steps.reverse();
        steps
    }
}

/// Which part of a field is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// Collects what is wrong with one document.
pub(crate) struct Issues<'d> {
    document: &'d Document,
    /// Values under `data` and `stringData` are kept out of messages.
    secret: bool,
    pub(crate) found: Vec<Diagnostic>,
}

impl<'d> Issues<'d> {
    pub(crate) fn new(document: &'d Document, secret: bool) -> Self {
        Self { document, secret, found: document.diagnostics.clone() }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(Diagnostic::is_error)
    }

    pub(crate) fn error(&mut self, path: &Path<'_>, part: Part, message: String, suggestion: Option<String>) {
        self.add(Severity::Error, path, part, message, suggestion);
    }

    pub(crate) fn warning(
        &mut self,
        path: &Path<'_>,
        part: Part,
        message: String,
        suggestion: Option<String>,
    ) {
        self.add(Severity::Warning, path, part, message, suggestion);
    }

    fn add(
        &mut self,
        severity: Severity,
        path: &Path<'_>,
        part: Part,
        message: String,
        suggestion: Option<String>,
    ) {
        if self.found.len() >= MAX_DIAGNOSTICS {
            return;
        }
        let steps = path.steps();
        let (line, column, mut offending) = match &self.document.root {
            Some(root) => locate(root, &steps, part),
            None => (self.document.line, 1, String::new()),
        };
        if self.secret
            && matches!(steps.first(), Some(Step::Field("data" | "stringData")))
            && part == Part::Value
        {
            offending = String::new();
        }
        let path = render(&steps);
        let diagnostic = Diagnostic { severity, line, column, path, offending, message, suggestion };
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }
}

/// Line, column and text of a field, or of the innermost field around it that was written.
fn locate(root: &Node, steps: &[Step<'_>], part: Part) -> (usize, usize, String) {
    let mut node = root;
    let mut place = (root.line, root.column, String::new());
    for (number, step) in steps.iter().enumerate() {
        let last = number + 1 == steps.len();
        match (step, &node.value) {
            (Step::Field(name), NodeValue::Map(_)) => {
                let Some(entry) = node.entry(name) else { return place };
                node = &entry.value;
                let composite = !matches!(node.value, NodeValue::Scalar(_));
                let empty = node.raw().is_empty();
                place = if composite || empty || (last && part == Part::Key) {
                    (entry.key.line, entry.key.column, entry.key.text.clone())
                } else {
                    (node.line, node.column, node.raw().to_owned())
                };
            }
            (Step::Index(index), NodeValue::List(items)) => {
                let Some(item) = items.get(*index) else { return place };
                node = item;
                place = (item.line, item.column, item.raw().to_owned());
            }
            _ => return place,
        }
    }
    place
}

/// `spec.rules[0].matches[1].path.type`
fn render(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        let _ = match step {
            Step::Index(index) => write!(path, "[{index}]"),
            Step::Field(name) if name.contains(['.', '/']) => write!(path, "[{name:?}]"),
            Step::Field(name) if path.is_empty() => write!(path, "{name}"),
            Step::Field(name) => write!(path, ".{name}"),
        };
    }
    path
}
