//! A real Envoy, and something for it to talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

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

pub(crate) struct Envoy(Child);

impl Envoy {
    pub(crate) fn start(dir: &Path, socket: &Path) -> Self {
        let binary = std::env::var_os("GATEHOUSE_ENVOY").expect(
            "set GATEHOUSE_ENVOY to an Envoy 1.40 binary; `make envoy` fetches one and says where it is",
        );
        let config = dir.join("envoy.yaml");
        std::fs::write(&config, BOOTSTRAP.replace("SOCKET", &socket.display().to_string())).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(config).args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--drain-time-s",
            "1",
        ]);
        let child = command.args(["-l", "warning", "--log-path"]).arg(dir.join("envoy.log")).spawn();
        Self(child.expect("GATEHOUSE_ENVOY names a program that runs here"))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that answers every request with 200.
pub(crate) fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&connection).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        let _ = (&connection).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    }
                }
            });
        }
    });
    port
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status of one request, or nothing when the port is closed.
fn get(port: u16, host: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(ToOwned::to_owned)
}

/// Asks until a host is served, and returns how long that took.
pub(crate) fn wait_for(port: u16, host: &str, status: &str) -> Duration {
    let start = Instant::now();
    loop {
        let got = get(port, host);
        if got.as_deref() == Some(status) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(12), "{host} on {port} answers {got:?}, not {status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
