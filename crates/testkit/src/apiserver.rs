//! A real kube-apiserver with its etcd, on loopback, without nodes: for tests of what talks to it.
//!
//! `GATEHOUSE_KUBE_APISERVER` and `GATEHOUSE_ETCD` name the programs and `GATEHOUSE_GATEWAY_API` the directory of the Go
//! module `sigs.k8s.io/gateway-api`; `make apiserver-test` sets them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long either program may take to come up, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Which CRDs of Gateway API to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What is stable.
    Standard,
    /// Everything.
    Experimental,
}

/// A running API server. Dropped, it is ended and its data removed.
#[derive(Debug)]
pub struct ApiServer {
    directory: TempDir,
    port: u16,
    etcd_port: u16,
    etcd: Child,
    server: Option<Child>,
}

impl ApiServer {
    /// Starts etcd and the API server; returns when it is ready.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for the API server")?;
        write_keys(directory.path())?;
        let [port, etcd_port, peer_port] = free_ports()?;
        let etcd = start_etcd(directory.path(), etcd_port, peer_port)?;
        let mut server = Self { directory, port, etcd_port, etcd, server: None };
        server.resume().await?;
        Ok(server)
    }

    /// Kills the API server; what it stored stays.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server);
        }
    }

    /// Starts the API server again where it was; returns when it is ready.
    pub async fn resume(&mut self) -> Result<()> {
        self.server = Some(self.spawn()?);
        let client = self.client("admin")?;
        let started = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            match client.request_text(request).await {
                Ok(_) => break,
                Err(error) if started.elapsed() > PATIENCE => {
                    bail!("the API server is not ready: {error}\n{}", self.log("kube-apiserver"))
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            let ended = self.server.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() {
                bail!("the API server has ended\n{}", self.log("kube-apiserver"));
            }
        }
        Ok(())
    }

    /// A client with the rights of this user: `admin` may do everything, all others what they are granted.
    pub fn client(&self, user: &str) -> Result<kube::Client> {
        let mut config = kube::Config::new(self.url().parse()?);
        config.root_cert = Some(vec![self.authority()?]);
        config.auth_info = kube::config::AuthInfo { token: Some(token(user).into()), ..Default::default() };
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = None;
        Ok(kube::Client::try_from(config)?)
    }

    /// A kubeconfig for this user.
    pub fn kubeconfig(&self, user: &str) -> Value {
        let authority = self.directory.path().join("ca.crt");
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": {
                "server": self.url(), "certificate-authority": authority.display().to_string(),
            } }],
            "users": [{ "name": user, "user": { "token": token(user) } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
            "current-context": "test",
        })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The last lines that a program logged.
    pub fn log(&self, program: &str) -> String {
        let text =
            fs::read_to_string(self.directory.path().join(format!("{program}.log"))).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn authority(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.directory.path().join("ca.der"))?)
    }

    fn spawn(&self) -> Result<Child> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let etcd = format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port);
        let arguments = [
            etcd,
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".into(),
            // Only written into an object that nobody reads; loopback is refused.
            "--advertise-address=192.0.2.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--feature-gates=ClusterTrustBundle=true".into(),
            "--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", path("accounts.pub")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            // Pods are made by hand here.
            "--disable-admission-plugins=ServiceAccount".into(),
        ];
        spawn(self.directory.path(), "kube-apiserver", "GATEHOUSE_KUBE_APISERVER", &arguments)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
        end(&mut self.etcd);
    }
}

/// The users that have tokens.
const USERS: &[(&str, &str)] = &[("admin", "system:masters"), ("limited", "limited")];

/// The CRDs of a channel, as the pinned Go module has them.
pub fn gateway_api_crds(channel: Channel) -> Result<Vec<Value>> {
    let module = PathBuf::from(std::env::var_os("GATEHOUSE_GATEWAY_API").context(
        "GATEHOUSE_GATEWAY_API names no directory of the module sigs.k8s.io/gateway-api: run `make apiserver-test`",
    )?);
    let folder = match channel {
        Channel::Standard => "standard",
        Channel::Experimental => "experimental",
    };
    let folder = module.join("config/crd").join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut crds = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value: Value = serde::Deserialize::deserialize(document)
                .with_context(|| format!("read {}", path.display()))?;
            if value["kind"] == "CustomResourceDefinition" {
                crds.push(value);
            }
        }
    }
    Ok(crds)
}

fn token(user: &str) -> String {
    format!("{user}-token")
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn write_keys(directory: &Path) -> Result<()> {
    let write = |name: &str, content: &[u8]| {
        fs::write(directory.join(name), content).with_context(|| format!("write {name}"))
    };
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key)?;
    write("ca.crt", certificate.pem().as_bytes())?;
    write("ca.der", certificate.der())?;
    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let server = server.signed_by(&server_key, &Issuer::from_params(&authority, &key))?;
    write("server.crt", server.pem().as_bytes())?;
    write("server.key", server_key.serialize_pem().as_bytes())?;
    let accounts_key = KeyPair::generate()?;
    write("accounts.key", accounts_key.serialize_pem().as_bytes())?;
    write("accounts.pub", accounts_key.public_key_pem().as_bytes())?;
    let users = USERS.iter().map(|(user, group)| format!("{},{user},{user},\"{group}\"\n", token(user)));
    write("tokens.csv", users.collect::<String>().as_bytes())
}

fn start_etcd(directory: &Path, port: u16, peer_port: u16) -> Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let arguments = [
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync=true".into(),
    ];
    spawn(directory, "etcd", "GATEHOUSE_ETCD", &arguments)
}

fn spawn(directory: &Path, name: &str, variable: &str, arguments: &[String]) -> Result<Child> {
    let program = std::env::var_os(variable)
        .with_context(|| format!("{variable} names no program: run `make apiserver-test`, which sets it"))?;
    // When we end, however that is, the pipe closes and the program is ended too: a test that panics leaves nothing behind.
    let guard = r#"
        exec 3<&0
        "$@" </dev/null 3<&- & program=$!
        (cat <&3 >/dev/null; kill -9 "$program") & guard=$!
        wait "$program"
        kill "$guard"
        [ "$REMOVE" = "" ] || rm -rf "$REMOVE"
    "#;
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(format!("{name}.log")))
        .with_context(|| format!("write the log of {name}"))?;
    // Whoever shares a server never drops it: its data goes with etcd.
    let remove = if name == "etcd" { directory } else { Path::new("") };
    Command::new("sh")
        .env("REMOVE", remove)
        .args(["-c", guard, "sh"])
        .arg(&program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", Path::new(&program).display()))
}

/// Closes the guard's pipe and waits for the program's end.
fn end(child: &mut Child) {
    drop(child.stdin.take());
    if let Err(error) = child.wait() {
        debug_assert!(false, "wait for a program of ours: {error}");
    }
}
