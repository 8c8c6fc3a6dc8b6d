//! The `gatehouse` command.
//!
//! ```text
//! run        files -> objects -> world (graph thread) -> delta ADS -> Envoy per Gateway
//! status     what Kubernetes would show, from a running gatehouse or offline
//! translate  the Envoy configuration of files, offline
//! controller a cluster's Gateways: watches -> world (graph thread) -> delta ADS -> agents, pods, statuses
//! agent      in a proxy pod: relay, store, drain and readiness of its Envoy
//! drain      asks that agent to drain its Envoy
//! check      what is wrong with files, offline
//! ```

mod agent;
mod check;
mod cli;
mod controller;
mod document;
mod inbox;
mod load;
mod plane;
mod print;
mod run;
mod status;
mod translate;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

use crate::cli::{Cli, Command};
use crate::controller::{ControllerConfig, LogFormat};

/// Gives back what only the start needed, which glibc's keeps: a fifth of what is resident with 10,000 routes.
/// `.cargo/config.toml` sets it up.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Nothing is wrong with the command, but with the files that it was given.
const EXIT_FINDINGS: u8 = 3;
/// The controller's file is wrong, as the arguments are for which clap ends with this too: no retry mends it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The controller's file says how to log, so it is read before anything can be logged.
    let config = match &cli.command {
        Command::Controller(args) => match ControllerConfig::read(&args.config) {
            Ok(config) => Some(config),
            Err(error) => {
                print::error(&words(&error));
                return ExitCode::from(EXIT_USAGE);
            }
        },
        _ => None,
    };
    let log = config.as_ref().map(|config| &config.log);
    let level = cli.log.as_deref().or(log.map(|log| log.level.as_str()));
    init_logs(level.unwrap_or("info"), log.map_or(LogFormat::Text, |log| log.format));
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                match cli.command {
                    Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS),
                    Command::Status(args) => status::status(args).await,
                    Command::Translate(args) => translate::translate(args).await,
                    Command::Controller(args) => {
                        controller::controller(args, config.unwrap_or_default()).await?;
                        Ok(ExitCode::SUCCESS)
                    }
                    Command::Drain(args) => agent::drain(args).await.map(|()| ExitCode::SUCCESS),
                    Command::Agent(args) => agent::agent(args).await.map(|()| ExitCode::SUCCESS),
                    Command::Check(args) => check::check(args).await,
                }
            })
        });
    outcome.unwrap_or_else(|error| {
        print::error(&words(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes; most of ours name their cause already.
fn words(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |words, cause| {
        let cause = cause.to_string();
        if words.is_empty() {
            cause
        } else if words.contains(&cause) {
            words
        } else {
            format!("{words}: {cause}")
        }
    })
}

/// Logs go to standard error, so that standard output holds what was asked for.
fn init_logs(filter: &str, format: LogFormat) {
    // The client calls every attempt that fails an error; what that means is told in our own words, once.
    let filter = format!("kube_client=off,{filter}");
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            logs.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
