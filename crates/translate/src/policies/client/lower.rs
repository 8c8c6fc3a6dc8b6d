//! The spec of a ClientTrafficPolicy to settings. What cannot be understood is an error in the user's words.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_api::types::{
    ClientConnection, ClientIpDetection, ClientTimeout, ClientTlsSettings, ClientTrafficPolicySpec,
    HeaderSettings, Http2Keepalive, Http2Settings, IntOrString, PathSettings, TcpKeepalive,
};
use gatehouse_model::client::{
    ClientAddress, ClientSettings, ConnectionSettings, EscapedSlashes, Http2, Pings, RequestId, TcpProbes,
    TlsOptions, TlsVersion, Underscores,
};

use super::ClientPolicy;
use crate::duration;

type Result<T> = std::result::Result<T, String>;

pub(super) fn lower(spec: &ClientTrafficPolicySpec) -> Result<ClientPolicy> {
    let mut clients = ClientSettings {
        address: spec.client_ip_detection.as_ref().map(address).transpose()?.unwrap_or_default(),
        scheme_of_backend: spec.scheme.as_deref() == Some("MatchBackend"),
        http1_trailers: spec.http1.as_ref().and_then(|http1| http1.enable_trailers).unwrap_or(false),
        http1_0: spec.http1.as_ref().is_some_and(|http1| http1.http10.is_some()),
        http2: spec.http2.as_ref().map(http2).transpose()?.unwrap_or_default(),
        tls: spec.tls.as_ref().map(tls).unwrap_or_default(),
        ..ClientSettings::default()
    };
    let mut connections = ConnectionSettings {
        probes: spec.tcp_keepalive.as_ref().map(probes).transpose()?,
        proxy_protocol: proxy_protocol(spec),
        ..ConnectionSettings::default()
    };
    spec.path.iter().for_each(|path| paths(&mut clients, path));
    spec.headers.iter().for_each(|part| headers(&mut clients, part));
    if let Some(part) = &spec.timeout {
        timeout(&mut clients, &mut connections, part)?;
    }
    if let Some(part) = &spec.connection {
        connection(&mut clients, &mut connections, part)?;
    }
    Ok(ClientPolicy { clients: Arc::new(clients), connections })
}

fn time(at: &str, text: Option<&String>) -> Result<Option<Duration>> {
    let parse = |text: &String| {
        duration::parse(text).ok_or_else(|| format!("{at}: {text:?} is not a duration such as 1m30s"))
    };
    text.map(parse).transpose()
}

fn number(at: &str, value: Option<i64>) -> Result<Option<u32>> {
    let fit =
        |value: i64| u32::try_from(value).map_err(|_| format!("{at}: {value} is not from 0 to {}", u32::MAX));
    value.map(fit).transpose()
}

/// A quantity of bytes.
fn bytes(at: &str, value: Option<&IntOrString>) -> Result<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    let text = match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let scale: Option<u64> = match &text[digits..] {
        "" => Some(1),
        "k" => Some(1000),
        "M" => Some(1000_u64.pow(2)),
        "G" => Some(1000_u64.pow(3)),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        _ => None,
    };
    let amount = text[..digits].parse::<u64>().ok().zip(scale);
    let amount = amount.and_then(|(amount, scale)| u32::try_from(amount.checked_mul(scale)?).ok());
    let amount =
        amount.ok_or_else(|| format!("{at}: {text:?} is not a number of bytes below 4Gi, such as 64Ki"))?;
    Ok(Some(amount))
}

fn address(detection: &ClientIpDetection) -> Result<ClientAddress> {
    if let Some(header) = &detection.custom_header {
        let name = header.name.as_deref().unwrap_or_default();
        return Ok(ClientAddress::Header {
            name: name.into(),
            required: header.fail_closed.unwrap_or(false),
        });
    }
    let Some(forwarded) = &detection.x_forwarded_for else { return Ok(ClientAddress::Connection) };
    let at = "clientIPDetection.xForwardedFor";
    let append = !forwarded.disable_x_forwarded_for_append.unwrap_or(false);
    if let Some(networks) = &forwarded.trusted_cidrs {
        let trusted = networks.iter().map(|text| network(&format!("{at}.trustedCIDRs"), text));
        return Ok(ClientAddress::Networks { trusted: trusted.collect::<Result<_>>()?, append });
    }
    let hops = number(&format!("{at}.numTrustedHops"), forwarded.num_trusted_hops)?.unwrap_or(0);
    // The last address was written by the nearest proxy: with one hop it is the client's.
    Ok(ClientAddress::Hops { skip: hops.saturating_sub(1), append })
}

fn network(at: &str, text: &str) -> Result<(IpAddr, u8)> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.parse().ok().filter(|prefix: &u8| *prefix <= most).map(|prefix| (address, prefix))
    });
    parsed.ok_or_else(|| format!("{at}: {text:?} is not a network such as 10.0.0.0/8"))
}

fn paths(clients: &mut ClientSettings, path: &PathSettings) {
    clients.keep_slashes = path.disable_merge_slashes.unwrap_or(false);
    clients.escaped_slashes = match path.escaped_slashes_action.as_deref() {
        Some("KeepUnchanged") => EscapedSlashes::Keep,
        Some("RejectRequest") => EscapedSlashes::Reject,
        Some("UnescapeAndForward") => EscapedSlashes::Forward,
        _ => EscapedSlashes::Redirect,
    };
}

