//! YAML text to located documents.
//!
//! ```text
//! text -> chunks at `---` lines -> parser events -> tree with positions -> documents (lists flattened)
//! ```
//!
//! Values are read as kubectl reads them: YAML 1.1 scalars, JSON data model. Each chunk is parsed alone, so a broken
//! document leaves its neighbours whole.

mod build;
mod hint;
mod node;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use hint::look_alike;
pub use node::{Entry, Key, Node, NodeValue, Scalar};

use crate::Diagnostic;

/// The longest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// How deep mappings and lists may be nested.
pub const MAX_DEPTH: usize = 100;
/// How many nodes the aliases of a document may add.
pub const MAX_ALIAS_NODES: usize = 100_000;

/// How many mistakes of a document are reported; more help nobody.
pub const MAX_DIAGNOSTICS: usize = 100;

/// One object of a file, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The line it starts on.
    pub line: usize,
    /// What was read; `None` when the text is no YAML.
    pub root: Option<Node>,
    /// What is wrong with the text itself.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads all documents of a text; empty ones are left out, the items of `List` kinds become documents.
pub fn parse(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    chunks(text).flat_map(|(line, chunk)| build::documents(chunk, line)).flat_map(flatten).collect()
}

/// The parts of a text between its `---` lines, each with the number of lines ahead of it. YAML allows such a line
/// nowhere inside a document.
fn chunks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut start, mut start_line, mut end, mut line) = (0, 0, 0, 0);
    let mut found = Vec::new();
    for content in text.split_inclusive('\n') {
        let separator = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty());
        if separator && end > start {
            found.push((start_line, &text[start..end]));
            (start, start_line) = (end, line);
        }
        end += content.len();
        line += 1;
    }
    found.push((start_line, &text[start..end]));
    found.into_iter().filter(|(_, chunk)| has_content(chunk))
}

/// Whether there is more than comments and directives.
fn has_content(chunk: &str) -> bool {
    chunk.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    })
}

/// The items of a `List`, each as a document of its own; anything else as it is.
fn flatten(document: Document) -> Vec<Document> {
    let items = document.root.as_ref().and_then(list_items);
    match items {
        Some(items) if !items.is_empty() || document.diagnostics.is_empty() => {
            let first = document.diagnostics;
            let mut documents: Vec<Document> = items
                .iter()
                .map(|item| Document { line: item.line, root: Some(item.clone()), diagnostics: Vec::new() })
                .collect();
            if let Some(document) = documents.first_mut() {
                document.diagnostics = first;
            }
            documents
        }
        _ => vec![document],
    }
}

fn list_items(root: &Node) -> Option<&[Node]> {
    let kind = root.get("kind")?.as_str()?;
    match &root.get("items")?.value {
        NodeValue::List(items) if kind.ends_with("List") => Some(items),
        _ => None,
    }
}
