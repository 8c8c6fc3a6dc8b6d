//! Makes Envoy's protobuf descriptors available to the crate.
//!
//! `envoy-types` ships its `FileDescriptorSet` in its package and does not export it. This script finds the
//! package through cargo, keeps the files that our types reach, drops their comments (80 % of the bytes) and
//! writes `descriptors.bin`. It works on the wire format, because decoding into `prost-types` would lose the
//! extension options (`validate.rules`) that the validator reads.

// Cargo reads a build script's standard output.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Files that declare the messages we encode, print or check.
const ROOTS: &[&str] = &[
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/config/trace/v3/opentelemetry.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/clusters/dns/v3/dns_cluster.proto",
    "envoy/extensions/common/matching/v3/extension_matcher.proto",
    "envoy/extensions/filters/http/composite/v3/composite.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/set_filter_state/v3/set_filter_state.proto",
    "envoy/extensions/filters/http/stateful_session/v3/stateful_session.proto",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/route.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/udp_proxy.proto",
    "envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header.proto",
    "envoy/extensions/http/original_ip_detection/xff/v3/xff.proto",
    "envoy/extensions/http/stateful_session/cookie/v3/cookie.proto",
    "envoy/extensions/http/stateful_session/header/v3/header.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto",
    "envoy/extensions/matching/input_matchers/consistent_hashing/v3/consistent_hashing.proto",
    "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/tracers/opentelemetry/samplers/v3/parent_based_sampler.proto",
    "envoy/extensions/tracers/opentelemetry/samplers/v3/trace_id_ratio_based_sampler.proto",
    "envoy/extensions/transport_sockets/tls/v3/secret.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GATEHOUSE_ENVOY_TYPES");
    let source = types_bin()?;
    println!("cargo::rerun-if-changed={}", source.display());
    let set = fs::read(&source).map_err(|error| format!("read {}: {error}", source.display()))?;
    let target = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(target, prune(&set)?)?;
    Ok(())
}

/// Path of the descriptor set: `GATEHOUSE_ENVOY_TYPES` names the package's directory, else cargo is asked.
fn types_bin() -> Result<PathBuf> {
    let package = match env::var_os("GATEHOUSE_ENVOY_TYPES") {
        Some(directory) => PathBuf::from(directory),
        None => package_directory("envoy-types")?,
    };
    Ok(package.join("src/generated/types.bin"))
}

/// Asks cargo offline first (the usual case, no network), then with network: `cargo metadata` resolves the
/// whole workspace, and a build of one package may not have downloaded all of it.
fn package_directory(name: &str) -> Result<PathBuf> {
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[]))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == name)
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or_else(|| format!("cargo metadata knows no package {name}"))?;
    Ok(Path::new(manifest).parent().ok_or("manifest without a directory")?.to_owned())
}

fn metadata(extra: &[&str]) -> Result<serde_json::Value> {
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &env::var("TARGET")?])
        .args(extra)
        .arg("--manifest-path")
        .arg(manifest)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Keeps the files reachable from [`ROOTS`], each without its source info, in the order of the set.
fn prune(set: &[u8]) -> Result<Vec<u8>> {
    const FILE: u64 = 1;
    const NAME: u64 = 1;
    const DEPENDENCY: u64 = 3;
    const SOURCE_CODE_INFO: u64 = 9;
    let mut order = Vec::new();
    let mut files = BTreeMap::new();
    for (_, _, file) in fields(set)?.into_iter().filter(|field| field.0 == FILE) {
        let mut name = String::new();
        let mut dependencies = Vec::new();
        let mut kept = Vec::new();
        for (number, raw, payload) in fields(file)? {
            match number {
                NAME => name = String::from_utf8(payload.to_vec())?,
                DEPENDENCY => dependencies.push(String::from_utf8(payload.to_vec())?),
                _ => {}
            }
            if number != SOURCE_CODE_INFO {
                kept.extend_from_slice(raw);
            }
        }
        order.push(name.clone());
        files.insert(name, (dependencies, kept));
    }
    let reached = reachable(&files)?;
    let mut out = Vec::new();
    for name in order.iter().filter(|name| reached.contains(*name)) {
        let file = &files[name].1;
        out.push(0x0a);
        put_varint(&mut out, file.len() as u64);
        out.extend_from_slice(file);
    }
    Ok(out)
}

fn reachable(files: &BTreeMap<String, (Vec<String>, Vec<u8>)>) -> Result<BTreeSet<String>> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = ROOTS.iter().map(ToString::to_string).collect();
    while let Some(name) = open.pop() {
        let (dependencies, _) = files.get(&name).ok_or_else(|| format!("{name} is not in the set"))?;
        open.extend(dependencies.iter().filter(|name| !reached.contains(*name)).cloned());
        reached.insert(name);
    }
    Ok(reached)
}

/// A field: its number, its bytes with tag and length, its payload (empty for numbers).
type Field<'a> = (u64, &'a [u8], &'a [u8]);

fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest)?;
        let payload = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?)?,
            5 => 4,
            other => return Err(format!("unexpected wire type {other}").into()),
        };
        let (content, tail) = rest.split_at_checked(payload).ok_or("truncated field")?;
        rest = tail;
        out.push((tag >> 3, &start[..start.len() - rest.len()], content));
    }
    Ok(out)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or("truncated number")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("number of more than ten bytes".into())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
