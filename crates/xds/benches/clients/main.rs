//! Many delta clients on one server: a whole-process harness, not a timed test.
//!
//! ```text
//! this process --- stdin: edits ---> the server, a process of its own, so that its memory and CPU time are its own
//!      ^                                   |  one Unix socket per fleet
//!      +---- responses acknowledged <--- clients of the testkit, each on a connection of its own
//! ```
//!
//! The clients share the machine with the server: the times to the last client are those of both, the CPU times and
//! the memory those of the server alone.

mod client;
mod measure;
mod server;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::client::Ack;
use self::measure::{Process, median};
use self::world::{Edit, World};

/// How long the slowest client may take before the run is given up.
const PATIENCE: Duration = Duration::from_mins(2);
/// After an edit the server is given this time to take the last acknowledgements, so that they are its cost.
const QUIET: Duration = Duration::from_millis(100);

/// Measures one server with many clients.
#[derive(Debug, Parser)]
struct Args {
    /// Number of clients.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Edits of each kind.
    #[arg(long, default_value_t = 20)]
    edits: usize,
    /// How often everything is done from the start; the medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Serve instead of measure: the folder of the sockets.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
    #[arg(long, hide = true, default_value_t = 1)]
    fleets: usize,
    #[arg(long, hide = true, default_value_t = 1000)]
    hosts: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(
        args.edits <= 30,
        "at most 30 edits: each takes hosts of its own, of 100 that a fleet has"
    );
    measure::raise_file_limit()?;
    if let Some(dir) = &args.serve {
        return server::serve(dir, &World { fleets: args.fleets, hosts: args.hosts });
    }
    for world in [World { fleets: 1, hosts: 1000 }, World { fleets: 100, hosts: 100 }] {
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(round(&world, &args).await?);
        }
        report(&world, &args, &rounds);
    }
    Ok(())
}

/// What one run from the start gives.
struct Round {
    first: Delivery,
    /// Resident memory of the server in bytes: before the clients came, and with all of them served.
    memory: [u64; 2],
    edits: Vec<(Edit, Delivery)>,
}

/// How a change reached the clients.
#[derive(Clone, Copy)]
struct Delivery {
    median: Duration,
    last: Duration,
    /// CPU time of the server.
    cpu: Duration,
    /// Bytes of messages for a client that is concerned.
    bytes: usize,
}

async fn round(world: &World, args: &Args) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    let mut server = Served::start(dir.path(), world)?;
    let process = Process(server.child.id());
    let before = process.memory()?;

    let (acks, mut receiver) = unbounded_channel();
    let (start, cpu) = (Instant::now(), process.cpu()?);
    let clients: Vec<_> = (0..args.clients)
        .map(|n| client::Driver {
            id: n,
            socket: World::socket(dir.path(), n % world.fleets),
            acks: acks.clone(),
        })
        .map(|driver| tokio::spawn(driver.run()))
        .collect();
    drop(acks);
    let everyone = (0..args.clients).collect();
    let first = Waiting { start, cpu, clients: everyone, hosts: world.hosts, process };
    let first = first.delivered(&mut receiver).await.context("the first snapshot")?;
    let memory = [before, process.memory()?];

    let mut edits = Vec::new();
    for edit in Edit::ALL {
        let mut deliveries = Vec::new();
        for number in 0..args.edits {
            let fleet = number % world.fleets;
            let (start, cpu) = (Instant::now(), process.cpu()?);
            server.publish(edit, fleet, number)?;
            let concerned = (0..args.clients).filter(|client| client % world.fleets == fleet).collect();
            let edited = Waiting { start, cpu, clients: concerned, hosts: 1, process };
            deliveries.push(edited.delivered(&mut receiver).await.with_context(|| format!("{edit:?}"))?);
        }
        edits.push((edit, Delivery::middle(&deliveries)));
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(Round { first, memory, edits })
}

/// Clients that have not acknowledged something yet.
struct Waiting {
    start: Instant,
    cpu: Duration,
    clients: BTreeSet<usize>,
    /// How many virtual hosts (or endpoints) a client acknowledges until it is done.
    hosts: usize,
    process: Process,
}

