//! What goes to the terminal.

mod table;

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::document::{Shown, ShownPage};
use table::Table;

/// Writes a line to standard output; a closed pipe is an error to stop at, not a panic.
pub(crate) fn line(text: &impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes a line to standard error.
pub(crate) fn error_line(text: &impl Display) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(crate) fn error(text: &str) {
    error_line(&format!("error: {text}"));
}

pub(crate) fn note(text: &str) {
    error_line(&format!("note: {text}"));
}

/// Prints JSON, or the same as YAML.
pub(crate) fn value(value: &Value, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(value)? } else { gatehouse_api::to_yaml(value) };
    line(&text.trim_end())?;
    Ok(())
}

/// A parent reference in words: `Gateway ns/name, section s, port p`.
pub(crate) fn parent(reference: &Value) -> String {
    let text = |name: &str| reference[name].as_str().unwrap_or_default();
    let kind = if text("kind").is_empty() { "Gateway" } else { text("kind") };
    let mut words = format!("{kind} ");
    if !text("namespace").is_empty() {
        words.push_str(text("namespace"));
        words.push('/');
    }
    words.push_str(text("name"));
    if !text("sectionName").is_empty() {
        words.push_str(", section ");
        words.push_str(text("sectionName"));
    }
    if let Some(port) = reference["port"].as_u64() {
        words = format!("{words}, port {port}");
    }
    words
}

/// Prints the columns of `kubectl get -A`, then all conditions.
pub(crate) fn tables(page: &ShownPage, now: Timestamp) -> io::Result<()> {
    let of = |kind: &'static str| page.objects.iter().filter(move |e| e.kind == kind);
    let mut classes = Table::new(&["NAME", "CONTROLLER", "ACCEPTED", "AGE"]);
    for e in of("GatewayClass") {
        classes.row([name(e), text(&e.spec["controllerName"]), condition(e, "Accepted"), age(e, now)]);
    }
    let mut gateways = Table::new(&["NAMESPACE", "NAME", "CLASS", "ADDRESS", "PROGRAMMED", "AGE"]);
    for e in of("Gateway") {
        let class = text(&e.spec["gatewayClassName"]);
        gateways.row([namespace(e), name(e), class, addresses(e), condition(e, "Programmed"), age(e, now)]);
    }
    let mut sets = Table::new(&["NAMESPACE", "NAME", "ACCEPTED", "PROGRAMMED", "AGE"]);
    for e in of("ListenerSet") {
        sets.row([namespace(e), name(e), condition(e, "Accepted"), condition(e, "Programmed"), age(e, now)]);
    }
    let named = |kind| {
        let mut routes = Table::new(&["NAMESPACE", "NAME", "HOSTNAMES", "AGE"]);
        for e in of(kind) {
            routes.row([namespace(e), name(e), hostnames(e), age(e, now)]);
        }
        routes
    };
    let plain = |kind| {
        let mut routes = Table::new(&["NAMESPACE", "NAME", "AGE"]);
        for e in of(kind) {
            routes.row([namespace(e), name(e), age(e, now)]);
        }
        routes
    };
    let mut backends = Table::new(&["NAMESPACE", "NAME", "STATUS", "AGE"]);
    for e in of("Backend") {
        let reason = text(&find(&e.status["conditions"], "Accepted")["reason"]);
        backends.row([namespace(e), name(e), reason, age(e, now)]);
    }
    let policies = |kind| {
        let mut policies = Table::new(&["NAMESPACE", "NAME", "AGE"]);
        for e in of(kind) {
            policies.row([namespace(e), name(e), age(e, now)]);
        }
        policies
    };
    let mut conditions = Table::new(&["OBJECT", "OF", "TYPE", "STATUS", "REASON", "MESSAGE"]);
    for e in &page.objects {
        collect(&e.status, &object(e), "", &mut conditions);
    }
    let all = [
        ("gatewayclass", classes),
        ("gateway", gateways),
        ("listenerset", sets),
        ("httproute", named("HTTPRoute")),
        ("grpcroute", named("GRPCRoute")),
        ("tlsroute", named("TLSRoute")),
        ("tcproute", plain("TCPRoute")),
        ("udproute", plain("UDPRoute")),
        ("backend", backends),
        ("backendtlspolicy", policies("BackendTLSPolicy")),
        ("clienttrafficpolicy", policies("ClientTrafficPolicy")),
        ("xbackend", policies("XBackend")),
        ("xbackendtrafficpolicy", policies("XBackendTrafficPolicy")),
        ("xtelemetrypolicy", policies("XTelemetryPolicy")),
        ("conditions", conditions),
    ];
    let mut out = io::stdout().lock();
    let mut first = true;
    for (_, table) in all.into_iter().filter(|(_, table)| !table.is_empty()) {
        if !first {
            writeln!(out)?;
        }
        first = false;
        table.print(&mut out)?;
    }
    if first {
        writeln!(out, "No resources found")?;
    }
    Ok(())
}

fn collect(status: &Value, object: &str, of: &str, table: &mut Table) {
    for c in status["conditions"].as_array().into_iter().flatten() {
        table.row([
            object.to_owned(),
            of.to_owned(),
            text(&c["type"]),
            text(&c["status"]),
            text(&c["reason"]),
            text(&c["message"]),
        ]);
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let of = format!("listener {} ({} routes)", text(&listener["name"]), listener["attachedRoutes"]);
        collect(listener, object, &of, table);
    }
    for (list, about) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        for entry in status[list].as_array().into_iter().flatten() {
            collect(entry, object, &parent(&entry[about]), table);
        }
    }
}

fn object(e: &Shown) -> String {
    let kind = e.kind.to_ascii_lowercase();
    if e.metadata.namespace.is_empty() {
        format!("{kind}/{}", e.metadata.name)
    } else {
        format!("{kind}/{}/{}", e.metadata.namespace, e.metadata.name)
    }
}

fn name(e: &Shown) -> String {
    e.metadata.name.clone()
}

fn namespace(e: &Shown) -> String {
    e.metadata.namespace.clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn find(conditions: &Value, kind: &str) -> Value {
    let found = conditions.as_array().into_iter().flatten().find(|c| c["type"] == kind);
    found.cloned().unwrap_or_default()
}

fn condition(e: &Shown, kind: &str) -> String {
    let status = text(&find(&e.status["conditions"], kind)["status"]);
    if status.is_empty() { "Unknown".to_owned() } else { status }
}

fn addresses(e: &Shown) -> String {
    let values = e.status["addresses"].as_array().into_iter().flatten().map(|a| text(&a["value"]));
    values.collect::<Vec<_>>().join(",")
}

fn hostnames(e: &Shown) -> String {
    match e.spec["hostnames"].as_array() {
        Some(names) if !names.is_empty() => e.spec["hostnames"].to_string(),
        _ => String::new(),
    }
}

/// As kubectl rounds: 45s, 12m, 5h, 3d.
fn age(e: &Shown, now: Timestamp) -> String {
    let Ok(created) = e.metadata.creation_timestamp.parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = (now.as_second() - created.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
