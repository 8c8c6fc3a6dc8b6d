//! The Go modules that define the schemas, pinned.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

/// A Go module at a version.
#[derive(Clone, Copy)]
pub(crate) struct Module {
    /// Its path.
    pub(crate) path: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

/// Gateway API's CRDs.
pub(crate) const GATEWAY_API: Module = Module { path: "sigs.k8s.io/gateway-api", version: "v1.7.0" };
/// Envoy Gateway's CRDs.
pub(crate) const ENVOY_GATEWAY: Module = Module { path: "github.com/envoyproxy/gateway", version: "v1.9.1" };
/// Kubernetes' own types.
pub(crate) const CLIENT_GO: Module = Module { path: "k8s.io/client-go", version: "v0.36.0" };
/// All of them.
pub(crate) const ALL: [Module; 3] = [GATEWAY_API, ENVOY_GATEWAY, CLIENT_GO];

impl Module {
    /// The module's folder in Go's module cache, filled if need be.
    pub(crate) fn dir(self) -> Result<PathBuf> {
        let module = format!("{}@{}", self.path, self.version);
        let output = Command::new("go")
            .args(["mod", "download", "-json", &module])
            .env("GOTOOLCHAIN", "go1.27.0")
            .env("GOFLAGS", "-mod=mod")
            .output()
            .context("run go, which fetches the pinned modules")?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("download {module}: {}", String::from_utf8_lossy(&output.stderr)))?;
        match json["Dir"].as_str() {
            Some(dir) => Ok(PathBuf::from(dir)),
            None => bail!("download {module}: {}", json["Error"]),
        }
    }
}
