//! What `gatehouse controller` takes with many routes on a real API server: memory of leader and standby, writes, time.
//!
//! Run by `make bench-controller`. There is no kubelet: proxies are wanted and never run.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use gatehouse_testkit::apiserver::{ApiServer, Channel, gateway_api_crds};
use gatehouse_testkit::http::{free_port, status};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

const SERVICES: usize = 1_000;
const NAMESPACE: &str = "gatehouse-system";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
/// Requests at once while objects are made.
const PARALLEL: usize = 16;
/// After so long without news, memory is what it stays at.
const QUIET: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_mins(20);

/// A controller; ended with the measurement.
struct Controller {
    process: Child,
    admin: u16,
    started: Instant,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Controller {
    fn start(folder: &Path, pod: &str) -> Result<Self> {
        let (admin, xds) = (free_port(), free_port());
        let config = folder.join(format!("{pod}.yaml"));
        fs::write(&config, format!("admin: {{port: {admin}}}\nxds: {{port: {xds}}}\n"))?;
        let program = std::env::var_os("GATEHOUSE_BIN").context("GATEHOUSE_BIN names no program")?;
        let process = Command::new(program)
            .args(["controller", "--config"])
            .arg(config)
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .env("POD_NAME", pod)
            .env("POD_NAMESPACE", NAMESPACE)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join(format!("{pod}.log")))?)
            .spawn()
            .context("start the controller")?;
        Ok(Self { process, admin, started: Instant::now() })
    }

    async fn ready(&self) -> Result<Duration> {
        while status(self.admin, "localhost", "/readyz") != Some(200) {
            if self.started.elapsed() > PATIENCE {
                bail!("the controller is not ready");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self.started.elapsed())
    }

    /// What is resident, and the most that ever was, in MiB.
    fn memory(&self) -> Result<String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mib = |field: &str| -> Option<u64> {
            let line = text.lines().find(|line| line.starts_with(field))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
        };
        let (resident, peak) = (mib("VmRSS:"), mib("VmHWM:"));
        Ok(format!("{} MiB resident, peak {} MiB", resident.unwrap_or(0), peak.unwrap_or(0)))
    }
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Result<String> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method.clone()).uri(path);
    let request = request.header("content-type", "application/json").body(body)?;
    client.request_text(request).await.with_context(|| format!("{method} {path}"))
}

async fn create_all(client: &Client, objects: impl Iterator<Item = (String, Value)>) -> Result<()> {
    stream::iter(objects)
        .map(|(path, object)| async move { send(client, Method::POST, &path, &object).await.map(drop) })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
}

async fn install_crds(client: &Client) -> Result<()> {
    for crd in gateway_api_crds(Channel::Standard)? {
        send(client, Method::POST, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await?;
    }
    while send(client, Method::GET, ROUTES, &Value::Null).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn backends() -> impl Iterator<Item = (String, Value)> {
    (0..SERVICES).flat_map(|index| {
        let name = format!("svc-{index}");
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }] },
        });
        let addresses = [1, 2].map(|last| format!("10.{}.{}.{last}", index / 250, index % 250));
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": format!("{name}-1"), "labels": { "kubernetes.io/service-name": name } },
            "ports": [{ "port": 8080 }], "endpoints": addresses.map(|address| json!({ "addresses": [address] })),
        });
        [
            ("/api/v1/namespaces/default/services".to_owned(), service),
            ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned(), slice),
        ]
    })
}

fn routes(count: usize) -> impl Iterator<Item = (String, Value)> {
    (0..count).map(|index| {
        let rule = json!({
            "matches": [{ "path": { "value": format!("/route-{index}") } }],
            "backendRefs": [{ "name": format!("svc-{}", index % SERVICES), "port": 80 }],
        });
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": format!("route-{index}") },
            "spec": {
                "parentRefs": [{ "name": "gw" }], "hostnames": [format!("host-{index}.example.com")], "rules": [rule],
            },
        });
        (ROUTES.to_owned(), route)
    })
}

