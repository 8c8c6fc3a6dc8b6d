//! Envoy listeners: one per fleet, address set, port and transport protocol.

mod meanwhile;

use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::client::ConnectionSettings;
use gatehouse_model::l4::Forward;
use gatehouse_model::listener::{
    ClientCheck, EnvoyListener, FilterChain, Handler, ListenerSettings, SecretName, TlsTermination,
};
use gatehouse_model::{Hostname, ListenerKey, NamespacedName, PortKey, ResourceType};

use crate::authorities::{GatewayPort, OfClients};
use crate::certificates::{Certificates, KeyPair};
use crate::config::Config;
use crate::facts::Socket;
use crate::gateways::{Check, Family, GatewayState, GatewayView, ListenerView, PortView, Speaks};
use crate::names;
use crate::output::{Resource, SecretKey, Watch};
use crate::policies::telemetry::Traced;
use crate::streams::Streams;

pub(crate) use meanwhile::{Emitted, edges};

/// A port of a fleet: its Envoy listener and what a proxy must hold of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) listener: Arc<Resource>,
    /// What the listener says.
    pub(crate) layout: Arc<EnvoyListener>,
    pub(crate) secrets: Vec<SecretKey>,
    pub(crate) watch: Watch,
}

/// What a port does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortState {
    /// It has no filter chain that could serve.
    Idle,
    Serving(Arc<Port>),
}

impl PortState {
    pub(crate) fn serving(&self) -> Option<&Arc<Port>> {
        match self {
            Self::Idle => None,
            Self::Serving(port) => Some(port),
        }
    }
}

/// What ports are made from besides their Gateway.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) config: &'a Config,
    pub(crate) certificates: &'a Stage<ListenerKey, Arc<Certificates>>,
    /// The Secrets that hold certificates.
    pub(crate) pairs: &'a Stage<NamespacedName, KeyPair>,
    pub(crate) authorities: &'a Stage<GatewayPort, Arc<OfClients>>,
    pub(crate) streams: &'a Streams,
    pub(crate) traced: &'a Stage<NamespacedName, Arc<Traced>>,
}

/// Port keys of a Gateway.
pub(crate) fn keys(view: &GatewayView) -> impl Iterator<Item = PortKey> + '_ {
    view.ports.keys().map(|socket| key(view, *socket))
}

pub(crate) fn key(view: &GatewayView, (port, transport): Socket) -> PortKey {
    PortKey { fleet: view.fleet.clone(), addresses: view.addresses.clone(), port, transport }
}

/// Stage: a port; `None` when its Gateway no longer has it.
pub(crate) fn port(
    sources: Sources<'_>,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    key: &PortKey,
) -> Option<PortState> {
    let view = gateways.get(reads, &key.fleet.0)?.view()?;
    if view.addresses != key.addresses {
        return None;
    }
    let port = view.ports.get(&(key.port, key.transport))?;
    if !view.serves {
        return Some(PortState::Idle);
    }
    let mut secrets = Vec::new();
    let chains = chains(sources, reads, (key, view), port, &mut secrets);
    Some(if chains.is_empty() {
        PortState::Idle
    } else {
        let settings = sources.settings(reads, view, &chains);
        PortState::Serving(Arc::new(build(sources.config, (key, view), settings, chains, secrets)))
    })
}

fn of_port(view: &GatewayView, socket: Socket) -> impl Iterator<Item = &Arc<ListenerView>> {
    view.listeners.iter().filter(move |l| l.usable() && l.socket() == socket)
}

/// What the policies of a port's listeners agree on.
fn connections(view: &GatewayView, socket: Socket) -> ConnectionSettings {
    let settings = || of_port(view, socket).map(|listener| &listener.clients.connections);
    let accepts = settings().filter_map(|settings| settings.accepts).min();
    let set = |settings: &ConnectionSettings| {
        ConnectionSettings { accepts: None, ..settings.clone() } != ConnectionSettings::default()
    };
    let agreed = settings().find(|settings| set(settings)).cloned().unwrap_or_default();
    ConnectionSettings { accepts, ..agreed }
}

