//! Changes of headers, composed over levels.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use gatehouse_model::http::HeaderMods;

/// The changes of one Envoy level.
///
/// Envoy first removes, then sets and adds in order. A later removal also drops the earlier changes of the
/// name, so this order gives what applying the filters one after the other gives.
#[derive(Clone, Default)]
pub(super) struct Mods {
    changes: Vec<(String, String, HeaderAppendAction)>,
    removed: Vec<String>,
}

impl Mods {
    pub(super) fn of(mods: &HeaderMods) -> Self {
        Self::default().then(mods)
    }

    /// Applies `mods` after what is there: set, add, remove. Of equal names in one list the first counts
    /// (`HTTPHeader.name`). `Host` is left out: it is a rewrite.
    pub(super) fn then(mut self, mods: &HeaderMods) -> Self {
        use HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
        for (name, value) in first_of_each(&mods.set) {
            self.forget(name);
            self.changes.push((name.to_owned(), value.to_owned(), OverwriteIfExistsOrAdd));
        }
        for (name, value) in first_of_each(&mods.add) {
            self.changes.push((name.to_owned(), value.to_owned(), AppendIfExistsOrAdd));
        }
        for name in &mods.remove {
            self.forget(name);
            self.removed.push(name.to_string());
        }
        self
    }

    fn forget(&mut self, name: &str) {
        self.changes.retain(|(known, ..)| !known.eq_ignore_ascii_case(name));
        self.removed.retain(|known| !known.eq_ignore_ascii_case(name));
    }

    pub(super) fn to_add(&self) -> Vec<HeaderValueOption> {
        self.changes
            .iter()
            .map(|(name, value, action)| HeaderValueOption {
                header: Some(HeaderValue {
                    key: name.clone(),
                    value: value.replace('%', "%%"),
                    ..HeaderValue::default()
                }),
                append_action: (*action).into(),
                keep_empty_value: value.is_empty(),
                ..HeaderValueOption::default()
            })
            .collect()
    }

    pub(super) fn to_remove(&self) -> Vec<String> {
        self.removed.clone()
    }
}

fn first_of_each(
    headers: &[(std::sync::Arc<str>, std::sync::Arc<str>)],
) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().enumerate().filter_map(|(index, (name, value))| {
        let repeated = headers[..index].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name));
        (!repeated && !name.eq_ignore_ascii_case("host")).then_some((&**name, &**value))
    })
}
