//! A supervisor, its state directory, and a client.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use gatehouse_standalone::{
    digest::Digest,
    envoy::{
        Drain, EnvoyBinary, EnvoyEvent, EnvoyEventKind, FleetSpec, FleetState, StateDir, Supervisor,
        SupervisorOptions,
    },
};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

/// Nothing that works takes this long, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const FLEET: &str = "default/demo";

/// The Envoy to test with.
pub(crate) fn envoy_path() -> PathBuf {
    let path = std::env::var_os("GATEHOUSE_ENVOY").filter(|path| !path.is_empty());
    path.expect("GATEHOUSE_ENVOY is not set: run `make envoy`, and set it to the binary's path").into()
}

/// One fleet under a supervisor that can be restarted.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    running: Option<(Supervisor, mpsc::UnboundedReceiver<EnvoyEvent>)>,
    pub(crate) last_admin_socket: Option<PathBuf>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free now; Envoy binds it with SO_REUSEPORT, and the kernel does not give it out again soon.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut rig = Self { dir, port, running: None, last_admin_socket: None };
        rig.open();
        rig
    }

    fn open(&mut self) {
        let state = Arc::new(StateDir::open(self.dir.path().join("s")).unwrap());
        let path = envoy_path();
        // The hash of the real binary takes a while in a debug build, and nothing here depends on it.
        let hash = Digest::of(path.as_os_str().as_encoded_bytes());
        let binary = EnvoyBinary { path, version: "any".to_owned(), hash };
        self.running = Some(Supervisor::new(state, binary, SupervisorOptions::default()));
    }

    pub(crate) fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.running.as_mut().unwrap().0
    }

    /// As when gatehouse is restarted.
    pub(crate) async fn restart(&mut self) {
        self.last_admin_socket = self.state().admin_socket;
        let (supervisor, _events) = self.running.take().unwrap();
        supervisor.detach().await;
        self.open();
    }

    /// Serves `body` on the port.
    pub(crate) fn run(&mut self, body: &str) {
        self.run_bootstrap(bootstrap(self.port, body));
    }

    pub(crate) fn run_bootstrap(&mut self, bootstrap: String) {
        let args = ["--concurrency", "1", "--log-level", "warn"].map(str::to_owned).to_vec();
        self.supervisor().set_fleets([FleetSpec { name: FLEET.to_owned(), bootstrap, args }]);
    }

    pub(crate) fn state(&mut self) -> FleetState {
        self.supervisor().states()[FLEET].clone()
    }

    /// The next event of a kind.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&EnvoyEventKind) -> bool) -> EnvoyEventKind {
        self.event(|event| wanted(&event.kind)).await.kind
    }

    async fn event(&mut self, mut wanted: impl FnMut(&EnvoyEvent) -> bool) -> EnvoyEvent {
        let events = &mut self.running.as_mut().unwrap().1;
        let mut seen = String::new();
        let found = async {
            loop {
                let event = events.recv().await.unwrap();
                assert_eq!(event.fleet, FLEET);
                writeln!(seen, "{event}").unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("not told in time; told was:\n{seen}"))
    }

    /// Waits until a generation is ready; its process.
    pub(crate) async fn ready(&mut self, generation: u32) -> u32 {
        self.event(|event| event.kind == EnvoyEventKind::Ready && event.generation == generation).await;
        // The event comes before the state that goes with it.
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let state = self.state();
            if let (true, Some(pid)) = (state.generation == generation, state.pid) {
                return pid;
            }
            assert!(std::time::Instant::now() < end, "{state:?}");
            tokio::task::yield_now().await;
        }
    }

    /// A request on a connection of its own.
    pub(crate) async fn get(&self) -> String {
        Client::connect(self.port).await.get("").await
    }

    pub(crate) async fn stop(self) {
        self.stop_within(PATIENCE).await;
    }

    pub(crate) async fn stop_within(mut self, deadline: Duration) {
        let (supervisor, _events) = self.running.take().unwrap();
        timeout(PATIENCE, supervisor.stop(Drain::stop(deadline))).await.expect("stopped in time");
    }
}

impl Drop for Rig {
    /// A test that failed leaves no Envoy behind.
    fn drop(&mut self) {
        if let Some((supervisor, _)) = &self.running {
            supervisor.states().values().filter_map(|state| state.pid).for_each(kill);
        }
    }
}

/// A keep-alive HTTP connection.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(port: u16) -> Self {
        Self(timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await.unwrap().unwrap())
    }

    /// The body of an answer to a request with these header lines.
    pub(crate) async fn get(&mut self, headers: &str) -> String {
        self.send(headers).await;
        self.receive().await
    }

    pub(crate) async fn send(&mut self, headers: &str) {
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Bodies here are three bytes long and end the answer.
    pub(crate) async fn receive(&mut self) -> String {
        let mut answer = Vec::new();
        let body = async {
            loop {
                if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n")
                    && let Some(body) = answer.get(at + 4..at + 7)
                {
                    assert!(answer.starts_with(b"HTTP/1.1 200 "));
                    return String::from_utf8(body.to_vec()).unwrap();
                }
                assert_ne!(self.0.read_buf(&mut answer).await.unwrap(), 0, "closed in an answer");
            }
        };
        timeout(PATIENCE, body).await.expect("an answer in time")
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        timeout(PATIENCE, self.0.read(&mut [0; 1])).await.is_ok_and(|read| matches!(read, Ok(0)))
    }
}

/// Ends a process as a crash would.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Whether a process runs; one that nobody reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Answers everything with `body`, after a second with `x-slow`, and never in a test's time with `x-endless`.
fn bootstrap(port: u16, body: &str) -> String {
    format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - {{name: slow, typed_config: {fault_slow}}}
          - {{name: endless, typed_config: {fault_endless}}}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: "{body}"}}}}}}
"#,
        fault_slow = fault("1s", "x-slow"),
        fault_endless = fault("600s", "x-endless"),
    )
}

fn fault(delay: &str, header: &str) -> String {
    format!(
        r#"{{"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, delay: {{fixed_delay: {delay}, percentage: {{numerator: 100}}}}, headers: [{{name: {header}, present_match: true}}]}}"#
    )
}
