use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::google::protobuf::{Any, Duration};
use prost::{Message, Name};
use serde_json::json;

use super::decode;

fn cluster(any: Any) -> Cluster {
    Cluster {
        name: "c".to_owned(),
        connect_timeout: Some(Duration { seconds: 1, nanos: 500_000_000 }),
        typed_extension_protocol_options: [("x".to_owned(), any)].into(),
        ..Cluster::default()
    }
}

#[test]
fn any_of_a_known_type_is_resolved() {
    let any = Any { type_url: Cors::type_url(), value: Vec::new() };
    let json = decode(&Cluster::type_url(), &cluster(any).encode_to_vec()).unwrap();
    assert_eq!(
        json,
        json!({
            "name": "c",
            "connect_timeout": "1.500s",
            "typed_extension_protocol_options":
                {"x": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}},
        })
    );
}

#[test]
fn any_of_an_unknown_type_shows_its_bytes() {
    let any = Any { type_url: "type.googleapis.com/no.such.Type".to_owned(), value: vec![1, 2] };
    let json = decode(&Cluster::type_url(), &cluster(any).encode_to_vec()).unwrap();
    assert_eq!(
        json["typed_extension_protocol_options"]["x"],
        json!({"@type": "type.googleapis.com/no.such.Type", "value": "AQI="})
    );
}

#[test]
fn well_known_types_have_their_own_form_inside_any() {
    let duration = Duration { seconds: 3, nanos: 0 };
    let any = Any {
        type_url: "type.googleapis.com/google.protobuf.Duration".to_owned(),
        value: duration.encode_to_vec(),
    };
    let json = decode(&Cluster::type_url(), &cluster(any).encode_to_vec()).unwrap();
    assert_eq!(json["typed_extension_protocol_options"]["x"]["value"], "3s");
}

#[test]
fn bytes_that_are_no_message_are_an_error() {
    let error = decode(&Cluster::type_url(), &[0xff]).unwrap_err();
    assert!(error.to_string().starts_with("decode envoy.config.cluster.v3.Cluster: "));
}
