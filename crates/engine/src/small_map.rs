//! Ordered maps that mostly hold one entry.

use std::collections::BTreeMap;

/// An ordered map whose first entry costs no allocation: the first node of a [`BTreeMap`] has room for eleven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallMap<K, V>(Repr<K, V>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr<K, V> {
    Empty,
    One(K, V),
    /// Once there were two; stays until it is empty.
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self(Repr::Empty)
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// Puts an entry in and returns the value that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.0 {
            Repr::Many(map) => return map.insert(key, value),
            Repr::One(only, old) if *only == key => return Some(std::mem::replace(old, value)),
            Repr::Empty | Repr::One(..) => {}
        }
        self.0 = match std::mem::replace(&mut self.0, Repr::Empty) {
            Repr::One(only, old) => Repr::Many([(only, old), (key, value)].into()),
            Repr::Empty | Repr::Many(_) => Repr::One(key, value),
        };
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let removed = match &mut self.0 {
            Repr::Many(map) => {
                let removed = map.remove(key);
                if !map.is_empty() {
                    return removed;
                }
                removed
            }
            Repr::One(only, _) if only == key => match std::mem::replace(&mut self.0, Repr::Empty) {
                Repr::One(_, value) => Some(value),
                Repr::Empty | Repr::Many(_) => None,
            },
            Repr::Empty | Repr::One(..) => return None,
        };
        self.0 = Repr::Empty;
        removed
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.0 {
            Repr::Empty => None,
            Repr::One(only, value) => (only == key).then_some(value),
            Repr::Many(map) => map.get(key),
        }
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
}

impl<K, V> SmallMap<K, V> {
    /// Entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        let (one, many) = match &self.0 {
            Repr::Empty => (None, None),
            Repr::One(key, value) => (Some((key, value)), None),
            Repr::Many(map) => (None, Some(map.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_an_ordered_map(steps in prop::collection::vec((0..4u8, 0..3u8, any::<bool>()), 0..24)) {
            let (mut small, mut model) = (SmallMap::default(), BTreeMap::new());
            for (key, value, insert) in steps {
                if insert {
                    prop_assert_eq!(small.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(small.remove(&key), model.remove(&key));
                }
                prop_assert!(small.iter().eq(model.iter()));
                prop_assert_eq!(small.is_empty(), model.is_empty());
                prop_assert_eq!(small.get(&key), model.get(&key));
            }
        }
    }
}
