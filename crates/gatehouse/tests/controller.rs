//! The controller as a process, where there is no cluster: what it says, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatehouse_testkit::http::free_port;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for the files of one process.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    fn controller(&self, config: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.arg("controller").arg("--config").arg(self.put("gatehouse.yaml", config));
        command.env("POD_NAME", "gatehouse-1").env("POD_NAMESPACE", "gatehouse-system");
        command
    }
}

/// Ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_wrong_configuration_ends_it_with_what_is_wrong_and_where() {
    let files = Files::new();
    let cases = [
        ("placement: Here\n", "unknown variant `Here`, expected `GatewayNamespace` or `ControllerNamespace`"),
        ("xds:\n  prot: 1\n", "xds: unknown field `prot`, expected `port` or `service`"),
        ("log: {level: 'gatehouse=loud'}\n", "log.level"),
    ];
    for (config, words) in cases {
        let output = files.controller(config).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        for words in [words, "gatehouse.yaml", "correct it and start again"] {
            assert!(error.contains(words), "{config}: {error}");
        }
    }
    let missing = files.0.path().join("none.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    let output = command.arg("controller").arg("--config").arg(&missing).output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("none.yaml: No such file"), "{error}");
}

/// The body of an answer; nothing while nobody listens.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn an_api_server_that_does_not_answer_is_waited_for_and_named() {
    let files = Files::new();
    let (admin, api) = (free_port(), free_port());
    let kubeconfig = files.put(
        "kubeconfig",
        &format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}],\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{api}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        ),
    );
    let log = files.put("log", "");
    let config = format!("admin: {{port: {admin}}}\nxds: {{port: {}}}\n", free_port());
    let mut command = files.controller(&config);
    command.arg("--kubeconfig").arg(kubeconfig).stderr(fs::File::create(&log).expect("a log"));
    let mut process = Running(command.stdout(Stdio::null()).spawn().expect("it starts"));
    let expected = "API server: the API server does not answer";
    let started = Instant::now();
    let ready = loop {
        let ready = get(admin, "/readyz").unwrap_or_default();
        if ready.contains(expected) {
            break ready;
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        assert!(started.elapsed() < PATIENCE, "{ready}\n{log}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("retrying"), "{ready}");
    assert!(get(admin, "/healthz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    assert!(process.0.try_wait().expect("its state").is_none(), "it goes on");
    let log = fs::read_to_string(&log).expect("the log");
    let told = log.lines().filter(|line| line.contains("does not answer")).count();
    assert_eq!(told, 1, "once, however often it is tried: {log}");
}
