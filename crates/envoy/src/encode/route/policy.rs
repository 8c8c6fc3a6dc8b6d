//! Time limits and retries.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy,
    retry_policy::{RetryBackOff, RetryHostPredicate, retry_host_predicate::ConfigType},
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use gatehouse_model::http::{HttpRoute, Retry};

use crate::encode::{any, duration, u32_value};

/// Time limit of a request when the route names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Stands for "no limit" in [`super::RouteFragments::longest_timeout`].
pub const UNLIMITED: Duration = Duration::from_mins(10);
/// How long a stream may be silent. Envoy's 5 minutes would end quiet WebSockets and long requests.
const IDLE: Duration = Duration::from_hours(1);
/// Envoy rounds shorter back-offs up to this and refuses zero.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);
/// Failures after which the backend certainly did nothing with the request.
const RETRY_ON: &str = "connect-failure,refused-stream,reset-before-request,unavailable";
/// An attempt that runs into its limit is retried too (`HTTPRouteRetry.backoff`). To Envoy that is a reset like
/// others, so with `backendRequest` a connection that breaks after the request was sent is retried as well.
const RETRY_ON_ATTEMPT_TIMEOUT: &str = ",reset";
/// How often a retry looks for an endpoint that was not tried yet.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// `RouteAction.timeout`; zero is none. Without a limit of the request, that of one attempt must still fit.
pub(super) fn request_timeout(route: &HttpRoute) -> Duration {
    match (route.timeouts.request, route.timeouts.backend_request) {
        (Some(request), _) => request,
        (None, Some(Duration::ZERO)) => Duration::ZERO,
        (None, backend) => backend.unwrap_or_default().max(DEFAULT_TIMEOUT),
    }
}

/// `RouteAction.idle_timeout`: never before the request's own limit.
pub(super) fn idle_timeout(route: &HttpRoute) -> Duration {
    match request_timeout(route) {
        Duration::ZERO => Duration::ZERO,
        limit => limit.max(IDLE),
    }
}

pub(super) fn longest_timeout(route: &HttpRoute) -> Duration {
    match request_timeout(route) {
        Duration::ZERO => UNLIMITED,
        limit => limit,
    }
}

/// Carries the limit of one attempt too, which works without any retry.
pub(super) fn retry_policy(route: &HttpRoute) -> Option<RetryPolicy> {
    let retry = route.retry.as_deref().filter(|retry| retry.attempts > 0);
    let per_try = route.timeouts.backend_request.filter(|limit| !limit.is_zero());
    if retry.is_none() && per_try.is_none() {
        return None;
    }
    let mut policy = retry.map(retries).unwrap_or_default();
    if retry.is_some() && per_try.is_some() {
        policy.retry_on.push_str(RETRY_ON_ATTEMPT_TIMEOUT);
    }
    Some(RetryPolicy { per_try_timeout: per_try.map(duration), ..policy })
}

fn retries(retry: &Retry) -> RetryPolicy {
    let mut codes: Vec<u32> = retry.codes.iter().copied().map(u32::from).collect();
    codes.sort_unstable();
    codes.dedup();
    let on_codes = if codes.is_empty() { "" } else { ",retriable-status-codes" };
    RetryPolicy {
        retry_on: format!("{RETRY_ON}{on_codes}"),
        num_retries: Some(u32_value(retry.attempts)),
        retriable_status_codes: codes,
        retry_back_off: retry.backoff.map(|wait| {
            let base = wait.max(SHORTEST_BACKOFF);
            RetryBackOff {
                base_interval: Some(duration(base)),
                max_interval: Some(duration(base.saturating_mul(10))),
            }
        }),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(ConfigType::TypedConfig(any(&PreviousHostsPredicate::default()))),
        }],
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        ..RetryPolicy::default()
    }
}
