//! Election, the leader's label, and the certificate authority that the leader keeps.

use std::time::Duration;

use gatehouse_kube::ca::{Ca, CaConfig};
use gatehouse_kube::health::Health;
use gatehouse_kube::leader::{Leader, Leadership, LeaseConfig, OwnPod};
use gatehouse_testkit::apiserver::ApiServer;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::support::{Admin, PATIENCE, api, eventually, shared};

const LABEL: &str = "gatehouse.dev/leader";

fn candidate(server: &ApiServer, namespace: &str, pod: &str) -> Leader {
    let config = LeaseConfig {
        retry: Duration::from_millis(100),
        pod: Some(OwnPod { name: pod.into(), label: LABEL.into() }),
        ..LeaseConfig::new(namespace, "gatehouse", pod)
    };
    Leader::start(api(server, "admin"), config, Health::default())
}

async fn leads(leadership: &mut watch::Receiver<Leadership>) {
    tokio::time::timeout(PATIENCE, leadership.wait_for(Leadership::is_leader))
        .await
        .expect("leads in time")
        .expect("the candidate runs");
}

async fn labelled(admin: &Admin, namespace: &str) -> Vec<String> {
    let pods = admin.get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={LABEL}%3Dtrue")).await;
    let items = pods["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

async fn pods(admin: &Admin, namespace: &str, names: &[&str], labels: &Value) {
    for name in names {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        });
        admin.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod).await;
    }
}

#[tokio::test]
async fn released_lease_and_label_pass_to_the_standby_at_once() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("election", &json!({})).await;
    pods(&admin, "election", &["one", "two"], &json!({})).await;
    let first = candidate(server, "election", "one");
    leads(&mut first.watch()).await;
    let second = candidate(server, "election", "two");
    let mut waits = second.watch();
    let known = Leadership::Standby { holder: Some("one".into()) };
    tokio::time::timeout(PATIENCE, waits.wait_for(|state| *state == known))
        .await
        .expect("in time")
        .expect("runs");
    eventually("one has the label", async || (labelled(&admin, "election").await == ["one"]).then_some(()))
        .await;
    let released = std::time::Instant::now();
    first.release().await;
    leads(&mut waits).await;
    assert!(released.elapsed() < Duration::from_secs(10), "it waited for the lease to run out");
    eventually("two has the label", async || (labelled(&admin, "election").await == ["two"]).then_some(()))
        .await;
}

#[tokio::test]
async fn new_leader_takes_the_label_from_one_that_was_cut_off() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("cut-off", &json!({})).await;
    pods(&admin, "cut-off", &["old"], &json!({ LABEL: "true" })).await;
    pods(&admin, "cut-off", &["new"], &json!({})).await;
    let leader = candidate(server, "cut-off", "new");
    eventually("only new has it", async || (labelled(&admin, "cut-off").await == ["new"]).then_some(()))
        .await;
    leader.release().await;
    assert!(labelled(&admin, "cut-off").await.is_empty());
}

#[tokio::test]
async fn leader_makes_the_authority_and_standbys_use_the_same() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("authority", &json!({})).await;
    let config = CaConfig {
        every: Duration::from_millis(200),
        ..CaConfig::new("authority", "gatehouse-ca", vec!["gatehouse.authority.svc".into()])
    };
    let start = |leadership| Ca::start(api(server, "admin"), config.clone(), leadership, Health::default());
    let (_standby, leadership) = watch::channel(Leadership::Standby { holder: None });
    let standby = start(leadership);
    let mut waits = standby.watch();
    let (_leader, leadership) = watch::channel(Leadership::Leader);
    let leader = start(leadership);
    let bundle = async |material: &mut watch::Receiver<Option<_>>| {
        let material = tokio::time::timeout(PATIENCE, material.wait_for(Option::is_some)).await;
        let material: Option<gatehouse_kube::ca::Material> =
            material.expect("in time").expect("runs").clone();
        material.expect("some").bundle
    };
    let of_leader = bundle(&mut leader.watch()).await;
    assert_eq!(bundle(&mut waits).await, of_leader);
    // A new process finds what is stored.
    drop(leader);
    let (_leader, leadership) = watch::channel(Leadership::Leader);
    let again = start(leadership);
    assert_eq!(bundle(&mut again.watch()).await, of_leader);
    let secret = admin.get("/api/v1/namespaces/authority/secrets/gatehouse-ca").await;
    assert_eq!(secret["metadata"]["generation"], Value::Null);
    assert!(secret["data"]["ca.key"].is_string());
}
