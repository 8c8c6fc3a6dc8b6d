//! What the applier does to a cluster.

use gatehouse_infra::{AddressKind, Placement};
use gatehouse_testkit::apiserver::ApiServer;
use serde_json::{Value, json};

use super::rig::{Cluster, Rig};

const CLUSTER_IP: &str =
    "parameters: {provider: {type: Kubernetes, kubernetes: {envoyService: {type: ClusterIP}}}}";

/// One server for all, as starting one takes longer than a scenario; every scenario has a namespace and a controller of
/// its own.
#[tokio::test]
async fn the_cluster_becomes_and_stays_as_wanted() {
    let mut server = ApiServer::start().await.expect("an API server");
    let cluster = Cluster::new(server.client("admin").expect("a client"));
    a_plan_becomes_objects_and_an_address(&cluster).await;
    drift_is_repaired_and_additions_of_others_stay(&cluster).await;
    a_restart_writes_nothing_and_takes_leftovers_away_only_when_complete(&cluster).await;
    foreign_objects_are_named_and_never_seized(&cluster).await;
    gateways_whose_names_collide_both_get_objects(&cluster).await;
    handing_over_to_an_autoscaler_never_drops_replicas(&cluster).await;
    what_replaces_a_workload_is_ready_before_the_old_one_goes(&cluster).await;
    what_keeps_pods_from_starting_is_told(&cluster).await;
    what_the_load_balancer_says_is_told_while_there_is_no_address(&cluster).await;
    fleets_in_the_controllers_namespace_go_without_an_owner(&cluster).await;
    an_outage_is_made_up_for(&cluster, &mut server).await;
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

async fn a_plan_becomes_objects_and_an_address(cluster: &Cluster) {
    let rig = Rig::new(cluster, "basic", Placement::GatewayNamespace).await;
    let mut run = rig.start();
    let plan = rig.plan(CLUSTER_IP);
    run.want(&[&plan], true).await;
    let state = run.state(&plan, |state| !state.addresses.is_empty() && state.wanted_replicas == 1).await;
    assert_eq!(state.addresses[0].0, AddressKind::Ip);
    let service = cluster.get(&rig.core("services", "web-eg")).await.expect("a Service");
    assert_eq!(service["spec"]["clusterIP"], *state.addresses[0].1);
    for path in [
        rig.core("serviceaccounts", "web-eg"),
        rig.core("configmaps", "web-eg"),
        rig.apps("deployments", "web-eg"),
    ] {
        cluster.until("an object", &path, |found| found.is_some()).await;
    }
    // Listeners come and go: the Service changes, the Deployment does not.
    let deployment = cluster.get(&rig.apps("deployments", "web-eg")).await.expect("a Deployment");
    let more = rig.plan(&format!("ports: [80, 443, 53/udp]\n{CLUSTER_IP}"));
    run.want(&[&more], true).await;
    let three = |found: Option<&Value>| {
        found.is_some_and(|found| found["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 3))
    };
    cluster.until("three ports", &rig.core("services", "web-eg"), three).await;
    // A port that somebody added stays theirs; those of listeners that are gone leave.
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-eg"}, "spec": {
        "ports": [{"name": "theirs", "port": 7000, "protocol": "TCP"}],
    }});
    let added = format!("{}?fieldManager=somebody", rig.core("services", "web-eg"));
    cluster.send("PATCH", &added, "application/apply-patch+yaml", &theirs).await.expect("a port");
    run.want(&[&plan], true).await;
    let ports = |wanted: &'static [u64]| {
        move |found: Option<&Value>| {
            let ports = found.and_then(|found| found["spec"]["ports"].as_array()).into_iter().flatten();
            ports.filter_map(|port| port["port"].as_u64()).collect::<std::collections::BTreeSet<_>>()
                == wanted.iter().copied().collect()
        }
    };
    let after = cluster.until("two ports", &rig.core("services", "web-eg"), ports(&[80, 7000])).await;
    assert_eq!(after["spec"]["clusterIP"], service["spec"]["clusterIP"]);
    let same = cluster.get(&rig.apps("deployments", "web-eg")).await.expect("a Deployment");
    assert_eq!(version(&same), version(&deployment));
    // Without any listener the Service keeps its address.
    let none = rig.plan(&format!("ports: []\nlabels: {{marked: x}}\n{CLUSTER_IP}"));
    run.want(&[&none], true).await;
    let marked =
        |found: Option<&Value>| found.is_some_and(|found| found["metadata"]["labels"]["marked"] == "x");
    cluster.until("a label", &rig.apps("deployments", "web-eg"), marked).await;
    run.end(&plan).await;
    for path in
        [rig.apps("deployments", "web-eg"), rig.core("services", "web-eg"), rig.core("configmaps", "web-eg")]
    {
        cluster.until("its end", &path, |found| found.is_none()).await;
    }
    run.stop().await;
}

