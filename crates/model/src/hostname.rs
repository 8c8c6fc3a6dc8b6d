//! Hostnames with wildcards: matching, intersection, specificity.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A lower-case hostname pattern: exact, `*.suffix`, or every host.
///
/// Gateway API's `Hostname` (`shared_types.go`): a wildcard label matches one or more labels, so
/// `*.example.com` matches `a.b.example.com` and not `example.com`. `Any` stands for an absent hostname.
///
/// ```
/// use gatehouse_model::Hostname;
/// let listener = Hostname::parse("*.example.com");
/// let route = Hostname::parse("Shop.example.com");
/// assert_eq!(listener.intersect(&route), Some(Hostname::parse("shop.example.com")));
/// assert!(!listener.matches("example.com"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Hostname {
    /// Every host.
    Any,
    /// `*.suffix`; holds the suffix without the leading `*.`.
    Wildcard(Arc<str>),
    /// One host.
    Exact(Arc<str>),
}

impl Hostname {
    /// Reads a hostname as the API holds it; empty and `*` mean every host.
    pub fn parse(text: &str) -> Self {
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            Some(suffix) => Self::Wildcard(suffix.into()),
            None if lower.is_empty() || lower == "*" => Self::Any,
            None => Self::Exact(lower.into()),
        }
    }

    /// Whether the pattern matches a concrete lower-case host.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => **name == *host,
            Self::Wildcard(suffix) => is_below(host, suffix),
        }
    }

    /// Whether every host that `other` matches is matched by this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Wildcard(suffix), Self::Wildcard(inner)) => inner == suffix || is_below(inner, suffix),
            (_, Self::Any) | (Self::Exact(_), Self::Wildcard(_)) => false,
        }
    }

    /// The narrower of the two when one covers the other; hostname patterns overlap in no other way.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// Sorts from the least to the most specific: every host, wildcards by length, exact by length.
    ///
    /// HTTPRoute `spec.hostnames`: precedence by characters of a matching non-wildcard hostname, then of a
    /// matching hostname.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, suffix.len() + 2),
            Self::Exact(name) => (2, name.len()),
        }
    }

    /// Whether it is `*.something`.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// All patterns that cover this one, itself first, from narrow to wide.
    pub fn ancestors(&self) -> impl Iterator<Item = Hostname> + '_ {
        let mut next = Some(self.clone());
        std::iter::from_fn(move || {
            let current = next.take()?;
            next = current.parent();
            Some(current)
        })
    }

    fn parent(&self) -> Option<Self> {
        match self {
            Self::Any => None,
            Self::Exact(name) | Self::Wildcard(name) => Some(match name.split_once('.') {
                Some((_, rest)) => Self::Wildcard(rest.into()),
                None => Self::Any,
            }),
        }
    }
}

/// `host` has at least one more label than `suffix` and ends with it.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl From<Hostname> for String {
    fn from(value: Hostname) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
