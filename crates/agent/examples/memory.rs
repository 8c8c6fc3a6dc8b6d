//! How much memory an agent takes: `cargo run -p gatehouse-agent --example memory -- 10000`.
//!
//! The agent is a process of its own; Envoy and the controller are real. Printed are its resident set before and after it
//! relayed that many virtual hosts, and the size of its store.

// It is a measurement: what fails, fails.
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

#[path = "../tests/live/client.rs"]
mod client;
#[path = "../../xds/tests/envoy/config.rs"]
mod config;
#[path = "../tests/live/pod.rs"]
mod pod;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use config::{cluster, commit, endpoints, host, listener, table};
use gatehouse_agent::Agent;
use gatehouse_testkit::http::{always_ok, free_port};
use pod::Pod;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["agent", dir, controller, probes] => {
            let options = pod::options(Path::new(dir), controller.parse().unwrap(), probes.parse().unwrap());
            Agent::start(options).await.unwrap().failed().await;
        }
        [hosts] => measure(hosts.parse().unwrap()).await,
        _ => println!("usage: memory HOSTS"),
    }
}

async fn measure(hosts: usize) {
    let mut pod = Pod::new();
    let options = pod.options();
    let dir = options.socket.parent().unwrap().to_owned();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["agent", dir.to_str().unwrap()])
        .args([options.upstream.port.to_string(), options.listen.to_string()])
        .spawn()
        .unwrap();
    let controller = pod.controller();
    pod.start_envoy();
    let mut upserts = vec![
        cluster("a", Duration::from_secs(1)),
        endpoints("a", always_ok()),
        listener("l1", free_port(), "r1"),
        table("r1"),
        host("r1", "default", "a", None),
    ];
    controller.commit(commit(upserts.clone(), &[("r1/default", "a")]));
    pod.ready().await;
    println!("one virtual host: {} of memory", resident(agent.id()));
    let start = Instant::now();
    upserts = (0..hosts).map(|n| host("r1", &format!("h{n}"), "a", Some("/some/path/.*"))).collect();
    controller.commit(commit(upserts, &[]));
    let stored = format!("gatehouse_agent_store_resources {}", hosts + 5);
    while !pod.probe("/metrics").await.1.contains(&stored) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = std::fs::metadata(pod.path("store/acknowledged.log")).unwrap().len();
    println!("{hosts} virtual hosts: {} of memory, store {} kB", resident(agent.id()), log / 1024);
    println!("acknowledged and stored after {:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("two seconds later: {}", resident(agent.id()));
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn resident(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: unknown");
    line.trim_start_matches("VmRSS:").trim().to_owned()
}
