//! A real Envoy as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running Envoy; ends with its value.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    log: PathBuf,
}

impl Envoy {
    /// Starts the binary that `GATEHOUSE_ENVOY` names, with this bootstrap (YAML or JSON). Its files lie in `dir`.
    ///
    /// # Panics
    ///
    /// If there is no such binary, or the folder cannot be written to.
    pub fn start(dir: &Path, bootstrap: &str) -> Self {
        let binary = std::env::var_os("GATEHOUSE_ENVOY").expect(
            "GATEHOUSE_ENVOY names an Envoy 1.40 binary; `make envoy` installs it, `make test` sets it",
        );
        let (config, log) = (dir.join("bootstrap.yaml"), dir.join("envoy.log"));
        std::fs::write(&config, bootstrap).expect("write the bootstrap");
        let mut command = Command::new(binary);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--drain-time-s", "1"]);
        command.args(["--log-level", "warning", "--log-path"]).arg(&log).arg("--config-path").arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("GATEHOUSE_ENVOY names a program that runs here");
        Self { child, log }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself, which a test would have noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
