use std::time::Duration;

use super::{ControllerConfig, LogFormat, Placement};

fn refusal(text: &str) -> String {
    format!("{:#}", ControllerConfig::parse(text).expect_err("it is wrong"))
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "{}", "# nothing\n"] {
        assert_eq!(ControllerConfig::parse(text).unwrap(), ControllerConfig::default(), "{text:?}");
    }
}

#[test]
fn what_the_file_says_counts_and_the_rest_is_default() {
    let config = ControllerConfig::parse(
        "placement: ControllerNamespace\nleaderElection: {leaseDuration: 1m30s}\nlog: {format: text}\nxds: {port: 1}\n\
         backends: {externalNames: true}",
    )
    .unwrap();
    assert_eq!(config.placement, Placement::ControllerNamespace);
    assert!(config.backends.external_names && !config.backends.enabled);
    assert_eq!(config.leader_election.lease_duration, Duration::from_secs(90));
    assert_eq!(config.leader_election.lease, "gatehouse");
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!((config.xds.port, config.xds.service.as_str()), (1, "gatehouse-xds"));
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let cases = [
        ("placment: x", "unknown field `placment`"),
        ("placement: Here", "unknown variant `Here`, expected `GatewayNamespace` or `ControllerNamespace`"),
        ("controllerNames: []", "at least one"),
        ("controllerNames: [nodomain]", "nodomain"),
        ("watch: {namespaces: [a], selector: b=c}", "not both"),
        ("agent: {image: ''}", "agent.image"),
        ("imagePullPolicy: Sometimes", "imagePullPolicy"),
        ("log: {level: 'gatehouse=loud'}", "log.level"),
        ("imagePullSecrets: secret", "imagePullSecrets"),
        ("xds: {port: 19001}", "xds.port and admin.port"),
        ("xds: {port: 70000}", "line 1"),
        ("leaderElection: {retryPeriod: 2}", "leaderElection: \"2\" is not a duration"),
        ("leaderElection: {retryPeriod: 2 seconds}", "2 seconds"),
        ("leaderElection: {renewDeadline: 20s}", "leaseDuration must be longer"),
        ("watch: [", "line 1"),
    ];
    for (text, words) in cases {
        let refusal = refusal(text);
        assert!(refusal.contains(words), "{text}: {refusal}");
    }
}
