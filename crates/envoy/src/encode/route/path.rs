//! Changes of the path (`HTTPPathModifier`), whose table of slashes Envoy's prefix rewrite alone does not give.

use std::borrow::Cow;

use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use gatehouse_model::http::{PathMatch, PathModifier};

use super::matching::regex_matcher;

/// How Envoy changes a path.
pub(super) enum Edit {
    Keep,
    /// The whole path.
    Full(String),
    /// What the route's prefix matched.
    Prefix(String),
    Regex(RegexMatchAndSubstitute),
}

/// A trailing slash of a prefix is ignored; what is left of `/` is nothing.
pub(super) fn prefix_without_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

pub(super) fn edit(modifier: Option<&PathModifier>, matched: &PathMatch) -> Edit {
    match (modifier, matched) {
        (Some(PathModifier::ReplaceFullPath(path)), _) => Edit::Full(absolute(path).into_owned()),
        (Some(PathModifier::ReplacePrefixMatch(replacement)), PathMatch::Prefix(prefix)) => {
            let replacement = absolute(prefix_without_slash(replacement));
            replace_prefix(prefix_without_slash(prefix), prefix_without_slash(&replacement))
        }
        // The second is refused by the validator.
        (None | Some(PathModifier::ReplacePrefixMatch(_)), _) => Edit::Keep,
    }
}

/// Both without a trailing slash.
fn replace_prefix(prefix: &str, replacement: &str) -> Edit {
    match (prefix, replacement) {
        ("", "") => Edit::Keep,
        // The route matches the slash that follows an empty prefix.
        ("", replacement) => Edit::Prefix(format!("{replacement}/")),
        // The slash after the prefix goes too, and one must be left of `/foo`.
        (prefix, "") => Edit::Regex(RegexMatchAndSubstitute {
            pattern: Some(regex_matcher(&format!("^{}/*", regex::escape(prefix)))),
            substitution: "/".to_owned(),
        }),
        (_, replacement) => Edit::Prefix(replacement.to_owned()),
    }
}

/// A rewrite of the whole path; in a substitution a backslash starts a group reference.
pub(super) fn full(path: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(regex_matcher("^/.*$")), substitution: path.replace('\\', r"\\") }
}

fn absolute(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) }
}
