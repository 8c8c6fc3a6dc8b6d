//! Rights that are missing, tokens, and events.

use gatehouse_kube::events::{Events, Note, Severity};
use gatehouse_kube::health::Health;
use gatehouse_kube::leader::Leadership;
use gatehouse_kube::source::{Scope, SourceConfig};
use gatehouse_kube::tokens::{TokenError, TokenReviewer};
use gatehouse_model::NamespacedName;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::follow::{Fact, Follow};
use super::objects::{route, routes, secret, secrets};
use super::support::{Admin, api, eventually, shared};

/// Verbs on resources.
fn rule(group: &str, resources: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"] })
}

#[tokio::test]
async fn rights_of_one_namespace_suffice_and_what_is_missing_is_named() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("rights", &json!({})).await;
    admin.create(&routes("rights"), &route("r", "a.example.com")).await;
    admin.create(&secrets("rights"), &secret("s", "1")).await;
    let gateway_api = "gateway.networking.k8s.io";
    admin
        .grant(
            "",
            "limited-classes",
            &json!([
                rule(gateway_api, &["gatewayclasses"]),
                rule("certificates.k8s.io", &["clustertrustbundles"]),
                rule("apiextensions.k8s.io", &["customresourcedefinitions"])
            ]),
        )
        .await;
    let scope = Scope::Namespaces(["rights".to_owned()].into());
    let mut follow = Follow::start(api(server, "limited"), SourceConfig { scope, ..SourceConfig::default() });
    let troubles = follow.health.watch();
    let subject = "watch httproutes.gateway.networking.k8s.io in namespace rights";
    let text = eventually("it says what is missing", async || troubles.borrow().get(subject).cloned()).await;
    for part in ["list httproutes.gateway.networking.k8s.io", "namespace rights", "ClusterRole \"gatehouse\""]
    {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(follow.synced, 0);

    let rules = json!([
        rule(gateway_api, &["gateways", "httproutes", "referencegrants", "listenersets"]),
        rule("", &["services"]),
        rule("discovery.k8s.io", &["endpointslices"]),
    ]);
    admin.grant("rights", "gatehouse", &rules).await;
    follow.synced().await;
    assert_eq!(follow.hostname("rights", "r"), Some("a.example.com"));
    assert!(troubles.borrow().get(subject).is_none());

    follow.handle.want_secrets(vec![(NamespacedName::new("rights", "s"), true)]);
    follow.until("it is unknown", |f| f.fact("Secret", "rights", "s") == Some(&Fact::Unknown)).await;
    // Nobody can know more of it: it holds up nothing.
    follow.handle.catch_up(1);
    follow.until("the rest is current", |follow| follow.caught_up == 1).await;
    admin.grant("rights", "gatehouse-secrets", &json!([rule("", &["secrets"])])).await;
    follow.until("it is read", |f| f.object("Secret", "rights", "s").is_some()).await;
}

/// A token for a pod's ServiceAccount, as kubelet would project it.
async fn token(admin: &Admin, namespace: &str, account: &str, audience: &str, pod: Option<&Value>) -> String {
    let bound = pod.map(|pod| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
        })
    });
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound },
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = admin.create(&path, &request).await;
    answer["status"]["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn token_names_its_pod_and_only_the_right_one_is_accepted() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("tokens", &json!({})).await;
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "eg" } });
    admin.create("/api/v1/namespaces/tokens/serviceaccounts", &account).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "eg-1" },
        "spec": { "serviceAccountName": "eg", "containers": [{ "name": "c", "image": "i" }] },
    });
    let pod = admin.create("/api/v1/namespaces/tokens/pods", &pod).await;
    let good = token(&admin, "tokens", "eg", "xds.gatehouse.dev", Some(&pod)).await;
    let other = token(&admin, "tokens", "eg", "elsewhere", Some(&pod)).await;

    let reviewer = TokenReviewer::new(api(server, "admin"), "xds.gatehouse.dev");
    let identity = reviewer.review(&good).await.expect("accepted");
    assert_eq!((identity.namespace.as_str(), identity.service_account.as_str()), ("tokens", "eg"));
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(identity.pod, Some(("eg-1".to_owned(), uid.to_owned())));
    let (signed, signature) = good.rsplit_once('.').expect("a JWT");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    for bad in [other.as_str(), forged.as_str(), "", "admin-token"] {
        assert!(matches!(reviewer.review(bad).await, Err(TokenError::Refused(_))), "{bad:.20}");
    }

    admin
        .call(http::Method::DELETE, "/api/v1/namespaces/tokens/pods/eg-1?gracePeriodSeconds=0", &Value::Null)
        .await;
    eventually("the pod's token ends with the pod", async || {
        // Asked past what is remembered.
        let fresh = TokenReviewer::new(api(server, "admin"), "xds.gatehouse.dev");
        matches!(fresh.review(&good).await, Err(TokenError::Refused(_))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn event_said_again_counts_up_and_a_standby_says_nothing() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("events", &json!({})).await;
    let live = admin.create(&routes("events"), &route("r", "a.example.com")).await;
    let start = |leadership| {
        Events::start(api(server, "admin"), "gatehouse.dev/c", "pod-1", leadership, Health::default())
    };
    let (_standby, leadership) = watch::channel(Leadership::Standby { holder: None });
    let standby = start(leadership);
    let (_leader, leadership) = watch::channel(Leadership::Leader);
    let events = start(leadership);
    let note = |text: &str| Note {
        object: gatehouse_api::ObjectRef {
            group: "gateway.networking.k8s.io".into(),
            kind: "HTTPRoute".into(),
            namespace: "events".into(),
            name: "r".into(),
        },
        severity: Severity::Warning,
        reason: "RefusedByProxy".into(),
        action: "Program".into(),
        text: text.into(),
    };
    standby.record(note("said by a standby"));
    let path = "/apis/events.k8s.io/v1/namespaces/events/events";
    eventually("a leader's event", async || {
        events.record(note("bad header"));
        let list = admin.get(path).await;
        let events = list["items"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["series"]["count"].as_i64().is_some_and(|count| count >= 2))
    })
    .await;
    let list = admin.get(path).await;
    let items = list["items"].as_array().expect("events");
    let of_ours: Vec<_> = items.iter().filter(|event| event["note"] == "bad header").collect();
    assert_eq!((of_ours.len(), items.len()), (1, 1), "{items:?}");
    assert_eq!(of_ours[0]["regarding"]["uid"], live["metadata"]["uid"]);
    assert_eq!(of_ours[0]["type"], "Warning");
}
