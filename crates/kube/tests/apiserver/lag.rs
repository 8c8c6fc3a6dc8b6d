//! What is known is vouched for only when it is as new as what the API server has.

use std::time::Duration;

use futures_util::StreamExt;
use gatehouse_kube::Api;
use gatehouse_kube::source::{Scope, SourceConfig};
use gatehouse_model::NamespacedName;
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;

use super::follow::Follow;
use super::objects::{route, routes, secret, secrets};
use super::support::{Admin, shared};

/// A client whose open watches fall silent whenever `stall` changes; those that are opened later are well.
fn stalling(client: kube::Client, stall: watch::Receiver<()>) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, mut stall) = (client.clone(), stall.clone());
        async move {
            let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            stall.mark_unchanged();
            let (head, body) = client.send(request).await?.into_parts();
            let frames = BodyStream::new(body).then(move |frame| {
                let stalled = watch && stall.has_changed().unwrap_or(true);
                async move {
                    if stalled {
                        std::future::pending::<()>().await;
                    }
                    frame
                }
            });
            Ok::<_, kube::Error>(Response::from_parts(head, StreamBody::new(frames)))
        }
    });
    kube::Client::new(service, "default")
}

#[tokio::test]
async fn a_watch_that_lags_catches_up_before_it_is_vouched_for() {
    let server = shared().await;
    let admin = Admin::of(server);
    admin.namespace("lag", &json!({})).await;
    admin.create(&routes("lag"), &route("r", "a.example.com")).await;
    admin.create(&secrets("lag"), &secret("s", "1")).await;
    let (stall, stalled) = watch::channel(());
    let client = stalling(server.client("admin").expect("a client"), stalled);
    let scope = Scope::Namespaces(["lag".to_owned()].into());
    let config = SourceConfig { scope, ..SourceConfig::default() };
    let mut follow = Follow::start(Api::new(client, "ClusterRole \"gatehouse\""), config);
    follow.synced().await;
    follow.handle.want_secrets(vec![(NamespacedName::new("lag", "s"), true)]);
    // An edit that arrives: the watch is open.
    let hostname = async |hostname: &str| {
        let path = format!("{}/r", routes("lag"));
        admin.patch(&path, &json!({ "spec": { "hostnames": [hostname] } })).await;
    };
    hostname("b.example.com").await;
    follow.until("the edit", |follow| follow.hostname("lag", "r") == Some("b.example.com")).await;
    follow.until("the Secret", |follow| follow.object("Secret", "lag", "s").is_some()).await;
    let old = follow.object("Secret", "lag", "s").cloned();

    stall.send_replace(());
    hostname("c.example.com").await;
    let late = follow.until("never", |follow| follow.hostname("lag", "r") == Some("c.example.com"));
    assert!(tokio::time::timeout(Duration::from_millis(300), late).await.is_err(), "the watch does not lag");
    let value = json!({ "stringData": { "extra": "2" } });
    admin.patch(&format!("{}/s", secrets("lag")), &value).await;
    follow.handle.catch_up(1);
    follow.until("it is vouched for", |follow| follow.caught_up == 1).await;
    assert_eq!(follow.hostname("lag", "r"), Some("c.example.com"));
    assert_ne!(follow.object("Secret", "lag", "s").cloned(), old);

    // Nothing has happened since; the answer comes all the same.
    follow.handle.catch_up(2);
    follow.until("it is vouched for again", |follow| follow.caught_up == 2).await;
}