fn chains(
    sources: Sources<'_>,
    reads: &mut Reads,
    (key, view): (&PortKey, &GatewayView),
    port: &PortView,
    secrets: &mut Vec<SecretKey>,
) -> Vec<FilterChain> {
    if port.family == Family::Http {
        let table = names::http_table(&key.fleet.0, key.port);
        let name = table.0.clone();
        let first = of_port(view, (key.port, key.transport)).next();
        let clients = first.map(|listener| listener.clients.clients.clone()).unwrap_or_default();
        let handler = Handler::Http(table);
        return vec![FilterChain { name, server_name: Hostname::Any, tls: None, handler, clients }];
    }
    let mut chains = Vec::new();
    for listener in port.hosts.values() {
        let own = sources.chains_of(reads, listener, secrets);
        if own.is_empty() && port.hosts.values().any(|other| other.speaks.is_stream()) {
            // Whoever else serves the name on this port must not get its connections.
            chains.push(stream_chain(listener, listener.hostname.clone(), None, Arc::default()));
        }
        chains.extend(own);
    }
    chains
}

impl Sources<'_> {
    fn settings(
        self,
        reads: &mut Reads,
        view: &GatewayView,
        chains: &[FilterChain],
    ) -> Arc<ListenerSettings> {
        let own = &view.settings.listeners;
        if chains.iter().all(|chain| !matches!(chain.handler, Handler::Http(_))) {
            return own.clone();
        }
        let traced = self.traced.get(reads, &view.fleet.0);
        let Some(tracing) = traced.and_then(|traced| traced.tracing.clone()) else { return own.clone() };
        Arc::new(ListenerSettings { tracing: Some(tracing), ..(**own).clone() })
    }

    fn chains_of(
        self,
        reads: &mut Reads,
        listener: &ListenerView,
        secrets: &mut Vec<SecretKey>,
    ) -> Vec<FilterChain> {
        let tls =
            if listener.speaks.terminates() { self.termination(reads, listener, secrets) } else { None };
        match listener.speaks {
            Speaks::Https => tls.map(|tls| https_chain(listener, tls)).into_iter().collect(),
            Speaks::TlsTerminate if tls.is_none() => Vec::new(),
            Speaks::TlsTerminate | Speaks::TlsPassthrough => self.tls_chains(reads, listener, tls.as_ref()),
            _ => vec![self.only_chain(reads, listener)],
        }
    }

    /// `None` when the listener cannot be served as it must be.
    fn termination(
        self,
        reads: &mut Reads,
        listener: &ListenerView,
        secrets: &mut Vec<SecretKey>,
    ) -> Option<TlsTermination> {
        let usable = self.usable_secrets(reads, listener);
        let names: Vec<SecretName> = usable.iter().map(names::secret).collect();
        let clients = match listener.check {
            Some(check) => Some((check, self.authorities_of_clients(reads, listener)?)),
            None => None,
        };
        if names.is_empty() {
            return None;
        }
        secrets.extend(usable);
        secrets.extend(clients.iter().map(|(_, key)| key.clone()));
        let check = |(check, key): (Check, SecretKey)| ClientCheck {
            authorities: names::secret(&key),
            lenient: check == Check::Lenient,
        };
        Some(TlsTermination { secrets: names, clients: clients.map(check) })
    }

    fn authorities_of_clients(self, reads: &mut Reads, listener: &ListenerView) -> Option<SecretKey> {
        let port = (listener.key.gateway.clone(), listener.port);
        self.authorities.get(reads, &port)?.secret.as_ref()?;
        Some(SecretKey::Clients(port.0, port.1))
    }

    fn usable_secrets(self, reads: &mut Reads, listener: &ListenerView) -> Vec<SecretKey> {
        let certificates = self.certificates.get(reads, &listener.key);
        let usable = certificates.iter().flat_map(|certificates| &certificates.usable);
        // While a listener waits for a Secret that is not known, its last certificates stand here, and may be gone.
        let exists =
            |secret: &&NamespacedName| matches!(self.pairs.get(reads, secret), Some(KeyPair::Usable(..)));
        usable.filter(exists).cloned().map(SecretKey::Pair).collect()
    }

    /// A chain for each server name of the routes. The listener's own name has one even without a route: no wider
    /// listener may take its connections.
    fn tls_chains(
        self,
        reads: &mut Reads,
        listener: &ListenerView,
        tls: Option<&TlsTermination>,
    ) -> Vec<FilterChain> {
        let chain = |(host, forward)| stream_chain(listener, host, tls.cloned(), forward);
        let mut served = self.streams.served(reads, &listener.key);
        if served.iter().all(|(host, _)| *host != listener.hostname) {
            served.push((listener.hostname.clone(), Arc::default()));
        }
        served.into_iter().map(chain).collect()
    }

    /// Connections or datagrams that nothing tells apart.
    fn only_chain(self, reads: &mut Reads, listener: &ListenerView) -> FilterChain {
        let forward = self.streams.served(reads, &listener.key).pop();
        let transport = listener.speaks.transport();
        FilterChain {
            name: names::port_chain(&listener.key, listener.port, transport),
            server_name: Hostname::Any,
            tls: None,
            handler: Handler::Stream(forward.map(|(_, forward)| forward).unwrap_or_default()),
            clients: Arc::default(),
        }
    }
}

