use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as Wire};
use envoy_types::pb::google::protobuf::Any;
use gatehouse_model::{Body, ResourceType};
use proptest::prelude::*;
use prost::Message;

use super::{encode, encoded_len};
use crate::stream::Response;

/// The same response as prost knows it.
fn wire(response: &Response) -> DeltaDiscoveryResponse {
    let url = response.kind.type_url().to_owned();
    let resources = response.resources.iter().map(|(name, body)| Wire {
        name: name.to_string(),
        version: body.version.to_string(),
        resource: Some(Any { type_url: url.clone(), value: body.bytes.to_vec() }),
        ..Wire::default()
    });
    DeltaDiscoveryResponse {
        system_version_info: response.revision.to_string(),
        resources: resources.collect(),
        type_url: url.clone(),
        removed_resources: response.removed.iter().map(ToString::to_string).collect(),
        nonce: response.nonce.clone(),
        ..DeltaDiscoveryResponse::default()
    }
}

proptest! {
    #[test]
    fn prost_reads_what_is_written(
        kind in 0..6_usize,
        nonce in 1..u64::MAX,
        resources in prop::collection::vec(("[a-z/]{1,200}", "[0-9a-f]{1,16}", prop::collection::vec(any::<u8>(), 1..400)), 0..5),
        removed in prop::collection::vec("[a-z]{1,40}", 0..4),
    ) {
        let resources = resources.into_iter().map(|(name, version, bytes)| {
            (name.into(), Body { version: version.into(), bytes: bytes.into() })
        });
        let response = Response {
            kind: ResourceType::ALL[kind],
            nonce: nonce.to_string(),
            revision: nonce / 2,
            resources: resources.collect(),
            removed: removed.into_iter().map(Into::into).collect(),
        };
        let mut bytes = Vec::new();
        encode(&response, &mut bytes);
        prop_assert_eq!(bytes.len(), encoded_len(&response));
        prop_assert_eq!(DeltaDiscoveryResponse::decode(&bytes[..]).unwrap(), wire(&response));
    }
}
