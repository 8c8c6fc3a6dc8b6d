//! What the cluster holds arrives, trimmed, and follows its changes.

use std::time::Duration;

use gatehouse_api::Object;
use gatehouse_kube::source::{Scope, SecretMode, SourceConfig};
use gatehouse_testkit::apiserver::{ApiServer, Channel, gateway_api_crds};
use serde_json::json;

use super::follow::{Fact, Follow};
use super::objects::{GATEWAY_API, backend_crd, envoy_gateway_crd, gateway, route, routes, secret, secrets};
use super::support::{Admin, api, eventually, shared};
use gatehouse_model::NamespacedName;

fn only(namespace: &str) -> SourceConfig {
    SourceConfig { scope: Scope::Namespaces([namespace.to_owned()].into()), ..SourceConfig::default() }
}

#[tokio::test]
async fn source_waits_for_crds_and_syncs_when_they_appear() {
    let server = ApiServer::start().await.expect("an API server");
    let mut follow = Follow::start(api(&server, "admin"), SourceConfig::default());
    let troubles = follow.health.watch();
    let text = eventually("says what it waits for", async || {
        troubles.borrow().get("CRD gateways.gateway.networking.k8s.io").cloned()
    })
    .await;
    assert!(text.contains("install"), "{text}");
    assert_eq!(follow.synced, 0);
    Admin::of(&server).install_crds().await;
    follow.synced().await;
    assert!(troubles.borrow().keys().all(|subject| !subject.starts_with("CRD")), "{:?}", troubles.borrow());
}

#[tokio::test]
async fn objects_arrive_trimmed_and_follow_edits_and_deletions() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("edits", &json!({ "team": "a" })).await;
    admin.create(&routes("edits"), &route("r", "a.example.com")).await;
    let mut follow = Follow::start(api(server, "admin"), only("edits"));
    follow.synced().await;
    assert_eq!(follow.hostname("edits", "r"), Some("a.example.com"));
    let meta = follow.object("HTTPRoute", "edits", "r").expect("a route").meta();
    assert!(meta.annotations.is_empty() && meta.resource_version.is_none(), "{meta:?}");
    let namespace = follow.object("Namespace", "", "edits").expect("a namespace").meta();
    assert_eq!(namespace.labels.get("team").map(String::as_str), Some("a"));

    let path = format!("{}/r", routes("edits"));
    admin.patch(&path, &json!({ "spec": { "hostnames": ["b.example.com"] } })).await;
    follow.until("the edit", |follow| follow.hostname("edits", "r") == Some("b.example.com")).await;
    admin.delete(&path).await;
    follow
        .until("the deletion", |follow| follow.fact("HTTPRoute", "edits", "r") == Some(&Fact::Absent))
        .await;
    assert_eq!(follow.synced, 1);
}

#[tokio::test]
async fn long_list_comes_in_pages_and_is_complete() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("pages", &json!({})).await;
    for i in 0..25 {
        admin.create(&routes("pages"), &route(&format!("r{i}"), "a.example.com")).await;
    }
    let mut follow = Follow::start(api(server, "admin"), SourceConfig { page_size: 4, ..only("pages") });
    follow.synced().await;
    let routes = follow.facts.keys().filter(|id| id.kind == "HTTPRoute" && id.namespace == "pages").count();
    assert_eq!(routes, 25);
}

#[tokio::test]
async fn object_written_as_v1beta1_arrives() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("beta", &json!({})).await;
    let mut old = gateway("eg");
    old["apiVersion"] = "gateway.networking.k8s.io/v1beta1".into();
    admin.create("/apis/gateway.networking.k8s.io/v1beta1/namespaces/beta/gateways", &old).await;
    let mut follow = Follow::start(api(server, "admin"), only("beta"));
    follow.until("the Gateway", |follow| follow.object("Gateway", "beta", "eg").is_some()).await;
}

