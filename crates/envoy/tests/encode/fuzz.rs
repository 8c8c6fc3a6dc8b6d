//! Whatever a route contains: no panic, equal bytes for equal values, and what is encoded is sound.

use proptest::collection::vec;
use proptest::prelude::*;

use super::random::route;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_route_is_refused_or_encoded_soundly(route in route()) {
        let first = encode::route(&route);
        prop_assert_eq!(&first, &encode::route(&route.clone()));
        if let Ok(fragments) = first {
            let bytes = [&*fragments.bytes];
            let host = encode::virtual_host(&table(), &Hostname::Any, bytes.into_iter());
            prop_assert_eq!(validate::message(VIRTUAL_HOST, &host), Ok(()));
            prop_assert!(json::decode(VIRTUAL_HOST, &host).is_ok());
        }
    }

    #[test]
    fn any_pattern_gets_a_verdict(pattern in r"[()\[\]{}*+?\\^$|a1,:<>P=!ixQEpdL-]{0,16}|.{0,12}") {
        let _ = validate::re2(&pattern);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        for kind in [CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, VIRTUAL_HOST] {
            let readable = json::decode(kind, &bytes);
            let checked = validate::message(kind, &bytes);
            prop_assert!(readable.is_ok() || checked.is_err());
        }
    }
}
