use std::sync::Arc;

use gatehouse_model::ResourceType;

use super::Clients;
use crate::event::{Notice, What};
use crate::table::Table;

fn expired(cluster: &str) -> Notice {
    Notice::GateExpired {
        target: (ResourceType::VirtualHost, "r/h".into()),
        clusters: vec![Arc::from(cluster)],
    }
}

fn warmed(cluster: &str) -> Notice {
    Notice::Warmed { cluster: cluster.into() }
}

#[test]
fn cluster_is_warmed_when_the_last_proxy_that_waits_has_it_or_leaves() {
    let (mut clients, table) = (Clients::default(), Table::default());
    for stream in [1, 2, 3] {
        clients.connect(stream);
        let news = clients.noticed(stream, vec![expired("c")], &table);
        assert_eq!(news, [What::Resource(expired("c"))]);
    }
    assert_eq!(clients.noticed(1, vec![warmed("c")], &table), []);
    assert_eq!(clients.disconnect(2, &table), [What::Streams { connected: 2 }]);
    assert_eq!(clients.noticed(3, vec![warmed("c")], &table), [What::Resource(warmed("c"))]);
    assert_eq!(clients.noticed(3, vec![warmed("c")], &table), [], "nobody waits");
}
