//! The API server takes the objects of every case as they are.

use gatehouse_testkit::apiserver::ApiServer;

use super::rig::Cluster;
use crate::support::{cases, read};

#[tokio::test]
async fn every_case_is_accepted_without_a_field_too_many() {
    let server = ApiServer::start().await.expect("an API server");
    let cluster = Cluster::new(server.client("admin").expect("a client"));
    let mut applied = 0;
    for path in cases() {
        let text = std::fs::read_to_string(&path).expect("a case");
        let input = text.split("---\nexpected:").next().unwrap_or_default();
        // Static addresses and families need a cluster that has them.
        let needs_network = ["dual_stack", "ipv6", "static_addresses_cluster_ip"];
        let Ok(made) = read(input).made() else { continue };
        for object in &made.objects {
            if object.kind == gatehouse_infra::Kind::Service
                && needs_network.iter().any(|name| path.ends_with(format!("{name}.yaml")))
            {
                continue;
            }
            cluster.namespace(&object.namespace).await;
            let answer = cluster.dry_run(object).await;
            assert!(answer.is_ok(), "{}: {}: {answer:?}", path.display(), object.kind);
            applied += 1;
        }
    }
    assert!(applied > 80, "only {applied} objects were applied");
}
