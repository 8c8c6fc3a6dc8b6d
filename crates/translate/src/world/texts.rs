//! Equal texts as one.

use std::sync::Arc;

use rustc_hash::FxHashSet;

/// Room for this many texts before those that nobody holds are looked for.
const FIRST_SWEEP: usize = 64;

/// Texts that are held somewhere, so that equal ones are shared: routes that are alike have the same status.
///
/// ```
/// let mut texts = gatehouse_translate::Texts::default();
/// assert!(std::sync::Arc::ptr_eq(&texts.share("a"), &texts.share("a")));
/// ```
#[derive(Debug, Default)]
pub struct Texts {
    known: FxHashSet<Arc<str>>,
    /// Size at which unused texts are swept out; twice what was left the last time, so a sweep costs a text or two.
    sweep_at: usize,
}

impl Texts {
    /// The shared text.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        let text: Arc<str> = text.into();
        self.known.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_unused_ones_go() {
        let mut texts = Texts::default();
        let held = texts.share("held");
        assert!(Arc::ptr_eq(&held, &texts.share("held")));
        for other in 0..10 * FIRST_SWEEP {
            texts.share(&other.to_string());
        }
        assert!(texts.known.len() <= 2 * FIRST_SWEEP, "{} are kept", texts.known.len());
        assert!(Arc::ptr_eq(&held, &texts.share("held")), "what is held stays known");
    }
}