fn headers(clients: &mut ClientSettings, part: &HeaderSettings) {
    clients.envoy_headers = part.enable_envoy_headers.unwrap_or(false);
    clients.underscores = match part.with_underscores_action.as_deref() {
        Some("Allow") => Underscores::Allow,
        Some("DropHeader") => Underscores::Drop,
        _ => Underscores::Reject,
    };
    clients.request_id = match (part.request_id.as_deref(), part.preserve_x_request_id) {
        (Some("PreserveOrGenerate"), _) | (None, Some(true)) => RequestId::PreserveOrGenerate,
        (Some("Preserve"), _) => RequestId::Preserve,
        (Some("Disable"), _) => RequestId::Disable,
        _ => RequestId::Generate,
    };
    clients.strip_trailing_dot =
        part.host.as_ref().and_then(|host| host.strip_trailing_host_dot).unwrap_or(false);
}

fn timeout(
    clients: &mut ClientSettings,
    connections: &mut ConnectionSettings,
    part: &ClientTimeout,
) -> Result<()> {
    if let Some(http) = &part.http {
        let at = |name: &str| format!("timeout.http.{name}");
        clients.request_timeout =
            time(&at("requestReceivedTimeout"), http.request_received_timeout.as_ref())?;
        clients.headers_timeout =
            time(&at("requestHeadersReceivedTimeout"), http.request_headers_received_timeout.as_ref())?;
        clients.idle_timeout = time(&at("idleTimeout"), http.idle_timeout.as_ref())?;
    }
    if let Some(tcp) = &part.tcp {
        let at = |name: &str| format!("timeout.tcp.{name}");
        clients.tls.handshake_timeout = time(&at("tlsHandshakeTimeout"), tcp.tls_handshake_timeout.as_ref())?;
        let inspection = tcp.connection_inspection_timeout.as_ref();
        connections.inspection_timeout = time(&at("connectionInspectionTimeout"), inspection)?;
    }
    Ok(())
}

fn connection(
    clients: &mut ClientSettings,
    connections: &mut ConnectionSettings,
    part: &ClientConnection,
) -> Result<()> {
    connections.buffer = bytes("connection.bufferLimit", part.buffer_limit.as_ref())?;
    // Zero takes all that wait, as Envoy does when nothing is said.
    connections.accepts =
        number("connection.maxAcceptPerSocketEvent", part.max_accept_per_socket_event)?.filter(|n| *n > 0);
    if let Some(limit) = &part.connection_limit {
        let at = |name: &str| format!("connection.connectionLimit.{name}");
        clients.connection_age = time(&at("maxConnectionDuration"), limit.max_connection_duration.as_ref())?;
        clients.connection_requests =
            number(&at("maxRequestsPerConnection"), limit.max_requests_per_connection)?;
        clients.stream_age = time(&at("maxStreamDuration"), limit.max_stream_duration.as_ref())?;
    }
    Ok(())
}

fn http2(settings: &Http2Settings) -> Result<Http2> {
    // What Envoy takes (RFC 9113, section 6.5.2).
    let window = |name: &str, value| {
        let at = format!("http2.{name}");
        let window = bytes(&at, value)?;
        match window.filter(|window| !(65_535..=0x7FFF_FFFF).contains(window)) {
            Some(wrong) => Err(format!("{at}: {wrong} is not from 65535 to 2147483647")),
            None => Ok(window),
        }
    };
    Ok(Http2 {
        stream_window: window("initialStreamWindowSize", settings.initial_stream_window_size.as_ref())?,
        connection_window: window(
            "initialConnectionWindowSize",
            settings.initial_connection_window_size.as_ref(),
        )?,
        streams: number("http2.maxConcurrentStreams", settings.max_concurrent_streams)?,
        keep_connection: settings.on_invalid_message.as_deref().map(|action| action == "TerminateStream"),
        pings: settings.connection_keepalive.as_ref().map(pings).transpose()?,
    })
}

fn pings(settings: &Http2Keepalive) -> Result<Pings> {
    let at = |name: &str| format!("http2.connectionKeepalive.{name}");
    Ok(Pings {
        interval: time(&at("interval"), settings.interval.as_ref())?,
        timeout: time(&at("timeout"), settings.timeout.as_ref())?,
        jitter: number(&at("intervalJitter"), settings.interval_jitter)?,
        idle: time(&at("idleInterval"), settings.idle_interval.as_ref())?,
    })
}

fn tls(settings: &ClientTlsSettings) -> TlsOptions {
    let version = |text: Option<&String>| match text.map(String::as_str) {
        Some("1.0") => Some(TlsVersion::V1_0),
        Some("1.1") => Some(TlsVersion::V1_1),
        Some("1.2") => Some(TlsVersion::V1_2),
        Some("1.3") => Some(TlsVersion::V1_3),
        _ => None,
    };
    let texts = |list: Option<&Vec<String>>| -> Vec<Arc<str>> {
        list.into_iter().flatten().map(|text| text.as_str().into()).collect()
    };
    TlsOptions {
        least: version(settings.min_version.as_ref()),
        highest: version(settings.max_version.as_ref()),
        ciphers: texts(settings.ciphers.as_ref()),
        curves: texts(settings.ecdh_curves.as_ref()),
        signatures: texts(settings.signature_algorithms.as_ref()),
        alpn: settings.alpn_protocols.as_ref().map(|list| texts(Some(list))),
        handshake_timeout: None,
    }
}

fn probes(settings: &TcpKeepalive) -> Result<TcpProbes> {
    Ok(TcpProbes {
        probes: number("tcpKeepalive.probes", settings.probes)?,
        idle: time("tcpKeepalive.idleTime", settings.idle_time.as_ref())?,
        interval: time("tcpKeepalive.interval", settings.interval.as_ref())?,
    })
}

/// The newer field counts alone where both are set.
fn proxy_protocol(spec: &ClientTrafficPolicySpec) -> Option<bool> {
    match &spec.proxy_protocol {
        Some(settings) => Some(settings.optional.unwrap_or(false)),
        None => spec.enable_proxy_protocol.filter(|enabled| *enabled).map(|_| false),
    }
}
