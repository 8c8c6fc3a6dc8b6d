//! Arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A Kubernetes Gateway API controller that drives stock Envoy.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What is logged to standard error: error, warn, info (the default), debug, or a tracing filter.
    #[arg(long, global = true)]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve Gateway API files: one Envoy per Gateway, reloaded as the files change.
    Run(Box<RunArgs>),
    /// Print the statuses that Kubernetes would show.
    Status(StatusArgs),
    /// Print the Envoy configuration of files.
    Translate(TranslateArgs),
    /// Accompany the Envoy of a proxy pod: relay its configuration, keep it, drain it, say when it is ready.
    Agent(AgentArgs),
    /// Ask the agent of this pod to drain its Envoy: what the pod's preStop hook runs.
    Drain(DrainArgs),
    /// Serve the Gateways of a Kubernetes cluster: proxies in pods, statuses, addresses.
    Controller(ControllerArgs),
    /// Say what is wrong with files; exits with 3 when something is.
    Check(CheckArgs),
}

/// Where objects come from and how they are understood.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourceArgs {
    /// Files, directories (recursive, *.yaml *.yml *.json), or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Bind another port than a listener names, for example 80:8080. Repeatable.
    #[arg(long, value_name = "LISTENER:HOST")]
    pub(crate) port_map: Vec<String>,
    /// Serve GatewayClasses with this controllerName. Repeatable; the first is written in statuses.
    #[arg(long, value_name = "NAME", default_value = "gatehouse.dev/gatewayclass-controller")]
    pub(crate) controller_name: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The Envoy binary; else `envoy` on $PATH, else the one that `make envoy` put into the cache.
    #[arg(long, value_name = "FILE")]
    pub(crate) envoy: Option<PathBuf>,
    /// Where running Envoys are remembered; by default a directory of this user made from the paths.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Address of health, metrics and status.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:19000")]
    pub(crate) admin: SocketAddr,
    /// What a stop does with the Envoys: `keep` leaves them serving for the next `run` of these paths to take over.
    #[arg(long, value_enum, default_value = "drain", value_name = "WHAT")]
    pub(crate) on_stop: OnStop,
    /// Longest time that a stop waits for open requests, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
    /// Worker threads of each Envoy; by default one per core.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnStop {
    Drain,
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The paths of the gatehouse to ask, as given to `run`; without any, the only one of this user.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// The state directory of the gatehouse to ask.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: StatusFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Args)]
pub(crate) struct TranslateArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub(crate) output: Format,
    /// Only resources of this type. Repeatable.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(crate) types: Vec<TypeFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TypeFilter {
    Listener,
    Route,
    Cluster,
    Endpoint,
    Secret,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Where the agent listens; it obeys only this host.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) agent: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The controller's xDS service; the name is resolved for every connection.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) xds: String,
    /// Certificates (PEM) of the controller's authority; read for every connection.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// The token that says which fleet this is; read for every connection.
    #[arg(long, value_name = "FILE")]
    pub(crate) token: PathBuf,
    /// The Unix socket that Envoy takes its configuration from.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// Where the configuration that Envoy acknowledged last is kept, secrets included: a directory in memory.
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Envoy's admin interface: a Unix socket or a loopback address.
    #[arg(long, alias = "admin", value_name = "PATH|IP:PORT")]
    pub(crate) envoy_admin: String,
    /// Address of /ready, /healthz, /metrics, /drained and, from this host only, /drain.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// The fleet, for logs: the token decides.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) fleet: String,
    /// Longest time that a drain waits for open connections, from its start.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,
    /// How long others take to notice that the pod ends: it serves on for that time.
    #[arg(long, alias = "min-drain-duration", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) min_drain: Duration,
    /// How long a drain waits before it tells anybody, readiness apart: for what must happen before.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(crate) health_check_failure_delay: Duration,
}

/// A number with a unit, such as `500ms`, `10s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "not a number with a unit (ms, s, m)".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        unit => Err(format!("{unit:?} is no unit: use ms, s or m")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// A kubeconfig file; else $KUBECONFIG, or the pod's ServiceAccount.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "not a number of seconds".to_owned())
}