async fn drift_is_repaired_and_additions_of_others_stay(cluster: &Cluster) {
    let rig = Rig::new(cluster, "drift", Placement::GatewayNamespace).await;
    let run = rig.start();
    let plan = rig.plan(CLUSTER_IP);
    run.want(&[&plan], true).await;
    let (service, deployment) = (rig.core("services", "web-eg"), rig.apps("deployments", "web-eg"));
    cluster.until("a Deployment", &deployment, |found| found.is_some()).await;
    cluster.merge(&service, json!({"metadata": {"annotations": {"theirs": "x"}}, "spec": {"selector": {"app.kubernetes.io/name": "other"}}})).await;
    let repaired = |found: Option<&Value>| {
        found.is_some_and(|found| found["spec"]["selector"]["app.kubernetes.io/name"] == "envoy")
    };
    let found = cluster.until("a repaired selector", &service, repaired).await;
    assert_eq!(found["metadata"]["annotations"]["theirs"], "x");
    // Quantities read in another way than we wrote them; that is no drift.
    let before = cluster.get(&deployment).await.expect("a Deployment");
    cluster.merge(&deployment, json!({"metadata": {"labels": {"theirs": "x"}}})).await;
    cluster.delete(&rig.core("configmaps", "web-eg")).await;
    cluster.until("a ConfigMap again", &rig.core("configmaps", "web-eg"), |found| found.is_some()).await;
    let after = cluster.get(&deployment).await.expect("a Deployment");
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
    cluster.delete(&deployment).await;
    let uid = after["metadata"]["uid"].clone();
    let another = |found: Option<&Value>| found.is_some_and(|found| found["metadata"]["uid"] != uid);
    cluster.until("another Deployment", &deployment, another).await;
    // A label of ours that is gone hides the object from the watch; it comes back all the same.
    cluster.merge(&service, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}})).await;
    let labelled = |found: Option<&Value>| {
        found.is_some_and(|found| found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "gatehouse")
    };
    cluster.until("the label again", &service, labelled).await;
    run.stop().await;
}

