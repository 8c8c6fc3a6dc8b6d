//! The domain's vocabulary: keys, hostnames, matches, filters, backends, conditions and reasons.
