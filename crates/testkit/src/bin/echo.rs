//! `gatehouse-echo`: the echo backend as a program, for the demo and for tests that need a process.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use gatehouse_testkit::echo::{Identity, serve};
use tokio::net::TcpListener;

/// Answer every HTTP request with a JSON description of it.
///
/// NAMESPACE, INGRESS_NAME, SERVICE_NAME and POD_NAME fill the fields that say who answered.
#[derive(Parser)]
#[command(name = "gatehouse-echo")]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listen = args.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let echo = serve(listener, Identity::from_env())?;
    writeln!(std::io::stdout(), "listening on {}", echo.addr())?;
    tokio::signal::ctrl_c().await.context("waiting for an interrupt")
}