async fn a_restart_writes_nothing_and_takes_leftovers_away_only_when_complete(cluster: &Cluster) {
    let rig = Rig::new(cluster, "restart", Placement::GatewayNamespace).await;
    let (plan, other) = (rig.plan(CLUSTER_IP), rig.plan(&format!("name: other\n{CLUSTER_IP}")));
    let kept = rig.plan(&format!("name: kept\n{CLUSTER_IP}"));
    let mut run = rig.start();
    run.want(&[&plan, &other, &kept], true).await;
    for plan in [&plan, &other, &kept] {
        run.state(plan, |state| state.wanted_replicas == 1 && !state.addresses.is_empty()).await;
    }
    run.stop().await;
    let paths = |name: &str| {
        [
            rig.core("services", name),
            rig.core("configmaps", name),
            rig.apps("deployments", name),
            rig.core("serviceaccounts", name),
        ]
    };
    let mut before = Vec::new();
    for path in paths("web-eg") {
        before.push(cluster.get(&path).await.expect("an object"));
    }
    let mut run = rig.start();
    run.want(&[&plan], false).await;
    run.state(&plan, |state| state.wanted_replicas == 1 && !state.addresses.is_empty()).await;
    // Once more through the whole work, so that what the first round wrote would be seen.
    let marked = rig.plan(&format!("ports: [80, 81]\n{CLUSTER_IP}"));
    run.want(&[&marked], false).await;
    let two = |found: Option<&Value>| {
        found.is_some_and(|found| found["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 2))
    };
    cluster.until("two ports", &rig.core("services", "web-eg"), two).await;
    for (path, before) in paths("web-eg").iter().zip(&before).skip(1) {
        let after = cluster.get(path).await.expect("an object");
        assert_eq!(version(&after), version(before), "{path} was written");
    }
    for path in paths("other-eg") {
        assert!(cluster.get(&path).await.is_some(), "{path} went before everything was known");
    }
    run.keep(&kept).await;
    for path in paths("other-eg") {
        cluster.until("the end of leftovers", &path, |found| found.is_none()).await;
    }
    for path in paths("web-eg").iter().chain(&paths("kept-eg")) {
        assert!(cluster.get(path).await.is_some(), "{path} went");
    }
    run.end(&kept).await;
    for path in paths("kept-eg") {
        cluster.until("the end of what was kept", &path, |found| found.is_none()).await;
    }
    run.stop().await;
}

async fn foreign_objects_are_named_and_never_seized(cluster: &Cluster) {
    let rig = Rig::new(cluster, "foreign", Placement::GatewayNamespace).await;
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-eg", "namespace": "foreign"},
        "spec": {"ports": [{"port": 7}]},
    });
    cluster
        .send("POST", "/api/v1/namespaces/foreign/services", "application/json", &theirs)
        .await
        .expect("a Service");
    let before = cluster.get(&rig.core("services", "web-eg")).await.expect("a Service");
    let mut run = rig.start();
    let plan = rig.plan(CLUSTER_IP);
    run.want(&[&plan], true).await;
    let state = run.state(&plan, |state| !state.foreign.is_empty()).await;
    assert!(state.foreign[0].starts_with("Service foreign/web-eg exists and is not ours"), "{state:?}");
    let after = cluster.get(&rig.core("services", "web-eg")).await.expect("a Service");
    assert_eq!(version(&before), version(&after));
    cluster.until("everything else", &rig.apps("deployments", "web-eg"), |found| found.is_some()).await;
    cluster.delete(&rig.core("services", "web-eg")).await;
    let state = run.state(&plan, |state| state.foreign.is_empty() && !state.addresses.is_empty()).await;
    assert_eq!(state.accounts, [("foreign".to_owned(), "web-eg".to_owned())]);
    // An account of another Gateway's proxies, or of anybody else, cannot be had by naming it.
    let thief = rig.plan(
        "name: thief\nparameters: {provider: {type: Kubernetes, kubernetes: {envoyServiceAccount: {name: web-eg}}}}",
    );
    run.want(&[&thief], true).await;
    let state = run.state(&thief, |state| !state.foreign.is_empty()).await;
    assert_eq!(state.foreign, ["ServiceAccount foreign/web-eg belongs to Gateway foreign/web"]);
    assert_eq!(state.accounts, []);
    assert_eq!(cluster.get(&rig.apps("deployments", "thief-eg")).await, None);
    run.stop().await;
}

async fn gateways_whose_names_collide_both_get_objects(cluster: &Cluster) {
    let rig = Rig::new(cluster, "collision", Placement::GatewayNamespace).await;
    let mut run = rig.start();
    let first = rig.plan(&format!("name: a\nclass: b-c\n{CLUSTER_IP}"));
    let second = rig.plan(&format!("name: a-b\nclass: c\n{CLUSTER_IP}"));
    run.want(&[&second], true).await;
    let held = run.state(&second, |state| !state.addresses.is_empty()).await;
    run.want(&[&first], true).await;
    let other = run.state(&first, |state| !state.addresses.is_empty() && state.foreign.is_empty()).await;
    assert_ne!(held.addresses, other.addresses);
    let service = cluster.get(&rig.core("services", "a-b-c")).await.expect("a Service");
    assert_eq!(service["metadata"]["annotations"]["gatehouse.dev/gateway"], "collision/a-b");
    run.stop().await;
}

