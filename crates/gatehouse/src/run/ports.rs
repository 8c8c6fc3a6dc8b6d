//! Whether the ports that Gateways want can be bound on this host.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::PortKey;
use gatehouse_standalone::ports::{PortMap, PortWatch, explain_bind};
use gatehouse_translate::World;

/// How often it is asked again whether a port that could not be had is free now.
const RETRY: Duration = Duration::from_secs(1);

/// Answers the translation's questions about ports.
pub(crate) struct HostPorts {
    map: PortMap,
    envoy: PathBuf,
    watch: PortWatch,
    /// Those that could not be had when they were asked about last.
    unavailable: BTreeSet<PortKey>,
    /// When these are asked about again; set as long as there are any.
    again: Option<Instant>,
}

impl HostPorts {
    /// Ports mapped by `map` and bound by the binary `envoy`; `watch` knows what is our own.
    pub(crate) fn new(map: PortMap, envoy: PathBuf, watch: PortWatch) -> Self {
        Self { map, envoy, watch, unavailable: BTreeSet::new(), again: None }
    }

    /// Answers what is newly wanted. Returns whether there was anything, so that a settle is due.
    pub(crate) fn answer(&mut self, world: &mut World) -> bool {
        let wants = world.take_port_wants();
        for (port, wanted) in &wants {
            if *wanted {
                self.ask(world, port.clone());
            } else {
                self.unavailable.remove(port);
            }
        }
        self.plan();
        wants.iter().any(|(_, wanted)| *wanted)
    }

    /// Asks again about ports that could not be had, if it is time to.
    pub(crate) fn retry(&mut self, world: &mut World) {
        if self.again.is_some_and(|at| at <= Instant::now()) {
            self.again = None;
            for port in std::mem::take(&mut self.unavailable) {
                self.ask(world, port);
            }
            self.plan();
        }
    }

    /// How long nothing is to be done.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        self.again.map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn ask(&mut self, world: &mut World, port: PortKey) {
        let why = self.unavailable(&port);
        if why.is_some() {
            self.unavailable.insert(port.clone());
        }
        world.port_asked(port, why);
    }

    fn unavailable(&self, port: &PortKey) -> Option<Arc<str>> {
        let bound = self.map.host_port(port.port);
        if let Err(refusal) = explain_bind(bound, &self.envoy) {
            return Some(refusal.to_string().into());
        }
        let occupant = self.watch.occupant(&port.addresses.0, bound, port.transport)?;
        Some(occupant.to_string().into())
    }

    fn plan(&mut self) {
        self.again = match self.again {
            _ if self.unavailable.is_empty() => None,
            None => Some(Instant::now() + RETRY),
            planned => planned,
        };
    }
}
