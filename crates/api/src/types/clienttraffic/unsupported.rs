//! Which fields of a ClientTrafficPolicy have no effect here.

use super::{ClientConnection, ClientIpDetection, ClientTimeout, ClientTrafficPolicySpec, HeaderSettings};
use crate::types::envoyproxy::{Found, Rest};
use crate::types::policy::unsupported_targets;

/// The paths of the fields that are set but have no effect (yet), sorted: `headers.lateResponseHeaders`. A field whose
/// value is not supported is named as `path=value`.
pub fn unsupported_client_traffic(spec: &ClientTrafficPolicySpec) -> Vec<String> {
    let mut found = Found::default();
    found.rest("", &spec.rest);
    let ClientTrafficPolicySpec { target_ref, target_refs, target_selectors, .. } = spec;
    unsupported_targets(&mut found, target_ref.as_ref(), target_refs.as_ref(), target_selectors.as_ref());
    let rests: [(&str, Option<&Rest>); 5] = [
        ("tcpKeepalive", spec.tcp_keepalive.as_ref().map(|part| &part.rest)),
        ("proxyProtocol", spec.proxy_protocol.as_ref().map(|part| &part.rest)),
        ("tls", spec.tls.as_ref().map(|part| &part.rest)),
        ("path", spec.path.as_ref().map(|part| &part.rest)),
        ("http1", spec.http1.as_ref().map(|part| &part.rest)),
    ];
    each(&mut found, &rests);
    spec.client_ip_detection.iter().for_each(|part| client_ip(&mut found, part));
    spec.headers.iter().for_each(|part| headers(&mut found, part));
    spec.timeout.iter().for_each(|part| timeout(&mut found, part));
    spec.connection.iter().for_each(|part| connection(&mut found, part));
    protocols(&mut found, spec);
    found.sorted()
}

fn each(found: &mut Found, rests: &[(&str, Option<&Rest>)]) {
    for (at, rest) in rests {
        if let Some(rest) = rest {
            found.rest(at, rest);
        }
    }
}

fn client_ip(found: &mut Found, part: &ClientIpDetection) {
    let at = "clientIPDetection";
    found.rest(at, &part.rest);
    let below = [
        (format!("{at}.xForwardedFor"), part.x_forwarded_for.as_ref().map(|part| &part.rest)),
        (format!("{at}.customHeader"), part.custom_header.as_ref().map(|part| &part.rest)),
        (format!("{at}.directSourceIP"), part.direct_source_ip.as_ref().map(|part| &part.rest)),
    ];
    for (at, rest) in &below {
        if let Some(rest) = rest {
            found.rest(at, rest);
        }
    }
}

fn headers(found: &mut Found, part: &HeaderSettings) {
    let at = "headers";
    found.rest(at, &part.rest);
    found.one_of(
        &format!("{at}.withUnderscoresAction"),
        part.with_underscores_action.as_ref(),
        &["Allow", "RejectRequest", "DropHeader"],
    );
    found.one_of(
        &format!("{at}.requestID"),
        part.request_id.as_ref(),
        &["PreserveOrGenerate", "Preserve", "Generate", "Disable"],
    );
    if let Some(host) = &part.host {
        found.rest(&format!("{at}.host"), &host.rest);
    }
}

fn timeout(found: &mut Found, part: &ClientTimeout) {
    found.rest("timeout", &part.rest);
    each(
        found,
        &[
            ("timeout.tcp", part.tcp.as_ref().map(|part| &part.rest)),
            ("timeout.http", part.http.as_ref().map(|part| &part.rest)),
        ],
    );
}

fn connection(found: &mut Found, part: &ClientConnection) {
    found.rest("connection", &part.rest);
    each(found, &[("connection.connectionLimit", part.connection_limit.as_ref().map(|part| &part.rest))]);
}

fn protocols(found: &mut Found, spec: &ClientTrafficPolicySpec) {
    found.one_of("scheme", spec.scheme.as_ref(), &["Preserve", "MatchBackend"]);
    if let Some(path) = &spec.path {
        let known = ["KeepUnchanged", "RejectRequest", "UnescapeAndRedirect", "UnescapeAndForward"];
        found.one_of("path.escapedSlashesAction", path.escaped_slashes_action.as_ref(), &known);
    }
    if let Some(tls) = &spec.tls {
        let known = ["Auto", "1.0", "1.1", "1.2", "1.3"];
        found.one_of("tls.minVersion", tls.min_version.as_ref(), &known);
        found.one_of("tls.maxVersion", tls.max_version.as_ref(), &known);
    }
    if let Some(http10) = spec.http1.as_ref().and_then(|http1| http1.http10.as_ref()) {
        found.rest("http1.http10", &http10.rest);
    }
    if let Some(http2) = &spec.http2 {
        found.rest("http2", &http2.rest);
        let known = ["TerminateConnection", "TerminateStream"];
        found.one_of("http2.onInvalidMessage", http2.on_invalid_message.as_ref(), &known);
        if let Some(keepalive) = &http2.connection_keepalive {
            found.rest("http2.connectionKeepalive", &keepalive.rest);
        }
    }
}
