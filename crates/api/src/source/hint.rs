//! Guesses at what broke a document's syntax.

/// A look-alike that YAML does not take for punctuation, and what was meant.
const LOOK_ALIKES: &[(char, &str, &str)] = &[
    ('\u{ff1a}', "full-width colon", ":"),
    ('\u{ff0c}', "full-width comma", ","),
    ('\u{ff0d}', "full-width hyphen", "-"),
    ('\u{3000}', "ideographic space", " "),
    ('\u{a0}', "no-break space", " "),
    ('\u{200b}', "zero-width space", ""),
    ('\u{201c}', "curly quote", "\""),
    ('\u{201d}', "curly quote", "\""),
    ('\u{2018}', "curly quote", "'"),
    ('\u{2019}', "curly quote", "'"),
    ('\u{2013}', "en dash", "-"),
];

/// Where a look-alike stands in a text: its column from 1, and what to write instead.
pub(crate) fn look_alike(text: &str) -> Option<(usize, String)> {
    text.chars().enumerate().find_map(|(index, c)| {
        let (_, name, meant) = LOOK_ALIKES.iter().find(|(look_alike, ..)| *look_alike == c)?;
        let suggestion = if meant.is_empty() {
            format!("remove the {name}")
        } else {
            format!("replace the {name} {:?} by {meant:?}", c.to_string())
        };
        Some((index + 1, suggestion))
    })
}

/// Where a syntax error most likely comes from.
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) offending: String,
    pub(super) suggestion: Option<String>,
}

/// A check of one line: the column of a mistake and what to do about it.
type Check = fn(&str) -> Option<(usize, String)>;

/// Where the mistake behind a syntax error most likely is. The parser notices some mistakes only on a later line. Of
/// a secret document no text is shown.
pub(super) fn locate(chunk: &str, line: usize, column: usize, secret: bool) -> Place {
    let lines: Vec<&str> = chunk.lines().collect();
    let reported = line.clamp(1, lines.len().max(1));
    let at = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
    let offending = |number| if secret { String::new() } else { shortened(at(number).trim()) };
    let checks: [(Check, usize); 3] = [(look_alike, 2), (leading_tab, 1), (missing_colon, 1)];
    for (check, lines_back) in checks {
        for line in (reported.saturating_sub(lines_back).max(1)..=reported).rev() {
            if let Some((column, suggestion)) = check(at(line)) {
                let suggestion = Some(suggestion).filter(|_| !secret);
                return Place { line, column, offending: offending(line), suggestion };
            }
        }
    }
    let shown = (1..=reported).rev().find(|&number| !at(number).trim().is_empty()).unwrap_or(reported);
    let column = if shown == reported { column } else { 1 };
    Place { line: shown, column, offending: offending(shown), suggestion: None }
}

/// The beginning of a line that may be long.
pub(super) fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}

fn leading_tab(line: &str) -> Option<(usize, String)> {
    let indent = &line[..line.len() - line.trim_start().len()];
    let index = indent.chars().position(|c| c == '\t')?;
    Some((index + 1, "YAML is indented by spaces, never by tabs".to_owned()))
}

/// `port:80` and `port 80` are strings, not mappings.
fn missing_colon(line: &str) -> Option<(usize, String)> {
    let content = line.trim().trim_start_matches("- ").trim_start();
    let end = content.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (key, rest) = content.split_at(end);
    let value = rest.trim_start_matches([':', ' ']);
    let joined = (rest.starts_with(':') && !rest.starts_with(": ")) || rest.starts_with(' ');
    let found = !key.is_empty() && !value.is_empty() && joined && !value.contains(": ");
    found.then(|| (indent(line) + 1, format!("write `{key}: {value}`")))
}