#[tokio::test]
async fn optional_kind_is_followed_as_its_crd_comes_and_goes() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("optional", &json!({})).await;
    let config = SourceConfig {
        backends: true,
        probe_every: Duration::from_millis(200),
        vanish_after: Duration::from_millis(500),
        ..only("optional")
    };
    let mut follow = Follow::start(api(server, "admin"), config);
    follow.synced().await;
    admin.create_crd(&backend_crd()).await;
    let backend = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": { "name": "b" },
        "spec": { "endpoints": [] },
    });
    let collection = "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/optional/backends";
    admin.create(collection, &backend).await;
    follow.until("the Backend", |follow| follow.object("Backend", "optional", "b").is_some()).await;
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/backends.gateway.envoyproxy.io";
    admin.delete(crd).await;
    follow
        .until("its removal", |follow| follow.fact("Backend", "optional", "b") == Some(&Fact::Absent))
        .await;
    eventually("the CRD is gone", async || {
        admin.try_call(http::Method::GET, crd, &serde_json::Value::Null).await.err()
    })
    .await;
    admin.create_crd(&backend_crd()).await;
    admin.create(collection, &backend).await;
    follow.until("the Backend again", |follow| follow.object("Backend", "optional", "b").is_some()).await;
}

#[tokio::test]
async fn trust_bundles_are_read_in_the_version_that_is_served() {
    let server = shared().await;
    let admin = Admin::of(server);
    let mut follow = Follow::start(api(server, "admin"), only("bundles"));
    follow.synced().await;
    assert!(follow.trust_bundles, "whether there is such a kind is known by then");
    let bundle = json!({
        "apiVersion": "certificates.k8s.io/v1beta1", "kind": "ClusterTrustBundle", "metadata": { "name": "corporate" },
        "spec": { "trustBundle": gatehouse_testkit::certificates::FIRST.0 },
    });
    admin.create("/apis/certificates.k8s.io/v1beta1/clustertrustbundles", &bundle).await;
    let find = |follow: &Follow| match follow.object("ClusterTrustBundle", "", "corporate") {
        Some(Object::ClusterTrustBundle(bundle)) => bundle.spec.trust_bundle.contains("BEGIN CERTIFICATE"),
        _ => false,
    };
    follow.until("the bundle", find).await;
}

#[tokio::test]
async fn definitions_are_told_with_their_version_and_no_more() {
    let server = shared().await;
    let mut follow = Follow::start(api(server, "admin"), only("definitions"));
    follow.synced().await;
    let name = "httproutes.gateway.networking.k8s.io";
    let Some(Object::CustomResourceDefinition(definition)) =
        follow.object("CustomResourceDefinition", "", name)
    else {
        panic!("the definition of HTTPRoute")
    };
    assert!(definition.bundle_version().is_some_and(|version| version.starts_with("v1.")));
    assert_eq!(definition.metadata.annotations.len(), 1, "nothing else is kept");
    assert!(definition.metadata.labels.is_empty() && definition.metadata.uid.is_empty());
}

