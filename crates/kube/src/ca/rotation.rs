//! Which authorities there are, and when one follows the other; pure, the clock is given.
//!
//! ```text
//! current signs --two thirds of its life--> next is published --`publish` later--> next signs, current is previous
//!                                                     previous leaves when all that it signed has expired
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::authority::{Authority, valid};

/// What rotation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    pub(super) authority_days: u16,
    pub(super) certificate_days: u16,
    pub(super) publish: Duration,
}

/// An authority that signs no more.
#[derive(Debug)]
struct Previous {
    certificate: String,
    since: Timestamp,
}

/// All authorities that count.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    current: Option<Authority>,
    /// Published since, and not yet used.
    next: Option<(Authority, Timestamp)>,
    previous: Option<Previous>,
}

impl Authorities {
    /// Reads what was stored; nothing stored is nothing.
    pub(super) fn read(texts: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |key: &str| texts.get(key).map(String::as_str);
        let pair = |certificate: &str, key: &str| match (text(certificate), text(key)) {
            (Some(certificate), Some(key)) => Authority::read(certificate, key).map(Some),
            (None, None) => Ok(None),
            _ => Err(format!(
                "{certificate} and {key} must both be there; delete the Secret to have a new authority made"
            )),
        };
        let since = |key: &str| {
            let time = text(key).ok_or_else(|| format!("{key} is missing"))?;
            time.parse::<Timestamp>().map_err(|e| format!("{key}: {e}"))
        };
        let next = match pair("next.crt", "next.key")? {
            Some(next) => Some((next, since("next.since")?)),
            None => None,
        };
        let previous = match text("previous.crt") {
            Some(certificate) => {
                valid(certificate)?;
                Some(Previous { certificate: certificate.to_owned(), since: since("previous.since")? })
            }
            None => None,
        };
        Ok(Self { current: pair("ca.crt", "ca.key")?, next, previous })
    }

    /// As [`Authorities::read`] reads it.
    pub(super) fn write(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        let mut put = |key: &str, text: String| texts.insert(key.to_owned(), text);
        if let Some(current) = &self.current {
            put("ca.crt", current.certificate.clone());
            put("ca.key", current.key());
        }
        if let Some((next, since)) = &self.next {
            put("next.crt", next.certificate.clone());
            put("next.key", next.key());
            put("next.since", since.to_string());
        }
        if let Some(previous) = &self.previous {
            put("previous.crt", previous.certificate.clone());
            put("previous.since", previous.since.to_string());
        }
        texts
    }

    /// The authority that signs.
    pub(super) fn signer(&self) -> Option<&Authority> {
        self.current.as_ref()
    }

    /// What is to be trusted, as PEM.
    pub(super) fn bundle(&self) -> String {
        let current = self.current.iter().map(|authority| authority.certificate.as_str());
        let next = self.next.iter().map(|(authority, _)| authority.certificate.as_str());
        let previous = self.previous.iter().map(|previous| previous.certificate.as_str());
        current.chain(next).chain(previous).collect()
    }

    /// Does what is due; says whether anything was.
    pub(super) fn rotate(&mut self, times: &Times) -> Result<bool, String> {
        let now = times.now;
        let mut changed = self.drop_previous(times);
        match (&self.current, &self.next) {
            (None, None) => {
                self.current = Some(Authority::make(now, times.authority_days)?);
                changed = true;
            }
            (None, Some(_)) => {
                self.promote(now);
                changed = true;
            }
            (Some(current), None) if now >= due(current) => {
                self.next = Some((Authority::make(now, times.authority_days)?, now));
                changed = true;
            }
            // One that has expired convinces nobody: there is nothing to wait for.
            (Some(current), Some((_, since)))
                if now >= *since + signed(times.publish) || now >= current.until =>
            {
                self.promote(now);
                changed = true;
            }
            _ => {}
        }
        Ok(changed)
    }

    fn promote(&mut self, now: Timestamp) {
        let Some((next, _)) = self.next.take() else { return };
        let old = self.current.replace(next);
        self.previous = old.map(|old| Previous { certificate: old.certificate, since: now });
    }

    /// Replicas may take until their next look at the Secret to sign with the new one: a day covers that.
    fn drop_previous(&mut self, times: &Times) -> bool {
        let days = i64::from(times.certificate_days) + 2;
        let ends = |previous: &Previous| previous.since + SignedDuration::from_hours(days * 24);
        let over = self.previous.as_ref().is_some_and(|previous| times.now >= ends(previous));
        if over {
            self.previous = None;
        }
        over
    }
}

/// When an authority is to be followed by another one: after two thirds of its life.
fn due(authority: &Authority) -> Timestamp {
    let life = authority.until.duration_since(authority.from);
    authority.from + life * 2 / 3
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
