//! Envoy listeners: one per fleet, address set and port.

use std::sync::Arc;

use gatehouse_engine::{Reads, Stage};
use gatehouse_model::client::ConnectionSettings;
use gatehouse_model::listener::{EnvoyListener, FilterChain, TlsTermination};
use gatehouse_model::{Hostname, ListenerKey, NamespacedName, PortKey, ResourceType};

use crate::certificates::{Certificates, KeyPair};
use crate::config::Config;
use crate::gateways::{GatewayState, GatewayView, ListenerView};
use crate::names;
use crate::output::{Resource, Watch};

/// A port of a fleet: its Envoy listener and what a proxy must hold of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) listener: Arc<Resource>,
    pub(crate) secrets: Vec<NamespacedName>,
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

/// The certificates of listeners, and the Secrets that hold them.
type Keys<'a> = (&'a Stage<ListenerKey, Arc<Certificates>>, &'a Stage<NamespacedName, KeyPair>);

/// Port keys of a Gateway.
pub(crate) fn keys(view: &GatewayView) -> impl Iterator<Item = PortKey> + '_ {
    view.ports.keys().map(|port| key(view, *port))
}

pub(crate) fn key(view: &GatewayView, port: u16) -> PortKey {
    PortKey { fleet: view.fleet.clone(), addresses: view.addresses.clone(), port }
}

/// Stage: a port; `None` when its Gateway no longer has it.
pub(crate) fn port(
    gateways: &Stage<NamespacedName, GatewayState>,
    (certificates, pairs): Keys<'_>,
    config: &Config,
    reads: &mut Reads,
    key: &PortKey,
) -> Option<PortState> {
    let view = gateways.get(reads, &key.fleet.0)?.view()?;
    if view.addresses != key.addresses {
        return None;
    }
    let port = view.ports.get(&key.port)?;
    if !view.serves {
        return Some(PortState::Idle);
    }
    let mut secrets = Vec::new();
    let chains = if port.tls {
        let chains = of_port(view, key.port)
            .filter_map(|l| https_chain((certificates, pairs), reads, l, &mut secrets));
        chains.collect()
    } else {
        let table = names::http_table(&key.fleet.0, key.port);
        let clients = of_port(view, key.port).next().map(|l| l.clients.clients.clone()).unwrap_or_default();
        vec![FilterChain { name: table.0.clone(), server_name: Hostname::Any, tls: None, table, clients }]
    };
    Some(if chains.is_empty() {
        PortState::Idle
    } else {
        PortState::Serving(Arc::new(build(config, key, view, chains, secrets)))
    })
}

fn of_port(view: &GatewayView, port: u16) -> impl Iterator<Item = &Arc<ListenerView>> {
    view.listeners.iter().filter(move |l| l.usable() && l.port == port)
}

/// What the policies of a port's listeners agree on.
fn connections(view: &GatewayView, port: u16) -> ConnectionSettings {
    let settings = || of_port(view, port).map(|listener| &listener.clients.connections);
    let accepts = settings().filter_map(|settings| settings.accepts).min();
    let set = |settings: &ConnectionSettings| {
        ConnectionSettings { accepts: None, ..settings.clone() } != ConnectionSettings::default()
    };
    let agreed = settings().find(|settings| set(settings)).cloned().unwrap_or_default();
    ConnectionSettings { accepts, ..agreed }
}

fn https_chain(
    (certificates, pairs): Keys<'_>,
    reads: &mut Reads,
    listener: &ListenerView,
    secrets: &mut Vec<NamespacedName>,
) -> Option<FilterChain> {
    let certificates = certificates.get(reads, &listener.key)?;
    // While a listener waits for a Secret that is not known, its last certificates stand here, and may be gone.
    let mut exists = |secret: &&NamespacedName| matches!(pairs.get(reads, secret), Some(KeyPair::Usable(_)));
    let usable: Vec<_> = certificates.usable.iter().filter(&mut exists).collect();
    if usable.is_empty() {
        return None;
    }
    secrets.extend(usable.iter().copied().cloned());
    let table = names::https_table(&listener.key, listener.port);
    Some(FilterChain {
        name: table.0.clone(),
        server_name: listener.hostname.clone(),
        tls: Some(TlsTermination { secrets: usable.iter().map(|secret| names::secret(secret)).collect() }),
        table,
        clients: listener.clients.clients.clone(),
    })
}

fn build(
    config: &Config,
    key: &PortKey,
    view: &GatewayView,
    mut chains: Vec<FilterChain>,
    mut secrets: Vec<NamespacedName>,
) -> Port {
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    secrets.sort();
    secrets.dedup();
    let tables: Vec<_> = chains.iter().map(|chain| chain.table.clone()).collect();
    let listener = EnvoyListener {
        name: names::listener(key),
        addresses: key.addresses.clone(),
        port: config.bound_port(key.port),
        tls: view.ports.get(&key.port).is_some_and(|port| port.tls),
        chains,
        settings: view.settings.listeners.clone(),
        connections: connections(view, key.port),
    };
    let options = gatehouse_envoy::encode::Options { ipv6: config.ipv6 };
    let body = gatehouse_envoy::encode::listener(&listener, options);
    let listener = Resource::new(ResourceType::Listener, listener.name, body);
    let mut needs = vec![(ResourceType::Listener, listener.name.clone(), listener.version.clone())];
    for table in tables {
        let resource = route_table(&table);
        needs.push((ResourceType::RouteConfiguration, resource.name, resource.version));
    }
    let versions: Vec<_> = needs.iter().flat_map(|(_, name, version)| [&**name, &**version]).collect();
    let digest = gatehouse_envoy::version(versions.join("\n").as_bytes());
    Port { listener: Arc::new(listener), secrets, watch: Watch { digest, needs } }
}

/// The RouteConfiguration of a table: constant, its virtual hosts come on their own.
pub(crate) fn route_table(table: &gatehouse_model::listener::TableName) -> Resource {
    let body = gatehouse_envoy::encode::route_table(table, gatehouse_envoy::encode::TableMode::Vhds);
    Resource::new(ResourceType::RouteConfiguration, table.0.clone(), body)
}
