//! What all fleets have in common.

/// Where the agent answers `/ready`, `/healthz`, `/metrics`, `/drain` and `/drained`.
pub const AGENT_PORT: u16 = 19_002;

/// Envoy's administration interface, on the pod's loopback.
pub const ADMIN_PORT: u16 = 19_000;

/// Ports of a proxy pod that listeners cannot have.
pub const RESERVED_PORTS: [u16; 2] = [ADMIN_PORT, AGENT_PORT];

/// Why a proxy cannot have a listener's port: the pods need it for themselves.
pub fn port_refusal(port: u16) -> Option<String> {
    RESERVED_PORTS
        .contains(&port)
        .then(|| format!("port {port} is used by the proxy pods themselves: choose another port"))
}

/// Where the objects of a fleet live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// In the Gateway's namespace, owned by the Gateway.
    #[default]
    GatewayNamespace,
    /// In the controller's namespace; found by label and UID, as owners cannot be in another namespace.
    ControllerNamespace,
}

/// Settings of the controller that every fleet's objects depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The controller's name: objects of another controller are not ours.
    pub controller: String,
    /// The controller's own namespace.
    pub controller_namespace: String,
    /// Where objects live.
    pub placement: Placement,
    /// The proxies' image; its tag is used with an EnvoyProxy's `imageRepository`.
    pub envoy_image: String,
    /// The agent's image; its command is `gatehouse`.
    pub agent_image: String,
    /// `imagePullPolicy` of both.
    pub image_pull_policy: String,
    /// Secrets, in the namespaces of the pods, that both images are pulled with; an EnvoyProxy can name more.
    pub image_pull_secrets: Vec<String>,
    /// `host:port` of the xDS server.
    pub xds_address: String,
    /// The audience of the agents' tokens.
    pub token_audience: String,
    /// The certificates that agents trust, as PEM.
    pub ca_bundle: String,
    /// Containers may bind ports below 1024 without a capability (a safe sysctl); off where it is forbidden.
    pub unprivileged_ports: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller: "gatehouse.dev/gatewayclass-controller".to_owned(),
            controller_namespace: "gatehouse-system".to_owned(),
            placement: Placement::default(),
            envoy_image: "docker.io/envoyproxy/envoy:distroless-v1.40.0".to_owned(),
            agent_image: concat!("gatehouse:", env!("CARGO_PKG_VERSION")).to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            xds_address: "gatehouse-xds.gatehouse-system.svc:18000".to_owned(),
            token_audience: "gatehouse.dev/xds".to_owned(),
            ca_bundle: String::new(),
            unprivileged_ports: true,
        }
    }
}
