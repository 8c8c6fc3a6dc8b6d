use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteMatch, VirtualHost, route, route_match::PathSpecifier,
};
use envoy_types::pb::google::protobuf::Duration;
use prost::{Message, Name};

use super::message;

fn finding<M: Message + Name>(value: &M) -> String {
    match message(&M::type_url(), &value.encode_to_vec()) {
        Ok(()) => "valid".to_owned(),
        Err(invalid) => invalid.to_string(),
    }
}

fn host(route: Route) -> VirtualHost {
    VirtualHost {
        name: "t/h".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    }
}

fn matched(path: PathSpecifier) -> Route {
    let action = DirectResponseAction { status: 500, ..DirectResponseAction::default() };
    Route {
        r#match: Some(RouteMatch { path_specifier: Some(path), ..RouteMatch::default() }),
        action: Some(route::Action::DirectResponse(action)),
        ..Route::default()
    }
}

#[test]
fn sound_message_is_valid() {
    assert_eq!(finding(&host(matched(PathSpecifier::Prefix("/".to_owned())))), "valid");
}

#[test]
fn required_fields_and_oneofs_are_named_with_their_path() {
    assert_eq!(finding(&host(Route::default())), "routes[0].action: value is required");
    let no_match = Route { r#match: None, ..matched(PathSpecifier::Prefix("/".to_owned())) };
    assert_eq!(finding(&host(no_match)), "routes[0].match: value is required");
}

#[test]
fn limits_patterns_and_sizes_are_checked() {
    let no_domains = VirtualHost { name: "x".to_owned(), ..VirtualHost::default() };
    assert_eq!(finding(&no_domains), "domains: value must contain at least 1 items");
    assert_eq!(finding(&VirtualHost::default()), "name: value length must be at least 1 characters");
    let slash = host(matched(PathSpecifier::PathSeparatedPrefix("/a/".to_owned())));
    assert!(finding(&slash).starts_with("routes[0].match.path_separated_prefix: value does not match regex"));
    let mut status = matched(PathSpecifier::Prefix("/".to_owned()));
    status.action =
        Some(route::Action::DirectResponse(DirectResponseAction { status: 99, ..Default::default() }));
    assert_eq!(
        finding(&host(status)),
        "routes[0].direct_response.status: value must be greater than or equal to 200"
    );
    let cluster = Cluster {
        name: "c".to_owned(),
        connect_timeout: Some(Duration { seconds: -1, nanos: 0 }),
        ..Cluster::default()
    };
    assert_eq!(finding(&cluster), "connect_timeout: value must be greater than 0");
}