async fn handing_over_to_an_autoscaler_never_drops_replicas(cluster: &Cluster) {
    let rig = Rig::new(cluster, "scaling", Placement::GatewayNamespace).await;
    let run = rig.start();
    let text = |kubernetes: &str| {
        format!("parameters: {{provider: {{type: Kubernetes, kubernetes: {{{kubernetes}}}}}}}")
    };
    let deployment = rig.apps("deployments", "web-eg");
    let replicas = |wanted: u64| {
        move |found: Option<&Value>| found.is_some_and(|found| found["spec"]["replicas"] == wanted)
    };
    run.want(&[&rig.plan(&text("envoyDeployment: {replicas: 3}"))], true).await;
    let created = cluster.until("three replicas", &deployment, replicas(3)).await;
    run.want(&[&rig.plan(&text("envoyDeployment: {replicas: 3}, envoyHpa: {maxReplicas: 9}"))], true).await;
    cluster.until("an autoscaler", &rig.hpa("web-eg"), |found| found.is_some()).await;
    let handed = cluster.get(&deployment).await.expect("a Deployment");
    // One write that counts (annotations do), and the count is as before: it was not another one for a moment.
    let generation = |object: &Value| object["metadata"]["generation"].as_u64().expect("a generation");
    assert_eq!(generation(&handed), generation(&created) + 1);
    assert_eq!(handed["spec"]["replicas"], 3);
    // As the autoscaler's controller does it.
    let scale = format!("{deployment}/scale?fieldManager=kube-controller-manager");
    cluster.merge(&scale, json!({"spec": {"replicas": 5}})).await;
    let labelled = rig.plan(&format!(
        "labels: {{more: x}}\n{}",
        text("envoyDeployment: {replicas: 3}, envoyHpa: {maxReplicas: 9}")
    ));
    run.want(&[&labelled], true).await;
    let marked =
        |found: Option<&Value>| found.is_some_and(|found| found["metadata"]["labels"]["more"] == "x");
    assert_eq!(cluster.until("a label", &deployment, marked).await["spec"]["replicas"], 5);
    // An autoscaler that others made counts as well; without one, the count is ours again.
    let theirs = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
        "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-eg"}},
    });
    let all = rig.hpa("");
    cluster
        .send("POST", all.trim_end_matches('/'), "application/json", &theirs)
        .await
        .expect("an autoscaler");
    run.want(&[&rig.plan(&format!("labels: {{more: y}}\n{}", text("envoyDeployment: {replicas: 2}")))], true)
        .await;
    cluster.until("its end", &rig.hpa("web-eg"), |found| found.is_none()).await;
    let marked =
        |found: Option<&Value>| found.is_some_and(|found| found["metadata"]["labels"]["more"] == "y");
    assert_eq!(cluster.until("a label", &deployment, marked).await["spec"]["replicas"], 5);
    cluster.delete(&rig.hpa("theirs")).await;
    run.want(&[&rig.plan(&format!("labels: {{more: z}}\n{}", text("envoyDeployment: {replicas: 2}")))], true)
        .await;
    cluster.until("two replicas", &deployment, replicas(2)).await;
    run.stop().await;
}

