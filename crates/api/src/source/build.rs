//! Parser events to located trees.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{
    Document, Entry, Key, MAX_ALIAS_NODES, MAX_DEPTH, MAX_DIAGNOSTICS, MAX_DOCUMENT_BYTES, Node, NodeValue,
    Scalar, hint, scalar,
};
use crate::{Diagnostic, Severity};

/// The documents of one chunk; more than one only when `...` lines end them.
pub(super) fn documents(chunk: &str, lines_ahead: usize) -> Vec<Document> {
    let mut builder = Builder::new(chunk, lines_ahead);
    if chunk.len() > MAX_DOCUMENT_BYTES {
        let message = format!("document is longer than {MAX_DOCUMENT_BYTES} bytes");
        builder.error(lines_ahead + 1, 1, String::new(), message, None);
        builder.finish_document(None);
        return builder.documents;
    }
    let mut parser = Parser::new_from_str(chunk);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if builder.event(event, span).is_err() {
                    break;
                }
            }
            Err(error) => {
                builder.syntax_error(&error);
                break;
            }
        }
    }
    if !builder.diagnostics.is_empty() {
        builder.finish_document(None);
    }
    builder.documents
}

/// The document is given up; the reason is among the diagnostics.
struct GivenUp;

/// A mapping or list that is not closed yet.
enum Frame {
    List { items: Vec<Node> },
    Map { entries: Vec<Entry>, key: Option<Key> },
}

struct Open {
    frame: Frame,
    start: Marker,
    anchor: usize,
}

struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

struct Builder<'t> {
    chunk: &'t str,
    lines_ahead: usize,
    stack: Vec<Open>,
    /// What `&name` marked in this document, by the parser's number of it.
    anchors: HashMap<usize, Anchored>,
    alias_nodes: usize,
    root: Option<Node>,
    diagnostics: Vec<Diagnostic>,
    documents: Vec<Document>,
}

