//! The measured process: fleets on sockets, edits from standard input.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use gatehouse_xds::{Config, Server};

use crate::world::{Edit, World};

/// What it says when all sockets are open.
pub(crate) const READY: &str = "ready\n";

/// Serves until standard input ends.
pub(crate) fn serve(dir: &Path, world: &World) -> anyhow::Result<()> {
    // The clients share this machine, so that the slowest may need longer than any proxy should.
    let patience = Duration::from_mins(2);
    let config = Config { gate_deadline: patience, keepalive_timeout: patience, ..Config::default() };
    let server = Server::new(config);
    let mut events = server.events();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    for fleet in 0..world.fleets {
        let id = World::fleet(fleet);
        server.commit(&id, world.snapshot());
        tokio::spawn(server.serve_unix(&World::socket(dir, fleet), &id)?);
    }
    std::io::stdout().write_all(READY.as_bytes())?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let edit = words.next().and_then(Edit::parse).context("a kind of edit")?;
        let mut number = || words.next().and_then(|word| word.parse().ok()).context("a number");
        let (fleet, number) = (number()?, number()?);
        server.commit(&World::fleet(fleet), world.edit(edit, number));
    }
    Ok(())
}