impl Waiting {
    async fn delivered(
        mut self,
        acks: &mut UnboundedReceiver<anyhow::Result<Ack>>,
    ) -> anyhow::Result<Delivery> {
        let mut got = BTreeMap::<usize, (usize, usize)>::new();
        let mut times = Vec::new();
        while !self.clients.is_empty() {
            let ack = tokio::time::timeout(PATIENCE, acks.recv()).await.context("no answer")?;
            let ack = ack.context("all clients ended")??;
            anyhow::ensure!(ack.sound, "client {} was sent something that it cannot use", ack.client);
            let (last, bytes) = got.entry(ack.client).or_default();
            *last += ack.last;
            *bytes += ack.bytes;
            if *last >= self.hosts && self.clients.remove(&ack.client) {
                times.push(ack.at - self.start);
            }
        }
        tokio::time::sleep(QUIET).await;
        // Nobody else was sent anything.
        let concerned = times.len();
        while let Ok(ack) = acks.try_recv() {
            let ack = ack?;
            got.entry(ack.client).or_default().1 += ack.bytes;
        }
        anyhow::ensure!(got.len() == concerned, "{} clients were sent what concerns {concerned}", got.len());
        Ok(Delivery {
            median: median(&times),
            last: times.iter().copied().max().unwrap_or_default(),
            cpu: self.process.cpu()?.saturating_sub(self.cpu),
            bytes: got.values().map(|(_, bytes)| bytes).sum::<usize>() / concerned.max(1),
        })
    }
}

impl Delivery {
    fn middle(all: &[Self]) -> Self {
        let by = |time: fn(&Self) -> Duration| median(&all.iter().map(time).collect::<Vec<_>>());
        Self {
            median: by(|d| d.median),
            last: by(|d| d.last),
            cpu: by(|d| d.cpu),
            bytes: all.iter().map(|d| d.bytes).sum::<usize>() / all.len().max(1),
        }
    }
}

/// The server in its process; it ends with its standard input.
struct Served {
    child: Child,
    stdin: ChildStdin,
}

impl Served {
    fn start(dir: &Path, world: &World) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(dir)
            .args(["--fleets", &world.fleets.to_string(), "--hosts", &world.hosts.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the server")?;
        let stdin = child.stdin.take().context("the server's standard input")?;
        let stdout = child.stdout.take().context("the server's standard output")?;
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        anyhow::ensure!(ready == server::READY, "the server said {ready:?}");
        Ok(Self { child, stdin })
    }

    fn publish(&mut self, edit: Edit, fleet: usize, number: usize) -> anyhow::Result<()> {
        Ok(writeln!(self.stdin, "{edit:?} {fleet} {number}")?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::print_stdout)]
fn report(world: &World, args: &Args, rounds: &[Round]) {
    let concerned = args.clients / world.fleets;
    println!(
        "{} clients, {} fleets of {} virtual hosts, clusters and endpoints each; medians of {} rounds of {} edits",
        args.clients, world.fleets, world.hosts, args.rounds, args.edits
    );
    let line = |what: &str, to: usize, d: Delivery| {
        println!(
            "  {what:<16} to {to:>4} clients: median {:>9.2?}, last {:>9.2?}; server CPU {:>9.2?}; {} bytes per client",
            d.median, d.last, d.cpu, d.bytes
        );
    };
    line(
        "first snapshot",
        args.clients,
        Delivery::middle(&rounds.iter().map(|r| r.first).collect::<Vec<_>>()),
    );
    for (index, edit) in Edit::ALL.into_iter().enumerate() {
        let all: Vec<_> = rounds.iter().map(|round| round.edits[index].1).collect();
        line(edit.title(), concerned, Delivery::middle(&all));
    }
    let memory = |which: usize| median(&rounds.iter().map(|round| round.memory[which]).collect::<Vec<_>>());
    let per_client = memory(1).saturating_sub(memory(0)) / args.clients.max(1) as u64;
    println!(
        "  server memory: {} MiB before the clients, {} MiB with them, {} KiB per client",
        memory(0) >> 20,
        memory(1) >> 20,
        per_client >> 10
    );
}
