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

/// Where the mistake behind a syntax error most likely is: line and column from 1, the text, a suggestion. The
/// parser notices some mistakes only on a later line.
pub(super) fn locate(chunk: &str, line: usize, column: usize) -> (usize, usize, String, Option<String>) {
    let lines: Vec<&str> = chunk.lines().collect();
    let reported = line.clamp(1, lines.len().max(1));
    let at = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
    for number in (reported.saturating_sub(2).max(1)..=reported).rev() {
        if let Some((column, suggestion)) = look_alike(at(number)) {
            return (number, column, at(number).trim().to_owned(), Some(suggestion));
        }
    }
    for number in (reported.saturating_sub(1).max(1)..=reported).rev() {
        if let Some(tab) = leading_tab(at(number)) {
            let suggestion = "YAML is indented by spaces, never by tabs".to_owned();
            return (number, tab, at(number).trim().to_owned(), Some(suggestion));
        }
    }
    for number in (reported.saturating_sub(1).max(1)..=reported).rev() {
        if let Some(suggestion) = missing_colon(at(number)) {
            return (number, indent(at(number)) + 1, at(number).trim().to_owned(), Some(suggestion));
        }
    }
    let shown = (1..=reported).rev().find(|&number| !at(number).trim().is_empty()).unwrap_or(reported);
    let column = if shown == reported { column } else { 1 };
    (shown, column, at(shown).trim().to_owned(), None)
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}

fn leading_tab(line: &str) -> Option<usize> {
    let indent = &line[..line.len() - line.trim_start().len()];
    indent.chars().position(|c| c == '\t').map(|index| index + 1)
}

/// `port:80` and `port 80` are strings, not mappings.
fn missing_colon(line: &str) -> Option<String> {
    let content = line.trim().trim_start_matches("- ").trim_start();
    let end = content.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (key, rest) = content.split_at(end);
    let value = rest.trim_start_matches([':', ' ']);
    let joined = (rest.starts_with(':') && !rest.starts_with(": ")) || rest.starts_with(' ');
    (!key.is_empty() && !value.is_empty() && joined && !value.contains(": "))
        .then(|| format!("write `{key}: {value}`"))
}