impl<'t> Builder<'t> {
    fn new(chunk: &'t str, lines_ahead: usize) -> Self {
        Self {
            chunk,
            lines_ahead,
            stack: Vec::new(),
            anchors: HashMap::new(),
            alias_nodes: 0,
            root: None,
            diagnostics: Vec::new(),
            documents: Vec::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), GivenUp> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), span.start)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(Frame::List { items: Vec::new() }, span.start, anchor)
            }
            Event::MappingStart(anchor, _) => {
                self.open(Frame::Map { entries: Vec::new(), key: None }, span.start, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, span.start),
            Event::DocumentEnd => {
                let root = self.root.take();
                self.finish_document(root);
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn finish_document(&mut self, root: Option<Node>) {
        self.stack.clear();
        self.anchors.clear();
        self.alias_nodes = 0;
        let diagnostics = std::mem::take(&mut self.diagnostics);
        let empty = root.as_ref().is_none_or(
            |node| matches!(&node.value, NodeValue::Scalar(Scalar::Other { value, .. }) if value.is_null()),
        );
        if empty && diagnostics.is_empty() {
            return;
        }
        let line = root.as_ref().map(|node| node.line).or(diagnostics.first().map(|first| first.line));
        self.documents.push(Document { line: line.unwrap_or(self.lines_ahead + 1), root, diagnostics });
    }

    fn open(&mut self, frame: Frame, start: Marker, anchor: usize) -> Result<(), GivenUp> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.give_up(start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        // A mapping or list in the place of a key is refused here: JSON has string keys only.
        if let Some(Open { frame: Frame::Map { key: None, .. }, .. }) = self.stack.last() {
            return Err(self.give_up(start, "a mapping or list cannot be a key".into()));
        }
        self.stack.push(Open { frame, start, anchor });
        Ok(())
    }

    fn close(&mut self) -> Result<(), GivenUp> {
        let Some(Open { frame, start, anchor }) = self.stack.pop() else { return Ok(()) };
        let value = match frame {
            Frame::List { items } => NodeValue::List(items),
            Frame::Map { entries, .. } => {
                self.report_duplicates(&entries);
                NodeValue::Map(self.merge(entries)?)
            }
        };
        let (line, column) = self.position(start);
        self.add(Node { line, column, value }, anchor);
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        start: Marker,
    ) -> Result<(), GivenUp> {
        let plain = style == ScalarStyle::Plain && tag.is_none();
        let tagged = tag.is_some_and(|tag| {
            tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null")
        });
        let resolved = if plain || tagged { scalar::resolve(text) } else { Ok(None) };
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(message) => return Err(self.give_up(start, message.to_owned())),
        };
        let (line, column) = self.position(start);
        if let Some(Open { frame: Frame::Map { key: key @ None, .. }, .. }) = self.stack.last_mut() {
            let merge = plain && text == "<<";
            let text = match resolved {
                Some(serde_json::Value::Null) => {
                    return Err(self.give_up(start, "a null cannot be a key".into()));
                }
                Some(serde_json::Value::Bool(value)) => value.to_string(),
                Some(serde_json::Value::Number(value)) if value.is_i64() || value.is_u64() => {
                    value.to_string()
                }
                _ => text.to_owned(),
            };
            *key = Some(Key { text, line, column, merge });
            return Ok(());
        }
        let value = match resolved {
            Some(value) => Scalar::Other { raw: text.to_owned(), value },
            None => Scalar::Text(text.to_owned()),
        };
        self.add(Node { line, column, value: NodeValue::Scalar(value) }, anchor);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, start: Marker) -> Result<(), GivenUp> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.give_up(start, "alias of a value that is not complete yet".into()));
        };
        self.alias_nodes += anchored.size;
        if self.alias_nodes > MAX_ALIAS_NODES {
            return Err(self.give_up(start, format!("aliases add more than {MAX_ALIAS_NODES} values")));
        }
        if self.stack.len() + anchored.depth > MAX_DEPTH {
            return Err(self.give_up(start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(Open { frame: Frame::Map { key: key @ None, .. }, .. }) = self.stack.last_mut() {
            let Some(text) = anchored.node.as_str().map(str::to_owned) else {
                return Err(
                    self.give_up(start, "an alias in the place of a key must stand for a string".into())
                );
            };
            let (line, column) = (self.lines_ahead + start.line(), start.col() + 1);
            *key = Some(Key { text, line, column, merge: false });
            return Ok(());
        }
        let node = anchored.node.clone();
        self.add(node, 0);
        Ok(())
    }

    /// Puts a complete value where it belongs. The parser numbers anchors from 1.
    fn add(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            let (size, depth) = node.extent();
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        match self.stack.last_mut().map(|open| &mut open.frame) {
            Some(Frame::List { items }) => items.push(node),
            Some(Frame::Map { entries, key }) => {
                if let Some(key) = key.take() {
                    entries.push(Entry { key, value: node });
                }
            }
            None => self.root = Some(node),
        }
    }

    /// Replaces `<<` by the entries it stands for; keys beside it win.
    fn merge(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, GivenUp> {
        if !entries.iter().any(|entry| entry.key.merge) {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.key.merge);
        let mut known: HashSet<String> = own.iter().map(|entry| entry.key.text.clone()).collect();
        for Entry { key, value } in merges {
            let sources = match value.value {
                NodeValue::List(items) => items,
                _ => vec![value],
            };
            for source in sources {
                let NodeValue::Map(inherited) = source.value else {
                    let message = "a merge key needs a mapping or a list of mappings".to_owned();
                    self.error(key.line, key.column, "<<".into(), message, None);
                    return Err(GivenUp);
                };
                own.extend(inherited.into_iter().filter(|entry| known.insert(entry.key.text.clone())));
            }
        }
        Ok(own)
    }

    fn report_duplicates(&mut self, entries: &[Entry]) {
        let mut first: HashMap<&str, &Key> = HashMap::new();
        for Entry { key, .. } in entries {
            let Some(earlier) = first.insert(&key.text, key) else { continue };
            if self.diagnostics.len() >= MAX_DIAGNOSTICS {
                return;
            }
            let message = format!("key is given twice in one mapping, first on line {}", earlier.line);
            let in_list = matches!(self.stack.last(), Some(Open { frame: Frame::List { .. }, .. }));
            let suggestion = if in_list {
                format!("start another list item with `- {}: ...`, or remove one of the two", key.text)
            } else {
                "remove one of the two".to_owned()
            };
            self.error(key.line, key.column, key.text.clone(), message, Some(suggestion));
            if let Some(diagnostic) = self.diagnostics.last_mut() {
                diagnostic.path = path(&self.stack, &key.text);
            }
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let marker = error.marker();
        let place = hint::locate(self.chunk, marker.line(), marker.col() + 1, self.is_secret());
        let message = format!("not valid YAML: {}", error.info());
        self.error(place.line + self.lines_ahead, place.column, place.offending, message, place.suggestion);
    }

    /// A text without structure cannot tell secret lines from others, so none of a Secret's is shown. References to
    /// Secrets come without data.
    fn is_secret(&self) -> bool {
        let mut data = self.chunk.match_indices("data").map(|(at, _)| &self.chunk[..at]);
        let mut has_data = || data.any(|before| !before.ends_with(char::is_alphanumeric));
        self.chunk.contains("Secret") && (self.chunk.contains("stringData") || has_data())
    }

    fn give_up(&mut self, at: Marker, message: String) -> GivenUp {
        let (line, column) = self.position(at);
        let line_text = self.chunk.lines().nth(at.line().saturating_sub(1)).unwrap_or_default().trim();
        let offending = if self.is_secret() { String::new() } else { hint::shortened(line_text) };
        self.error(line, column, offending, message, None);
        GivenUp
    }

    fn error(
        &mut self,
        line: usize,
        column: usize,
        offending: String,
        message: String,
        suggestion: Option<String>,
    ) {
        let severity = Severity::Error;
        self.diagnostics.push(Diagnostic {
            severity,
            line,
            column,
            path: String::new(),
            offending,
            message,
            suggestion,
        });
    }

    fn position(&self, marker: Marker) -> (usize, usize) {
        (marker.line() + self.lines_ahead, marker.col() + 1)
    }
}

/// The field path of a key in the innermost open mapping.
fn path(stack: &[Open], key: &str) -> String {
    use std::fmt::Write;
    let mut path = String::new();
    for open in stack {
        match &open.frame {
            Frame::List { items } => {
                let _ = write!(path, "[{}]", items.len());
            }
            Frame::Map { key: Some(key), .. } => {
                let _ = write!(path, "{}{}", if path.is_empty() { "" } else { "." }, key.text);
            }
            Frame::Map { key: None, .. } => {}
        }
    }
    let _ = write!(path, "{}{key}", if path.is_empty() { "" } else { "." });
    path
}
