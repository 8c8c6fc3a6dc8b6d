//! A real Envoy that knows nothing but its xDS server.

use std::path::Path;
use std::time::{Duration, Instant};

use gatehouse_testkit::envoy::Envoy;
use gatehouse_testkit::http;

const BOOTSTRAP: &str = r#"
node: {id: test, cluster: test}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds}}]
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: SOCKET}}}}]}]
"#;

/// An Envoy of the server at this socket.
pub(crate) fn start(dir: &Path, socket: &Path) -> Envoy {
    Envoy::start(dir, &BOOTSTRAP.replace("SOCKET", &socket.display().to_string()))
}

/// Asks until a host is served, and returns how long that took.
pub(crate) fn wait_for(port: u16, host: &str, status: u16) -> Duration {
    let start = Instant::now();
    loop {
        let got = http::status(port, host, "/");
        if got == Some(status) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(12), "{host} on {port} answers {got:?}, not {status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
