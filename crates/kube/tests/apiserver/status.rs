//! Statuses: ours alone, and only when they say something new.

use std::sync::Arc;

use gatehouse_api::ObjectRef;
use gatehouse_kube::health::Health;
use gatehouse_kube::leader::Leadership;
use gatehouse_kube::source::{Scope, SourceConfig};
use gatehouse_kube::status::{StatusWriter, WriterConfig};
use gatehouse_testkit::apiserver::ApiServer;
use gatehouse_translate::StatusChange;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::follow::Follow;
use super::objects::{GATEWAY_API, gateway, gateways, route, routes};
use super::support::{Admin, api, eventually, shared};

const OURS: &str = "gatehouse.dev/gatewayclass-controller";

/// A writer with a source that shows it the live objects of a namespace.
struct Rig {
    writer: StatusWriter,
    leads: watch::Sender<Leadership>,
    follow: Follow,
}

async fn rig(server: &ApiServer, namespace: &str) -> Rig {
    rig_with(server, namespace, WriterConfig::default()).await
}

async fn rig_with(server: &ApiServer, namespace: &str, config: WriterConfig) -> Rig {
    let (leads, leadership) = watch::channel(Leadership::Leader);
    let config = WriterConfig { controllers: vec![OURS.into()], ..config };
    let (writer, observer) =
        StatusWriter::start(api(server, "admin"), &config, leadership, Health::default());
    let scope = Scope::Namespaces([namespace.to_owned()].into());
    let config = SourceConfig { scope, ..SourceConfig::default() };
    let mut follow = Follow::observed(api(server, "admin"), config, Some(observer));
    follow.synced().await;
    Rig { writer, leads, follow }
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({ "type": kind, "status": "True", "reason": reason, "message": "", "observedGeneration": 1 })
}

fn parent(controller: &str, reason: &str) -> Value {
    json!({
        "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "eg" },
        "controllerName": controller,
        "conditions": [condition("Accepted", reason)],
    })
}

fn timed(mut entry: Value, time: &str) -> Value {
    for condition in entry["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = time.into();
    }
    entry
}

fn change(kind: &str, namespace: &str, name: &str, status: Option<&Value>) -> StatusChange {
    StatusChange {
        object: ObjectRef {
            group: "gateway.networking.k8s.io".into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        },
        generation: 1,
        status: status.map(|status| Arc::from(status.to_string())),
    }
}

async fn set_status(admin: &Admin, path: &str, status: &Value) {
    let mut live = admin.get(path).await;
    live["status"] = status.clone();
    admin.call(http::Method::PUT, &format!("{path}/status"), &live).await;
}

/// The entries of a route, when there are so many.
async fn parents(admin: &Admin, path: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} entries"), async || {
        let live = admin.get(path).await;
        let parents = live["status"]["parents"].as_array().cloned().unwrap_or_default();
        (parents.len() == count).then_some(parents)
    })
    .await
}

#[tokio::test]
async fn foreign_entries_stay_as_they_are_and_ours_come_and_go() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("foreign", &json!({})).await;
    admin.create(&routes("foreign"), &route("r", "a.example.com")).await;
    let path = format!("{}/r", routes("foreign"));
    let foreign = timed(parent("example.com/other", "Theirs"), "2026-01-01T00:00:00Z");
    set_status(&admin, &path, &json!({ "parents": [foreign] })).await;
    let rig = rig(server, "foreign").await;
    let ours = json!({ "parents": [parent(OURS, "Accepted")] });
    rig.writer.write(change("HTTPRoute", "foreign", "r", Some(&ours)));
    let live = parents(&admin, &path, 2).await;
    assert_eq!(live[0], foreign);
    assert_eq!(live[1]["parentRef"], ours["parents"][0]["parentRef"]);
    assert!(live[1]["conditions"][0]["lastTransitionTime"].is_string());
    rig.writer.write(change("HTTPRoute", "foreign", "r", None));
    assert_eq!(parents(&admin, &path, 1).await, [foreign]);
}

#[tokio::test]
async fn what_is_said_already_costs_no_request_for_a_new_leader() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("quiet", &json!({})).await;
    let ours = json!({ "parents": [parent(OURS, "Accepted")] });
    for i in 0..20 {
        admin.create(&routes("quiet"), &route(&format!("r{i}"), "a.example.com")).await;
    }
    let first = rig(server, "quiet").await;
    for i in 0..20 {
        first.writer.write(change("HTTPRoute", "quiet", &format!("r{i}"), Some(&ours)));
    }
    eventually("all written", async || (first.writer.counts().written == 20).then_some(())).await;
    let versions = admin.get(&routes("quiet")).await["metadata"]["resourceVersion"].clone();
    first.leads.send_replace(Leadership::Standby { holder: None });

    // The next leader has read it all, says the same, and one thing more.
    let second = rig(server, "quiet").await;
    for i in 0..20 {
        let reason = if i == 7 { "Pending" } else { "Accepted" };
        let status = json!({ "parents": [parent(OURS, reason)] });
        second.writer.write(change("HTTPRoute", "quiet", &format!("r{i}"), Some(&status)));
    }
    eventually("one written", async || (second.writer.counts().written == 1).then_some(())).await;
    let counts = second.writer.counts();
    assert_eq!((counts.written, counts.unchanged), (1, 0), "since {versions}");
}

