//! `gatehouse agent`: the companion of the Envoy in a proxy pod.

use std::path::PathBuf;

use anyhow::Context;
use gatehouse_agent::{Address, Agent, Options, Upstream, drain_by};

use crate::cli::{AgentArgs, DrainArgs};
use crate::run::wait_for_signal;

/// Serves until a signal: the first drains, a second ends at once.
pub(crate) async fn agent(args: AgentArgs) -> anyhow::Result<()> {
    let mut agent = Agent::start(options(&args)?).await?;
    tracing::info!(fleet = args.fleet, controller = args.xds, address = %agent.address(), "serving envoy");
    tokio::select! {
        result = wait_for_signal() => result?,
        () = agent.failed() => anyhow::bail!("a part of the agent ended; it has to be started again"),
    }
    tracing::info!("stopping: draining open requests; a second signal ends at once");
    tokio::select! {
        () = agent.drain() => Ok(()),
        result = wait_for_signal() => result,
    }
}

/// Begins a drain, and does not wait for its end: Envoy's own hook does.
pub(crate) async fn drain(args: DrainArgs) -> anyhow::Result<()> {
    drain_by(args.agent).await.with_context(|| format!("ask the agent at {} to drain", args.agent))
}

fn options(args: &AgentArgs) -> anyhow::Result<Options> {
    let (host, port) = args.xds.rsplit_once(':').context("--xds is HOST:PORT")?;
    Ok(Options {
        upstream: Upstream {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.parse().context("the port of --xds")?,
            ca: args.ca.clone(),
            token: args.token.clone(),
        },
        socket: args.socket.clone(),
        store: args.store.clone(),
        envoy_admin: admin(&args.envoy_admin),
        listen: args.listen,
        failure_delay: args.health_check_failure_delay,
        min_drain: args.min_drain,
        drain_timeout: args.drain_timeout,
    })
}

/// A loopback address, else the path of a socket.
fn admin(text: &str) -> Address {
    text.parse().map_or_else(|_| Address::Unix(PathBuf::from(text)), Address::Tcp)
}
