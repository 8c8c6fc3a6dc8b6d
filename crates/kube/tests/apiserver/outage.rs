//! An API server that is away changes nothing, and is followed again within seconds.

use std::time::{Duration, Instant};

use gatehouse_kube::health::Health;
use gatehouse_kube::leader::{Leader, LeaseConfig};
use gatehouse_kube::source::SourceConfig;
use gatehouse_testkit::apiserver::ApiServer;
use serde_json::json;

use super::follow::Follow;
use super::objects::{route, routes};
use super::support::{Admin, PATIENCE, api, eventually};

#[tokio::test]
async fn outage_removes_nothing_and_an_edit_after_it_is_live_within_seconds() {
    let mut server = ApiServer::start().await.expect("an API server");
    let admin = Admin::of(&server);
    admin.install_crds().await;
    for i in 0..5 {
        admin.create(&routes("default"), &route(&format!("r{i}"), "a.example.com")).await;
    }
    let mut follow = Follow::start(api(&server, "admin"), SourceConfig::default());
    follow.synced().await;
    let config = LeaseConfig {
        duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry: Duration::from_millis(200),
        ..LeaseConfig::new("default", "gatehouse", "one")
    };
    let leader = Leader::start(api(&server, "admin"), config, Health::default());
    let mut leadership = leader.watch();
    tokio::time::timeout(PATIENCE, leadership.wait_for(gatehouse_kube::leader::Leadership::is_leader))
        .await
        .expect("in time")
        .expect("runs");

    server.stop();
    let troubles = follow.health.watch();
    eventually("it is noticed", async || troubles.borrow().contains_key("API server").then_some(())).await;
    let lost = leadership.wait_for(|state| !state.is_leader());
    tokio::time::timeout(PATIENCE, lost).await.expect("leadership ends in time").expect("runs");
    server.resume().await.expect("the API server comes back");

    let edited = Instant::now();
    let path = format!("{}/r1", routes("default"));
    // The server is ready before it accepts writes of every kind.
    eventually("edited", async || {
        admin
            .try_call(http::Method::PATCH, &path, &json!({ "spec": { "hostnames": ["b.example.com"] } }))
            .await
            .ok()
    })
    .await;
    follow.until("the edit", |follow| follow.hostname("default", "r1") == Some("b.example.com")).await;
    assert!(edited.elapsed() < Duration::from_secs(10), "{:?}", edited.elapsed());
    assert_eq!(follow.removals, 0);
    eventually("all is well again", async || troubles.borrow().is_empty().then_some(())).await;
    leadership.wait_for(gatehouse_kube::leader::Leadership::is_leader).await.expect("runs");
}
