//! How clients are treated: settings of HTTP connection managers, of TLS contexts and of ports.

use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use envoy_types::pb::envoy::config::core::v3::{
    CidrRange, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions, KeepaliveSettings,
    SchemeHeaderTransformation, TcpKeepalive, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::PathWithEscapedSlashesAction,
};
use envoy_types::pb::envoy::extensions::http::original_ip_detection::custom_header::v3::CustomHeaderConfig;
use envoy_types::pb::envoy::extensions::http::original_ip_detection::xff::v3::{XffConfig, XffTrustedCidrs};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, Percent, StatusCode};
use gatehouse_model::client::{
    ClientAddress, ClientSettings, ConnectionSettings, EscapedSlashes, Http2, Pings, RequestId, TcpProbes,
    TlsOptions, TlsVersion, Underscores,
};

use crate::encode::{any, bool_value, duration, extension, u32_value};

const HTTP2_CONCURRENT_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Puts into a connection manager what its clients are to find.
pub(super) fn apply(settings: &ClientSettings, manager: HttpConnectionManager) -> HttpConnectionManager {
    let detection = detection(&settings.address);
    let (generate_request_id, preserve_external_request_id) = match settings.request_id {
        RequestId::Generate => (None, false),
        RequestId::PreserveOrGenerate => (None, true),
        RequestId::Preserve => (Some(bool_value(false)), true),
        RequestId::Disable => (Some(bool_value(false)), false),
    };
    HttpConnectionManager {
        common_http_protocol_options: Some(HttpProtocolOptions {
            headers_with_underscores_action: match settings.underscores {
                Underscores::Reject => HeadersWithUnderscoresAction::RejectRequest,
                Underscores::Allow => HeadersWithUnderscoresAction::Allow,
                Underscores::Drop => HeadersWithUnderscoresAction::DropHeader,
            }
            .into(),
            idle_timeout: settings.idle_timeout.map(duration),
            max_connection_duration: settings.connection_age.map(duration),
            max_requests_per_connection: settings.connection_requests.map(u32_value),
            max_stream_duration: settings.stream_age.map(duration),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: (settings.http1_trailers || settings.http1_0).then(|| Http1ProtocolOptions {
            enable_trailers: settings.http1_trailers,
            accept_http_10: settings.http1_0,
            ..Http1ProtocolOptions::default()
        }),
        http2_protocol_options: Some(http2(&settings.http2)),
        request_timeout: settings.request_timeout.map(duration),
        request_headers_timeout: settings.headers_timeout.map(duration),
        // `internal_address_config` stays unset: no client is internal, so none can change policies by x-envoy
        // headers. An empty one would make clients with private addresses internal.
        use_remote_address: Some(bool_value(detection.is_none())),
        original_ip_detection_extensions: detection.into_iter().collect(),
        generate_request_id,
        preserve_external_request_id,
        normalize_path: Some(bool_value(true)),
        merge_slashes: !settings.keep_slashes,
        path_with_escaped_slashes_action: match settings.escaped_slashes {
            EscapedSlashes::Redirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
            EscapedSlashes::Keep => PathWithEscapedSlashesAction::KeepUnchanged,
            EscapedSlashes::Reject => PathWithEscapedSlashesAction::RejectRequest,
            EscapedSlashes::Forward => PathWithEscapedSlashesAction::UnescapeAndForward,
        }
        .into(),
        strip_trailing_host_dot: settings.strip_trailing_dot,
        scheme_header_transformation: settings.scheme_of_backend.then(|| SchemeHeaderTransformation {
            match_upstream: true,
            ..SchemeHeaderTransformation::default()
        }),
        ..manager
    }
}

fn detection(address: &ClientAddress) -> Option<TypedExtensionConfig> {
    const XFF: &str = "envoy.http.original_ip_detection.xff";
    Some(match address {
        ClientAddress::Connection => return None,
        ClientAddress::Hops { skip, append } => extension(
            XFF,
            &XffConfig {
                xff_num_trusted_hops: *skip,
                skip_xff_append: Some(bool_value(!append)),
                ..XffConfig::default()
            },
        ),
        ClientAddress::Networks { trusted, append } => {
            let range = |(address, prefix): &(std::net::IpAddr, u8)| CidrRange {
                address_prefix: address.to_string(),
                prefix_len: Some(u32_value((*prefix).into())),
            };
            let cidrs = trusted.iter().map(range).collect();
            extension(
                XFF,
                &XffConfig {
                    xff_trusted_cidrs: Some(XffTrustedCidrs { cidrs }),
                    skip_xff_append: Some(bool_value(!append)),
                    ..XffConfig::default()
                },
            )
        }
        ClientAddress::Header { name, required } => extension(
            "envoy.http.original_ip_detection.custom_header",
            &CustomHeaderConfig {
                header_name: name.to_string(),
                allow_extension_to_set_address_as_trusted: true,
                reject_with_status: required.then(|| HttpStatus { code: StatusCode::Forbidden.into() }),
            },
        ),
    })
}

fn http2(settings: &Http2) -> Http2ProtocolOptions {
    let pings = |pings: Pings| KeepaliveSettings {
        interval: pings.interval.map(duration),
        timeout: pings.timeout.map(duration),
        interval_jitter: pings.jitter.map(|value| Percent { value: value.into() }),
        connection_idle_interval: pings.idle.map(duration),
    };
    Http2ProtocolOptions {
        max_concurrent_streams: Some(u32_value(settings.streams.unwrap_or(HTTP2_CONCURRENT_STREAMS))),
        initial_stream_window_size: Some(u32_value(settings.stream_window.unwrap_or(HTTP2_STREAM_WINDOW))),
        initial_connection_window_size: Some(u32_value(
            settings.connection_window.unwrap_or(HTTP2_CONNECTION_WINDOW),
        )),
        override_stream_error_on_invalid_http_message: settings.keep_connection.map(bool_value),
        connection_keepalive: settings.pings.map(pings),
        ..Http2ProtocolOptions::default()
    }
}

/// Versions below 1.2 are spoken only where a user says so.
pub(super) fn tls_parameters(options: &TlsOptions) -> tls::TlsParameters {
    use tls::tls_parameters::TlsProtocol;
    let version = |version: TlsVersion| match version {
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    let texts = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect();
    tls::TlsParameters {
        tls_minimum_protocol_version: version(options.least.unwrap_or(TlsVersion::V1_2)).into(),
        tls_maximum_protocol_version: options.highest.map_or(0, |highest| version(highest).into()),
        cipher_suites: texts(&options.ciphers),
        ecdh_curves: texts(&options.curves),
        signature_algorithms: texts(&options.signatures),
        ..tls::TlsParameters::default()
    }
}

pub(super) fn alpn(options: &TlsOptions) -> Vec<String> {
    let default = || vec!["h2".to_owned(), "http/1.1".to_owned()];
    options.alpn.as_ref().map_or_else(default, |alpn| alpn.iter().map(ToString::to_string).collect())
}

/// Puts into a listener how its connections are treated.
pub(super) fn of_connections(settings: &ConnectionSettings, listener: pb::Listener) -> pb::Listener {
    let probes = |probes: TcpProbes| TcpKeepalive {
        keepalive_probes: probes.probes.map(u32_value),
        keepalive_time: probes.idle.map(|idle| u32_value(whole_seconds(idle))),
        keepalive_interval: probes.interval.map(|interval| u32_value(whole_seconds(interval))),
    };
    let proxy_protocol = settings.proxy_protocol.map(|optional| pb::ListenerFilter {
        name: "envoy.filters.listener.proxy_protocol".to_owned(),
        config_type: Some(pb::listener_filter::ConfigType::TypedConfig(any(&ProxyProtocol {
            allow_requests_without_proxy_protocol: optional,
            ..ProxyProtocol::default()
        }))),
        ..pb::ListenerFilter::default()
    });
    pb::Listener {
        per_connection_buffer_limit_bytes: settings
            .buffer
            .map(u32_value)
            .or(listener.per_connection_buffer_limit_bytes),
        max_connections_to_accept_per_socket_event: settings.accepts.map(u32_value),
        tcp_keepalive: settings.probes.map(probes),
        listener_filters_timeout: settings.inspection_timeout.map(duration),
        // Its header comes before whatever else a connection begins with.
        listener_filters: proxy_protocol.into_iter().chain(listener.listener_filters).collect(),
        ..listener
    }
}

fn whole_seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}