async fn what_replaces_a_workload_is_ready_before_the_old_one_goes(cluster: &Cluster) {
    let rig = Rig::new(cluster, "renamed", Placement::GatewayNamespace).await;
    let run = rig.start();
    run.want(&[&rig.plan(CLUSTER_IP)], true).await;
    let old = rig.apps("deployments", "web-eg");
    cluster.until("a Deployment", &old, |found| found.is_some()).await;
    let renamed = "parameters: {provider: {type: Kubernetes, kubernetes: {envoyService: {type: ClusterIP}, envoyDeployment: {name: edge}}}}";
    run.want(&[&rig.plan(renamed)], true).await;
    let new = rig.apps("deployments", "edge");
    cluster.until("another Deployment", &new, |found| found.is_some()).await;
    // A second round of work, so that the first would have pruned.
    run.want(&[&rig.plan(&format!("labels: {{more: x}}\n{renamed}"))], true).await;
    let marked =
        |found: Option<&Value>| found.is_some_and(|found| found["metadata"]["labels"]["more"] == "x");
    let made = cluster.until("a label", &new, marked).await;
    assert!(cluster.get(&old).await.is_some(), "the old one went before the new one was ready");
    let status = json!({"status": {
        "observedGeneration": made["metadata"]["generation"], "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    }});
    cluster.merge(&format!("{new}/status"), status).await;
    cluster.until("the end of the old one", &old, |found| found.is_none()).await;
    run.stop().await;
}

async fn what_keeps_pods_from_starting_is_told(cluster: &Cluster) {
    let rig = Rig::new(cluster, "pods", Placement::GatewayNamespace).await;
    let mut run = rig.start();
    let plan = rig.plan(CLUSTER_IP);
    run.want(&[&plan], true).await;
    let deployment = rig.apps("deployments", "web-eg");
    let found = cluster.until("a Deployment", &deployment, |found| found.is_some()).await;
    // What the API server would let a controller make of the template; nobody does here.
    let template = &found["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = "web-eg-1".into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let pods = rig.core("pods", "");
    cluster.send("POST", pods.trim_end_matches('/'), "application/json", &pod).await.expect("a Pod");
    let status = json!({"status": {"containerStatuses": [{
        "name": "envoy", "image": "none:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}},
    }]}});
    cluster.merge(&format!("{}/status", rig.core("pods", "web-eg-1")), status).await;
    let state = run.state(&plan, |state| !state.problems.is_empty()).await;
    assert!(state.problems[0].contains("none:1 does not start: the image cannot be pulled"), "{state:?}");
    run.stop().await;
}

async fn what_the_load_balancer_says_is_told_while_there_is_no_address(cluster: &Cluster) {
    let rig = Rig::new(cluster, "pending", Placement::GatewayNamespace).await;
    let mut run = rig.start();
    let plan = rig.plan("name: web");
    run.want(&[&plan], true).await;
    let says = |words: &'static str| {
        move |state: &gatehouse_infra::InfraState| {
            state.problems.iter().any(|problem| problem.contains(words))
        }
    };
    run.state(&plan, says("no load balancer gave one")).await;
    let path = rig.core("services", "web-eg");
    let service = cluster.get(&path).await.expect("a Service");
    let about = |name: &str, uid: &Value, message: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "name": "web-eg", "namespace": "pending", "uid": uid,
            },
            "type": "Warning", "reason": "AllocationFailed", "message": message,
            "source": {"component": "balancer"}, "lastTimestamp": "2026-01-01T00:00:00Z",
        })
    };
    let events = rig.core("events", "");
    let events = events.trim_end_matches('/');
    for event in [
        about("of-another", &json!("another"), "another Service's"),
        about("of-this", &service["metadata"]["uid"], "no available addresses"),
    ] {
        cluster.send("POST", events, "application/json", &event).await.expect("an Event");
    }
    let told = "Service pending/web-eg has no address yet: AllocationFailed: no available addresses";
    run.state(&plan, says(told)).await;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    cluster.merge(&format!("{path}/status"), status).await;
    let state = run.state(&plan, |state| !state.addresses.is_empty()).await;
    assert!(state.problems.is_empty(), "{state:?}");
    run.stop().await;
}

async fn fleets_in_the_controllers_namespace_go_without_an_owner(cluster: &Cluster) {
    let rig = Rig::new(cluster, "controllers", Placement::ControllerNamespace).await;
    let run = rig.start();
    let plan = {
        let mut plan = (*rig.plan(CLUSTER_IP)).clone();
        plan.fleet.0.namespace = "elsewhere".into();
        std::sync::Arc::new(plan)
    };
    run.want(&[&plan], true).await;
    let list = rig.core("services", "");
    let list = list.trim_end_matches('/');
    let one = |found: Option<&Value>| {
        found.is_some_and(|found| found["items"].as_array().is_some_and(|items| items.len() == 1))
    };
    let services = cluster.until("a Service", list, one).await;
    let meta = &services["items"][0]["metadata"];
    assert!(meta["name"].as_str().is_some_and(|name| name.starts_with("envoy-elsewhere-web-")), "{meta}");
    assert!(meta["ownerReferences"].is_null());
    run.end(&plan).await;
    let none = |found: Option<&Value>| {
        found.is_some_and(|found| found["items"].as_array().is_some_and(Vec::is_empty))
    };
    cluster.until("its end", list, none).await;
    run.stop().await;
}

async fn an_outage_is_made_up_for(cluster: &Cluster, server: &mut ApiServer) {
    let rig = Rig::new(cluster, "outage", Placement::GatewayNamespace).await;
    let mut run = rig.start();
    let plan = rig.plan(CLUSTER_IP);
    run.want(&[&plan], true).await;
    run.state(&plan, |state| !state.addresses.is_empty()).await;
    server.stop();
    let more = rig.plan(&format!("ports: [80, 443]\n{CLUSTER_IP}"));
    run.want(&[&more], true).await;
    let state = run.state(&plan, |state| !state.problems.is_empty()).await;
    assert!(!state.addresses.is_empty(), "an outage takes no address away: {state:?}");
    server.resume().await.expect("an API server");
    let two = |found: Option<&Value>| {
        found.is_some_and(|found| found["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 2))
    };
    cluster.until("two ports", &rig.core("services", "web-eg"), two).await;
    run.state(&plan, |state| state.problems.is_empty()).await;
    run.stop().await;
}
