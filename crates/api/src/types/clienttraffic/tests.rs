use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ClientTrafficPolicySpec, unsupported_client_traffic};
use crate::types::envoyproxy::walk;

fn spec(json: Value) -> ClientTrafficPolicySpec {
    serde_json::from_value(json).unwrap()
}

#[test]
fn what_is_not_read_survives_a_round_trip() {
    let text = json!({
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw", "new": 1}],
        "http3": {},
        "clientIPDetection": {"xForwardedFor": {"trustedCIDRs": ["10.0.0.0/8"], "new": 1}},
        "headers": {"requestID": "Other", "lateResponseHeaders": {"set": []}},
        "tls": {"clientValidation": {"optional": true}},
    });
    assert_eq!(serde_json::to_value(spec(text.clone())).unwrap(), text);
    assert!(spec(text).validates_clients());
}

#[test]
fn every_field_without_effect_is_named() {
    let found = unsupported_client_traffic(&spec(json!({
        "targetSelectors": [{"kind": "Gateway", "namespaces": {"from": "All"}}],
        "http3": {},
        "grpc": null,
        "scheme": "Other",
        "connection": {"connectionLimit": {"value": 5}, "bufferLimit": "1Mi"},
        "timeout": {"http": {"streamIdleTimeout": "1s"}, "tcp": {"idleTimeout": "1s"}},
        "tls": {"clientValidation": {}, "minVersion": "1.4"},
    })));
    assert_eq!(
        found,
        [
            "connection.connectionLimit.value",
            "http3",
            "scheme=Other",
            "targetSelectors[0].namespaces.from=All",
            "timeout.http.streamIdleTimeout",
            "timeout.tcp.idleTimeout",
            "tls.clientValidation",
            "tls.minVersion=1.4",
        ]
    );
}

/// Fields that have an effect.
const HEEDED: &str = "
    clientIPDetection.customHeader.failClosed
    clientIPDetection.customHeader.name
    clientIPDetection.directSourceIP
    clientIPDetection.xForwardedFor.disableXForwardedForAppend
    clientIPDetection.xForwardedFor.numTrustedHops
    clientIPDetection.xForwardedFor.trustedCIDRs
    connection.bufferLimit
    connection.connectionLimit.maxConnectionDuration
    connection.connectionLimit.maxRequestsPerConnection
    connection.connectionLimit.maxStreamDuration
    connection.maxAcceptPerSocketEvent
    enableProxyProtocol
    headers.enableEnvoyHeaders
    headers.host.stripTrailingHostDot
    headers.preserveXRequestID
    headers.requestID
    headers.withUnderscoresAction
    http1.enableTrailers
    http1.http10
    http2.connectionKeepalive.idleInterval
    http2.connectionKeepalive.interval
    http2.connectionKeepalive.intervalJitter
    http2.connectionKeepalive.timeout
    http2.initialConnectionWindowSize
    http2.initialStreamWindowSize
    http2.maxConcurrentStreams
    http2.onInvalidMessage
    path.disableMergeSlashes
    path.escapedSlashesAction
    proxyProtocol.optional
    scheme
    targetRef.group
    targetRef.kind
    targetRef.name
    targetRef.sectionName
    targetRefs[].group
    targetRefs[].kind
    targetRefs[].name
    targetRefs[].sectionName
    targetSelectors[].group
    targetSelectors[].kind
    targetSelectors[].matchExpressions
    targetSelectors[].matchLabels
    targetSelectors[].namespaces.from
    tcpKeepalive.idleTime
    tcpKeepalive.interval
    tcpKeepalive.probes
    timeout.http.idleTimeout
    timeout.http.requestHeadersReceivedTimeout
    timeout.http.requestReceivedTimeout
    timeout.tcp.connectionInspectionTimeout
    timeout.tcp.tlsHandshakeTimeout
    tls.alpnProtocols
    tls.ciphers
    tls.ecdhCurves
    tls.maxVersion
    tls.minVersion
    tls.signatureAlgorithms
";

#[test]
fn every_field_of_the_schema_has_an_effect_or_is_named() {
    let heeded: BTreeSet<String> = HEEDED.split_whitespace().map(str::to_owned).collect();
    let named = |value: Value| !unsupported_client_traffic(&spec(value)).is_empty();
    assert_eq!(walk::fields("ClientTrafficPolicy", &heeded, &named), heeded);
}