fn stream_chain(
    listener: &ListenerView,
    host: Hostname,
    tls: Option<TlsTermination>,
    forward: Arc<Forward>,
) -> FilterChain {
    FilterChain {
        name: names::tls_chain(&listener.key, listener.port, &host),
        server_name: host,
        // Who is to be rejected needs no handshake.
        tls: tls.filter(|_| !forward.rejects_all()),
        handler: Handler::Stream(forward),
        clients: listener.clients.clients.clone(),
    }
}

fn https_chain(listener: &ListenerView, tls: TlsTermination) -> FilterChain {
    let table = names::https_table(&listener.key, listener.port);
    FilterChain {
        name: table.0.clone(),
        server_name: listener.hostname.clone(),
        tls: Some(tls),
        handler: Handler::Http(table),
        clients: listener.clients.clients.clone(),
    }
}

fn build(
    config: &Config,
    (key, view): (&PortKey, &GatewayView),
    settings: Arc<ListenerSettings>,
    mut chains: Vec<FilterChain>,
    mut secrets: Vec<SecretKey>,
) -> Port {
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    secrets.sort();
    secrets.dedup();
    let table = |chain: &FilterChain| match &chain.handler {
        Handler::Http(table) => Some(table.clone()),
        Handler::Stream(_) => None,
    };
    let tables: Vec<_> = chains.iter().filter_map(table).collect();
    let family = view.ports.get(&(key.port, key.transport)).map(|port| port.family);
    let layout = EnvoyListener {
        name: names::listener(key),
        addresses: key.addresses.clone(),
        port: config.bound_port(key.port),
        transport: key.transport,
        tls: family == Some(Family::Tls),
        chains,
        settings,
        connections: connections(view, (key.port, key.transport)),
    };
    let listener = Resource::new(ResourceType::Listener, layout.name.clone(), encode(config, &layout));
    let mut needs = vec![(ResourceType::Listener, listener.name.clone(), listener.version.clone())];
    for table in tables {
        let resource = route_table(&table);
        needs.push((ResourceType::RouteConfiguration, resource.name, resource.version));
    }
    let versions: Vec<_> = needs.iter().flat_map(|(_, name, version)| [&**name, &**version]).collect();
    let digest = gatehouse_envoy::version(versions.join("\n").as_bytes());
    let watch = Watch { digest, needs };
    Port { listener: Arc::new(listener), layout: Arc::new(layout), secrets, watch }
}

fn encode(config: &Config, layout: &EnvoyListener) -> bytes::Bytes {
    gatehouse_envoy::encode::listener(layout, gatehouse_envoy::encode::Options { ipv6: config.ipv6 })
}

/// The RouteConfiguration of a table: constant, its virtual hosts come on their own.
pub(crate) fn route_table(table: &gatehouse_model::listener::TableName) -> Resource {
    let body = gatehouse_envoy::encode::route_table(table, gatehouse_envoy::encode::TableMode::Vhds);
    Resource::new(ResourceType::RouteConfiguration, table.0.clone(), body)
}
