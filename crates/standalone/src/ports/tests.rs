use super::*;

#[test]
fn mapped_port_is_served_elsewhere_and_others_stay() {
    let map = PortMap::parse(["80:8080", "443:8443", "80:8080"]).unwrap();
    assert_eq!((map.host_port(80), map.host_port(443), map.host_port(9000)), (8080, 8443, 9000));
    assert_eq!(map.iter().count(), 2);
}

#[test]
fn malformed_mapping_is_named() {
    for text in ["", "80", "80:", ":80", "0:80", "80:0", "80:70000", "a:b", "+80:81", "80:81:82", " 80:81"] {
        assert_eq!(PortMap::parse([text]), Err(PortMapError::Malformed(text.to_owned())));
    }
}

#[test]
fn contradicting_mappings_are_refused() {
    assert_eq!(
        PortMap::parse(["80:8080", "80:8081"]),
        Err(PortMapError::Ambiguous { listener: 80, first: 8080, second: 8081 })
    );
    assert_eq!(
        PortMap::parse(["443:8080", "80:8080"]),
        Err(PortMapError::Shared { host: 8080, first: 80, second: 443 })
    );
}

const NONE: &str =
    "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n";

#[test]
fn low_port_needs_the_capability() {
    let user = Rights { first_unprivileged: 1024, capable: false };
    assert!(!user.may_bind(80) && !user.may_bind(1023) && user.may_bind(1024));
    assert!(Rights { capable: true, ..user }.may_bind(80));
    assert!(Rights { first_unprivileged: 80, ..user }.may_bind(80));
}

#[test]
fn capability_counts_only_when_envoy_gets_it() {
    assert!(!inherited(NONE, false) && !inherited(NONE, true));
    let effective = NONE.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000000400");
    assert!(inherited(&effective, true));
    assert!(!inherited(&effective, false), "an effective capability of ours does not survive execve");
    let ambient = NONE.replace("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000400");
    assert!(inherited(&ambient, false));
}

#[test]
fn capability_of_the_file_counts_unless_privileges_are_frozen() {
    let file = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0];
    assert!(granted_by_file(NONE, Some(&file)));
    assert!(!granted_by_file(NONE, None));
    assert!(!granted_by_file(NONE, Some(&[0, 0, 0, 2, 0, 4, 0, 0])), "not effective");
    assert!(!granted_by_file(NONE, Some(&[1, 0, 0, 2, 0, 2, 0, 0])), "another capability");
    assert!(!granted_by_file(NONE, Some(&file[..3])), "truncated");
    assert!(!granted_by_file(&NONE.replace("NoNewPrivs:\t0", "NoNewPrivs:\t1"), Some(&file)));
}

#[test]
fn refusal_names_the_three_remedies() {
    let refusal = BindRefusal { port: 80, first_unprivileged: 1024, envoy: "/opt/envoy".to_owned() };
    let text = refusal.to_string();
    for part in [
        "may not bind port 80",
        "--port-map 80:8080",
        "ip_unprivileged_port_start=80",
        "setcap cap_net_bind_service=+ep /opt/envoy",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert_eq!((suggest_port(443), suggest_port(81)), (8443, 8081));
}

#[test]
fn high_port_is_always_allowed() {
    assert_eq!(explain_bind(65535, Path::new("/nonexistent")), Ok(()));
}