#[tokio::test]
async fn a_definition_that_is_exchanged_shows_what_the_old_one_hid() {
    let server = ApiServer::start().await.expect("an API server");
    let admin = Admin::of(&server);
    admin.install_crds().await;
    let own = |channel| {
        let mut crds = gateway_api_crds(channel).expect("CRDs").into_iter();
        crds.find(|crd| crd["spec"]["names"]["kind"] == "HTTPRoute").expect("the definition")
    };
    let (path, object) = (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io",
        format!("{}/r", routes("default")),
    );
    let exchange = async |channel, hides: bool| {
        let crd = own(channel);
        admin.patch(path, &json!({ "metadata": { "annotations": crd["metadata"]["annotations"] }, "spec": crd["spec"] })).await;
        eventually("the other definition", async || {
            let route = admin.try_call(http::Method::GET, &object, &serde_json::Value::Null).await.ok()?;
            (route["spec"]["rules"][0]["sessionPersistence"].is_null() == hides).then_some(())
        })
        .await;
    };
    let mut sticky = route("r", "a.example.com");
    sticky["spec"]["rules"] =
        json!([{ "sessionPersistence": { "type": "Header", "header": { "name": "x" } } }]);
    admin.create(&routes("default"), &route("r", "a.example.com")).await;
    let crd = own(Channel::Experimental);
    admin
        .patch(
            path,
            &json!({ "metadata": { "annotations": crd["metadata"]["annotations"] }, "spec": crd["spec"] }),
        )
        .await;
    eventually("the field", async || {
        let written =
            admin.try_call(http::Method::PATCH, &object, &json!({ "spec": sticky["spec"] })).await.ok()?;
        written["spec"]["rules"][0]["sessionPersistence"].is_object().then_some(())
    })
    .await;
    exchange(Channel::Standard, true).await;

    let mut follow = Follow::start(api(&server, "admin"), SourceConfig::default());
    follow.synced().await;
    let has_field = |follow: &Follow| match follow.object("HTTPRoute", "default", "r") {
        Some(Object::HTTPRoute(route)) => route.spec.rules[0].session_persistence.is_some(),
        _ => false,
    };
    assert!(!has_field(&follow));
    exchange(Channel::Experimental, false).await;
    follow.until("the field", has_field).await;
}

#[tokio::test]
async fn parameters_of_classes_are_seen_outside_of_the_watched_namespaces() {
    let server = shared().await;
    let admin = Admin::of(server);
    for namespace in ["params-in", "params-own", "params-out"] {
        admin.namespace(namespace, &json!({})).await;
    }
    admin.create_crd(&envoy_gateway_crd("EnvoyProxy", "envoyproxies")).await;
    let config = SourceConfig {
        parameters: Some("params-own".to_owned()),
        probe_every: Duration::from_millis(200),
        ..only("params-in")
    };
    let mut follow = Follow::start(api(server, "admin"), config);
    follow.synced().await;
    let proxy = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy", "metadata": { "name": "p" },
        "spec": { "concurrency": 2, "mergeGateways": true },
    });
    let collection =
        |namespace: &str| format!("/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{namespace}/envoyproxies");
    for namespace in ["params-out", "params-own", "params-in"] {
        admin.create(&collection(namespace), &proxy).await;
    }
    for namespace in ["params-own", "params-in"] {
        follow.until("the EnvoyProxy", |follow| follow.object("EnvoyProxy", namespace, "p").is_some()).await;
    }
    assert_eq!(follow.fact("EnvoyProxy", "params-out", "p"), None);
    admin.delete(&format!("{}/p", collection("params-own"))).await;
    follow
        .until("its end", |follow| follow.fact("EnvoyProxy", "params-own", "p") == Some(&Fact::Absent))
        .await;
}

#[tokio::test]
async fn namespaces_enter_and_leave_a_selector() {
    let server = shared().await;
    let admin = Admin::of(server);
    for (name, team) in [("sel-in", "selected"), ("sel-out", "other")] {
        admin.namespace(name, &json!({ "team": team })).await;
        admin.create(&routes(name), &route("r", "a.example.com")).await;
    }
    let config = SourceConfig { scope: Scope::Selector("team=selected".into()), ..SourceConfig::default() };
    let mut follow = Follow::start(api(server, "admin"), config);
    follow.synced().await;
    assert!(follow.hostname("sel-in", "r").is_some());
    assert_eq!(follow.fact("HTTPRoute", "sel-out", "r"), None);
    admin
        .patch("/api/v1/namespaces/sel-out", &json!({ "metadata": { "labels": { "team": "selected" } } }))
        .await;
    follow.until("it enters", |follow| follow.hostname("sel-out", "r").is_some()).await;
    admin.patch("/api/v1/namespaces/sel-in", &json!({ "metadata": { "labels": { "team": "other" } } })).await;
    follow.until("it leaves", |follow| follow.fact("HTTPRoute", "sel-in", "r") == Some(&Fact::Absent)).await;
}

