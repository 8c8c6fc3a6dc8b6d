//! The `gatehouse` command.
//!
//! ```text
//! run        files -> objects -> world (graph thread) -> delta ADS -> Envoy per Gateway
//! status     what Kubernetes would show, from a running gatehouse or offline
//! translate  the Envoy configuration of files, offline
//! agent      in a proxy pod: relay, store, drain and readiness of its Envoy
//! check      what is wrong with files, offline
//! ```

mod agent;
mod check;
mod cli;
mod document;
mod load;
mod print;
mod run;
mod status;
mod translate;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Nothing is wrong with the command, but with the files that it was given.
const EXIT_FINDINGS: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logs(&cli.log);
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
fn init_logs(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
