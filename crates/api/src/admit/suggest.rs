//! Guesses at what the user meant.

use crate::source::look_alike;

/// The known word nearest to a given one: equal but for case and punctuation, or a few edits away.
pub(crate) fn nearest<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let folded = fold(given);
    known
        .into_iter()
        .filter(|word| *word != given)
        .filter_map(|word| {
            let known = fold(word);
            let limit = (folded.len().max(known.len()) / 3).clamp(1, 4);
            let distance = strsim::osa_distance(&folded, &known);
            (distance <= limit).then_some((distance, word))
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(b.1)))
        .map(|(_, word)| word)
}

/// The words of a question to the user.
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// `did you mean ...?` if a known word is near.
pub(crate) fn near_miss<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    nearest(given, known).map(did_you_mean)
}

fn fold(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A text that differs from the given one by a usual slip and is valid.
pub(crate) fn repaired(given: &str, valid: impl Fn(&str) -> bool) -> Option<String> {
    let trimmed = given.trim();
    let lower = trimmed.to_lowercase();
    let dashed = trimmed.replace(['_', ' '], "-");
    let lower_dashed = lower.replace(['_', ' '], "-");
    let without_scheme = lower.split_once("://").map_or(lower.as_str(), |(_, rest)| rest);
    let host = without_scheme.split(['/', ':']).next().unwrap_or_default();
    let candidates = [trimmed, &lower, &dashed, &lower_dashed, host, host.trim_end_matches('.')];
    let repaired = candidates.into_iter().find(|candidate| *candidate != given && valid(candidate))?;
    Some(did_you_mean(repaired))
}

/// A hint for a text that should be a name or a hostname and could not be repaired.
pub(crate) fn hint(given: &str) -> Option<String> {
    if let Some((_, suggestion)) = look_alike(given) {
        return Some(suggestion);
    }
    let wildcard = given.contains('*') && !given.trim_start_matches("*.").is_empty();
    wildcard.then(|| "a `*` may only stand alone as the first label, as in `*.example.com`".to_owned())
}
