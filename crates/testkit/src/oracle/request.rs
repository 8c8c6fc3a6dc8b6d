//! Requests as clients send them.

use super::world::World;

/// A request on a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    /// The place of the Gateway in its world.
    pub gateway: usize,
    /// The port as the listeners name it.
    pub port: u16,
    /// The server name of the handshake; none without TLS.
    pub tls: Option<ServerName>,
    /// The `Host` header.
    pub host: String,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Query parameters.
    pub query: Vec<(&'static str, &'static str)>,
    /// Headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Whether it is a call of gRPC.
    pub grpc: bool,
}

/// What a client asks for in its handshake.
#[derive(Clone, Debug)]
pub enum ServerName {
    /// No name.
    Absent,
    /// This one.
    Is(String),
}

impl Request {
    /// `Host` as hostnames are compared with it: without its port (HTTPRoute `hostnames`: "MUST ignore any port value
    /// specified in the HTTP Host header"), in small letters (RFC 9110 section 4.2.3).
    pub fn hostname(&self) -> String {
        self.host.split(':').next().unwrap_or_default().to_ascii_lowercase()
    }

    /// Path and query.
    pub fn target(&self) -> String {
        let pairs: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { self.path.to_owned() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }

    /// The request of HTTP/1.1.
    pub fn text(&self) -> String {
        let mut lines =
            vec![format!("{} {} HTTP/1.1", self.method, self.target()), format!("host: {}", self.host)];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if self.grpc {
            lines.push("content-type: application/grpc".to_owned());
        }
        lines.push("content-length: 0\r\nconnection: close\r\n\r\n".to_owned());
        lines.join("\r\n")
    }
}

/// A world and a request, for people.
pub fn describe(world: &World, request: &Request) -> String {
    let gateway = world.gateways.get(request.gateway).map_or_else(String::new, |gateway| gateway.name.text());
    let tls = match &request.tls {
        None => String::new(),
        Some(ServerName::Absent) => ", TLS without a server name".to_owned(),
        Some(ServerName::Is(name)) => format!(", TLS with server name {name}"),
    };
    let text = request.text().replace('\r', "");
    format!("{}\n# to Gateway {gateway}, port {}{tls}\n{}", world.yaml(), request.port, text.trim_end())
}
