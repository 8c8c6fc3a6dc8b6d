//! Pods that are selected: those and no others, and an answer when they have been told.

use gatehouse_api::Object;
use gatehouse_kube::source::{Scope, SourceConfig};
use gatehouse_translate::PodSelection;
use serde_json::{Value, json};

use super::follow::{Fact, Follow};
use super::support::{Admin, api, shared};

fn selection(namespace: &str, labels: &[(&str, &str)]) -> PodSelection {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    PodSelection { namespace: namespace.into(), labels }
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels, "annotations": { "a": "b" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }], "automountServiceAccountToken": false } })
}

fn only(namespace: &str) -> SourceConfig {
    SourceConfig { scope: Scope::Namespaces([namespace.to_owned()].into()), ..SourceConfig::default() }
}

fn names(follow: &Follow) -> Vec<&str> {
    let present =
        follow.facts.iter().filter(|(id, fact)| id.kind == "Pod" && matches!(fact, Fact::Present(_)));
    present.map(|(id, _)| id.name.as_str()).collect()
}

#[tokio::test]
async fn selected_pods_are_told_before_the_answer_and_followed_until_nobody_wants_them() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("pods", &json!({})).await;
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
    // Whether something makes it in this server does not matter.
    let _ = admin.try_call(http::Method::POST, "/api/v1/namespaces/pods/serviceaccounts", &account).await;
    for (name, labels) in [
        ("a", json!({ "app": "one", "tier": "web" })),
        ("b", json!({ "app": "two" })),
        ("c", json!({ "app": "three" })),
    ] {
        admin.create(&pods("pods"), &pod(name, &labels)).await;
    }
    let mut follow = Follow::start(api(server, "admin"), only("pods"));
    follow.synced().await;
    let one = selection("pods", &[("app", "one"), ("tier", "web")]);
    follow.handle.want_pods(vec![(one.clone(), true)]);
    follow.until("the answer", |follow| follow.selected.contains(&one)).await;
    assert_eq!(names(&follow), ["a"]);
    let Some(Object::Pod(a)) = follow.object("Pod", "pods", "a") else { panic!("no pod") };
    assert!(a.metadata.annotations.is_empty() && a.metadata.uid.is_empty() && a.status.conditions.is_empty());

    let ready = json!({ "status": { "phase": "Running", "podIP": "10.0.0.9",
        "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Initialized", "status": "True" }] } });
    admin.patch(&format!("{}/a/status", pods("pods")), &ready).await;
    let is_ready = |follow: &Follow| matches!(follow.object("Pod", "pods", "a"), Some(Object::Pod(pod)) if pod.is_ready());
    follow.until("it is ready", is_ready).await;

    let two = selection("pods", &[("app", "two")]);
    follow.handle.want_pods(vec![(two.clone(), true)]);
    follow.until("the second answer", |follow| follow.selected.contains(&two)).await;
    assert_eq!(names(&follow), ["a", "b"]);
    follow.handle.want_pods(vec![(one.clone(), false)]);
    follow.until("nobody wants it", |follow| follow.fact("Pod", "pods", "a") == Some(&Fact::Absent)).await;

    admin
        .patch(&format!("{}/b", pods("pods")), &json!({ "metadata": { "labels": { "app": "other" } } }))
        .await;
    follow.until("it left", |follow| follow.fact("Pod", "pods", "b") == Some(&Fact::Absent)).await;
    follow.handle.want_pods(vec![(two.clone(), false), (one.clone(), true)]);
    follow.until("back again", |follow| names(follow) == ["a"]).await;
    follow.handle.want_pods(vec![(one.clone(), false)]);
    follow.until("none is left", |follow| names(follow).is_empty()).await;

    follow.selected.clear();
    follow.handle.want_pods(vec![(one.clone(), true)]);
    follow.until("the watch that rested works", |follow| follow.selected.contains(&one)).await;
    assert_eq!(names(&follow), ["a"]);
    follow.handle.catch_up(1);
    follow.until("all is current", |follow| follow.caught_up == 1).await;
}

#[tokio::test]
async fn pods_that_may_not_be_read_are_none_and_the_missing_right_is_named() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("no-pods", &json!({})).await;
    let rule = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"] });
    let rules = json!([
        rule("gateway.networking.k8s.io", &["gateways", "httproutes", "referencegrants", "listenersets"]),
        rule("", &["services"]),
        rule("discovery.k8s.io", &["endpointslices"]),
    ]);
    admin.grant("no-pods", "gatehouse", &rules).await;
    let classes = json!([rule("gateway.networking.k8s.io", &["gatewayclasses"])]);
    admin.grant("", "limited-classes-of-pods", &classes).await;
    let mut follow = Follow::start(api(server, "limited"), only("no-pods"));
    follow.synced().await;
    let wanted = selection("no-pods", &[("app", "one")]);
    follow.handle.want_pods(vec![(wanted.clone(), true)]);
    follow.until("an answer all the same", |follow| follow.selected.contains(&wanted)).await;
    let troubles = follow.health.watch();
    let named = troubles.borrow().values().any(|text| text.contains("list pods"));
    assert!(named, "{:?}", troubles.borrow());
    follow.handle.catch_up(1);
    follow.until("it holds up nothing", |follow| follow.caught_up == 1).await;
}