#[tokio::test]
async fn standby_writes_nothing_until_it_leads() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("standby", &json!({})).await;
    admin.create(&routes("standby"), &route("r", "a.example.com")).await;
    let rig = rig(server, "standby").await;
    rig.leads.send_replace(Leadership::Standby { holder: None });
    let ours = json!({ "parents": [parent(OURS, "Accepted")] });
    rig.writer.write(change("HTTPRoute", "standby", "r", Some(&ours)));
    // What comes back through the watch shows that the writer's inbox was served.
    let path = format!("{}/r", routes("standby"));
    let foreign = timed(parent("example.com/other", "Theirs"), "2026-01-01T00:00:00Z");
    set_status(&admin, &path, &json!({ "parents": [foreign] })).await;
    assert_eq!(parents(&admin, &path, 1).await, [foreign]);
    assert_eq!(rig.writer.counts().written, 0);
    rig.leads.send_replace(Leadership::Leader);
    parents(&admin, &path, 2).await;
}

#[tokio::test]
async fn a_new_leader_leaves_a_refusal_until_the_proxies_have_answered_it() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("refusals", &json!({})).await;
    admin.create(&routes("refusals"), &route("r", "a.example.com")).await;
    let path = format!("{}/r", routes("refusals"));
    let accepted = parent(OURS, "Accepted");
    let mut refused = accepted.clone();
    let mut refusal = condition("gatehouse.dev/Programmed", "RefusedByProxy");
    refusal["status"] = "False".into();
    refused["conditions"].as_array_mut().expect("conditions").push(refusal);
    let refused = timed(refused, "2026-01-01T00:00:00Z");
    set_status(&admin, &path, &json!({ "parents": [refused] })).await;
    let (hear, heard) = watch::channel(false);
    let config = WriterConfig { heard: Some(heard), ..WriterConfig::default() };
    let rig = rig_with(server, "refusals", config).await;
    rig.writer.write(change("HTTPRoute", "refusals", "r", Some(&json!({ "parents": [accepted] }))));
    eventually("it was looked at", async || (rig.writer.counts().unchanged == 1).then_some(())).await;
    assert_eq!(parents(&admin, &path, 1).await, [refused]);
    hear.send_replace(true);
    eventually("it is withdrawn", async || {
        let live = parents(&admin, &path, 1).await;
        (live[0]["conditions"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    assert_eq!(rig.writer.counts().written, 1);
}

#[tokio::test]
async fn overwritten_entry_is_repaired_with_its_old_time() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("drift", &json!({})).await;
    admin.create(&routes("drift"), &route("r", "a.example.com")).await;
    let path = format!("{}/r", routes("drift"));
    let mut rig = rig(server, "drift").await;
    let ours = json!({ "parents": [parent(OURS, "Accepted")] });
    rig.writer.write(change("HTTPRoute", "drift", "r", Some(&ours)));
    let written = parents(&admin, &path, 1).await;
    let mut spoilt = written[0].clone();
    spoilt["conditions"][0]["reason"] = "Spoilt".into();
    set_status(&admin, &path, &json!({ "parents": [spoilt] })).await;
    // The source must be read for its watches to go on.
    let repaired = async {
        eventually("repaired", async || (parents(&admin, &path, 1).await == written).then_some(())).await;
    };
    tokio::select! {
        () = repaired => {}
        () = rig.follow.until("for ever", |_| false) => {}
    }
}

#[tokio::test]
async fn gateway_keeps_foreign_conditions_and_loses_stale_listeners() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("conditions", &json!({})).await;
    admin.create(&gateways("conditions"), &gateway("eg")).await;
    let path = format!("{}/eg", gateways("conditions"));
    let foreign =
        timed(json!({ "conditions": [condition("example.com/Audited", "Audited")] }), "2026-01-01T00:00:00Z");
    let foreign = foreign["conditions"][0].clone();
    let listener = |name: &str, conditions: Value| {
        json!({
            "name": name, "attachedRoutes": 1, "supportedKinds": [], "conditions": conditions,
        })
    };
    let listeners = json!([listener("http", json!([foreign])), listener("gone", json!([foreign]))]);
    set_status(&admin, &path, &json!({ "conditions": [foreign], "listeners": listeners })).await;
    let rig = rig(server, "conditions").await;
    let ours = json!({
        "addresses": [{ "type": "IPAddress", "value": "192.0.2.7" }],
        "conditions": [condition("Accepted", "Accepted"), condition("Programmed", "Programmed")],
        "listeners": [listener("http", json!([condition("Accepted", "Accepted")]))],
    });
    rig.writer.write(change("Gateway", "conditions", "eg", Some(&ours)));
    let live = eventually("written", async || {
        let live = admin.get(&path).await;
        live["status"]["addresses"].is_array().then_some(live)
    })
    .await;
    let status = &live["status"];
    let types = |conditions: &Value| {
        let conditions = conditions.as_array().cloned().unwrap_or_default();
        conditions.iter().map(|c| c["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&status["conditions"]), ["example.com/Audited", "Accepted", "Programmed"]);
    assert_eq!(status["listeners"].as_array().map(Vec::len), Some(1));
    assert_eq!(types(&status["listeners"][0]["conditions"]), ["example.com/Audited", "Accepted"]);
    assert_eq!(rig.writer.counts().written, 1);
}

#[tokio::test]
async fn status_of_a_class_is_written_without_a_namespace() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("class-status", &json!({})).await;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "written" },
        "spec": { "controllerName": OURS },
    });
    admin.create(&format!("{GATEWAY_API}/gatewayclasses"), &class).await;
    let rig = rig(server, "class-status").await;
    let ours = json!({ "conditions": [condition("Accepted", "Accepted")], "supportedFeatures": [{ "name": "Gateway" }] });
    rig.writer.write(change("GatewayClass", "", "written", Some(&ours)));
    eventually("written", async || {
        let live = admin.get(&format!("{GATEWAY_API}/gatewayclasses/written")).await;
        (live["status"]["conditions"][0]["status"] == "True").then_some(())
    })
    .await;
}