fn want(namespace: &str, name: &str) -> (NamespacedName, bool) {
    (NamespacedName::new(namespace, name), true)
}

#[tokio::test]
async fn wanted_secrets_are_answered_and_no_others() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("wants", &json!({})).await;
    for name in ["wanted", "other"] {
        admin.create(&secrets("wants"), &secret(name, "1")).await;
    }
    let mut follow = Follow::start(api(server, "admin"), SourceConfig::default());
    follow.synced().await;
    follow.handle.want_secrets(vec![want("wants", "wanted"), want("wants", "missing")]);
    follow
        .until("both answers", |follow| {
            follow.object("Secret", "wants", "wanted").is_some()
                && follow.fact("Secret", "wants", "missing") == Some(&Fact::Absent)
        })
        .await;
    assert_eq!(follow.fact("Secret", "wants", "other"), None);
    admin.create(&secrets("wants"), &secret("missing", "2")).await;
    follow.until("it appears", |follow| follow.object("Secret", "wants", "missing").is_some()).await;
    admin.delete(&format!("{}/wanted", secrets("wants"))).await;
    follow.until("it goes", |follow| follow.fact("Secret", "wants", "wanted") == Some(&Fact::Absent)).await;
    follow.handle.want_secrets(vec![(NamespacedName::new("wants", "missing"), false)]);
    follow.until("it is dropped", |f| f.fact("Secret", "wants", "missing") == Some(&Fact::Unknown)).await;
}

#[tokio::test]
async fn namespace_with_many_wanted_secrets_is_watched_as_a_whole() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("many", &json!({})).await;
    for name in ["s0", "s1", "s2", "other"] {
        admin.create(&secrets("many"), &secret(name, "1")).await;
    }
    let config = SourceConfig { secrets_per_namespace: 2, ..SourceConfig::default() };
    let mut follow = Follow::start(api(server, "admin"), config);
    follow.synced().await;
    follow.handle.want_secrets(vec![
        want("many", "s0"),
        want("many", "s1"),
        want("many", "s2"),
        want("many", "s3"),
    ]);
    follow
        .until("all answers", |follow| {
            ["s0", "s1", "s2"].iter().all(|name| follow.object("Secret", "many", name).is_some())
                && follow.fact("Secret", "many", "s3") == Some(&Fact::Absent)
        })
        .await;
    assert_eq!(follow.fact("Secret", "many", "other"), None);
    follow.handle.want_secrets(vec![want("many", "other")]);
    follow.until("one more", |follow| follow.object("Secret", "many", "other").is_some()).await;
    admin.create(&secrets("many"), &secret("s3", "1")).await;
    follow.until("it appears", |follow| follow.object("Secret", "many", "s3").is_some()).await;
}

#[tokio::test]
async fn secret_outside_of_the_permitted_namespaces_counts_as_absent() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("not-permitted", &json!({})).await;
    admin.create(&secrets("not-permitted"), &secret("s", "1")).await;
    let secrets = SecretMode::Namespaces(["elsewhere".to_owned()].into());
    let mut follow = Follow::start(api(server, "admin"), SourceConfig { secrets, ..SourceConfig::default() });
    follow.handle.want_secrets(vec![want("not-permitted", "s")]);
    follow.until("an answer", |f| f.fact("Secret", "not-permitted", "s") == Some(&Fact::Absent)).await;
    assert!(follow.health.watch().borrow().contains_key("Secret not-permitted/s"));
}

#[tokio::test]
async fn gateway_class_is_followed_without_a_namespace() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("classes", &json!({})).await;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "followed" },
        "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" },
    });
    admin.create(&format!("{GATEWAY_API}/gatewayclasses"), &class).await;
    let mut follow = Follow::start(api(server, "admin"), only("classes"));
    follow.synced().await;
    assert!(follow.object("GatewayClass", "", "followed").is_some());
}
