//! Choices by hash, in the language of xDS matchers.

use std::ops::Range;

use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::SourcePortInput;
use envoy_types::pb::envoy::extensions::matching::input_matchers::consistent_hashing::v3::ConsistentHashing;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherType, OnMatch,
    matcher_list::{
        FieldMatcher, Predicate,
        predicate::{MatchType, PredicateList, SinglePredicate, single_predicate},
    },
    on_match,
};
use prost::{Message, Name};

use super::any;

/// Takes one of several actions: each has a range of the numbers below `total`, to which the client's port is hashed.
/// Nothing matches what is in no range.
pub(super) fn by_source_port<M: Message + Name>(total: u32, ranges: Vec<(Range<u32>, M)>) -> Matcher {
    let mut matcher = Matcher::default();
    let mut matchers = Vec::new();
    for (range, action) in ranges {
        let on_match = OnMatch {
            on_match: Some(on_match::OnMatch::Action(extension("action", &action))),
            keep_matching: false,
        };
        match within(&range, total) {
            Some(predicate) => {
                matchers.push(FieldMatcher { predicate: Some(predicate), on_match: Some(on_match) });
            }
            None => matcher.on_no_match = Some(Box::new(on_match)),
        }
    }
    if !matchers.is_empty() {
        matcher.matcher_type = Some(MatcherType::MatcherList(MatcherList { matchers }));
    }
    matcher
}

/// Whether the number is in the range; `None` when all are.
fn within(range: &Range<u32>, total: u32) -> Option<Predicate> {
    let from =
        |start: u32| Predicate { match_type: Some(MatchType::SinglePredicate(at_least(start, total))) };
    let not = |predicate| Predicate { match_type: Some(MatchType::NotMatcher(Box::new(predicate))) };
    let above = (range.start > 0).then(|| from(range.start));
    let below = (range.end < total).then(|| not(from(range.end)));
    match (above, below) {
        (Some(above), Some(below)) => {
            let both = PredicateList { predicate: vec![above, below] };
            Some(Predicate { match_type: Some(MatchType::AndMatcher(both)) })
        }
        (above, below) => above.or(below),
    }
}

fn at_least(threshold: u32, modulo: u32) -> SinglePredicate {
    let hash = ConsistentHashing { threshold, modulo, seed: 0 };
    SinglePredicate {
        input: Some(extension("source_port", &SourcePortInput::default())),
        matcher: Some(single_predicate::Matcher::CustomMatch(extension("hash", &hash))),
    }
}

fn extension<M: Message + Name>(name: &str, config: &M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}