async fn gateway(client: &Client) -> Result<()> {
    let group = "/apis/gateway.networking.k8s.io/v1";
    let version = "gateway.networking.k8s.io/v1";
    let class = json!({
        "apiVersion": version, "kind": "GatewayClass", "metadata": { "name": "scale" },
        "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" },
    });
    let gateway = json!({
        "apiVersion": version, "kind": "Gateway", "metadata": { "name": "gw" },
        "spec": {
            "gatewayClassName": "scale", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        },
    });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let pod = |name: &str| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        });
        (format!("/api/v1/namespaces/{NAMESPACE}/pods"), pod)
    };
    send(client, Method::POST, "/api/v1/namespaces", &namespace).await?;
    send(client, Method::POST, &format!("{group}/gatewayclasses"), &class).await?;
    send(client, Method::POST, &format!("{group}/namespaces/default/gateways"), &gateway).await?;
    create_all(client, ["one", "two"].map(pod).into_iter()).await
}

/// Requests for statuses of routes so far: reads of whole routes, and writes.
async fn requests(client: &Client) -> Result<(u64, u64)> {
    let metrics = send(client, Method::GET, "/metrics", &Value::Null).await?;
    let count = |verb: &str, subresource: &str| -> u64 {
        let of_routes = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains("resource=\"httproutes\"")
                && line.contains(&format!("subresource=\"{subresource}\""))
                && line.contains(&format!("verb=\"{verb}\""))
        });
        let values = of_routes.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let sum = values.sum::<f64>() as u64;
        sum
    };
    Ok((count("GET", ""), count("PUT", "status")))
}

async fn accepted(client: &Client) -> Result<usize> {
    let text = send(client, Method::GET, ROUTES, &Value::Null).await?;
    let list: Value = serde_json::from_str(&text)?;
    let routes = list["items"].as_array().into_iter().flatten();
    let is_accepted = |route: &&Value| {
        let conditions = route["status"]["parents"][0]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Accepted" && c["status"] == "True")
    };
    Ok(routes.filter(is_accepted).count())
}

/// Waits for so many writes, and until all routes say that they are accepted.
async fn all_accepted(client: &Client, count: usize, since: Instant) -> Result<Duration> {
    loop {
        let written = usize::try_from(requests(client).await?.1)?;
        if written >= count && accepted(client).await? == count {
            return Ok(since.elapsed());
        }
        if since.elapsed() > PATIENCE {
            bail!("{} of {count} routes are accepted", accepted(client).await?);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let count: usize =
        std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse()).context("how many routes")?;
    let folder = tempfile::tempdir()?;
    let server = ApiServer::start().await?;
    let client = server.client("admin")?;
    fs::write(folder.path().join("kubeconfig"), server.kubeconfig("admin").to_string())?;
    install_crds(&client).await?;
    gateway(&client).await?;
    create_all(&client, backends().chain(routes(count))).await?;
    println!("{count} routes of as many hostnames, {SERVICES} Services with two endpoints each");

    let leader = Controller::start(folder.path(), "one")?;
    println!("leader: first snapshot after {:.1} s", leader.ready().await?.as_secs_f64());
    let took = all_accepted(&client, count, leader.started).await?;
    tokio::time::sleep(QUIET).await;
    let (reads, writes) = requests(&client).await?;
    println!("all accepted after {:.1} s: {reads} reads and {writes} writes of routes", took.as_secs_f64());
    println!("leader: {}", leader.memory()?);

    let standby = Controller::start(folder.path(), "two")?;
    println!("standby: first snapshot after {:.1} s", standby.ready().await?.as_secs_f64());
    tokio::time::sleep(QUIET).await;
    println!("standby: {}", standby.memory()?);

    let failover = Instant::now();
    drop(leader);
    let pod = format!("/api/v1/namespaces/{NAMESPACE}/pods/two");
    while !send(&client, Method::GET, &pod, &Value::Null).await?.contains("gatehouse.dev/leader") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("the leader is killed: the standby leads after {:.1} s", failover.elapsed().as_secs_f64());
    tokio::time::sleep(QUIET * 4).await;
    let after = requests(&client).await?;
    println!("since then {} reads and {} writes of routes", after.0 - reads, after.1 - writes);
    println!("standby that leads: {}", standby.memory()?);
    Ok(())
}
