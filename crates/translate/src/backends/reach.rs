//! Which backends proxies in pods may reach: in a cluster those who write routes are not those who own its inside.

use std::net::IpAddr;

use gatehouse_api::types::BackendEndpoint;

use crate::config::{Config, Hosting};

/// Why an endpoint of a Backend may not be reached.
pub(super) fn endpoint_problem(config: &Config, endpoint: &BackendEndpoint) -> Option<String> {
    if config.hosting != Hosting::Pods {
        return None;
    }
    if let Some(socket) = &endpoint.unix {
        return Some(format!("{:?}: a Unix socket would be one of the proxy's own pod", socket.path));
    }
    let fqdn = endpoint.fqdn.as_ref().map(|fqdn| &fqdn.hostname);
    name_problem(fqdn.or(endpoint.ip.as_ref().map(|ip| &ip.address))?)
}

/// Why a Service of type ExternalName may not be reached.
pub(super) fn external_name_problem(config: &Config, name: &str) -> Option<String> {
    if !config.external_names {
        return Some(
            "type ExternalName is not allowed as a backend (the controller's backends.externalNames)"
                .to_owned(),
        );
    }
    name_problem(name).filter(|_| config.hosting == Hosting::Pods)
}

/// Why the host of an XBackend may not be reached. The specification has addresses and names of the cluster's own refused
/// wherever it runs.
pub(super) fn external_hostname_problem(config: &Config, hostname: &str) -> Option<String> {
    let name = hostname.strip_suffix('.').unwrap_or(hostname).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return Some(format!("{hostname:?} is an address: hostname must be a name"));
    }
    if name == "cluster.local" || name.ends_with(".cluster.local") {
        return Some(format!("{hostname:?} is a name within the cluster: refer to the Service"));
    }
    name_problem(hostname).filter(|_| config.hosting == Hosting::Pods)
}

/// Why a name may not be reached. One that is an address needs no DNS: resolvers give it back as it is.
fn name_problem(name: &str) -> Option<String> {
    if is_local_name(name) {
        return Some(format!("{name:?} is a name of the proxy's own pod"));
    }
    let kind = inner(name.strip_suffix('.').unwrap_or(name).parse().ok()?)?;
    Some(format!("{name} is {kind} address, which leads to the proxy itself or to its node"))
}

fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// What kind of address it is that has no meaning outside of a pod or node.
fn inner(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_loopback() {
        Some("a loopback")
    } else if address.is_unspecified() {
        Some("an unspecified")
    } else if link_local {
        Some("a link-local")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{inner, is_local_name, name_problem};

    #[test]
    fn what_leads_inside_is_known_in_every_spelling() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
        ] {
            assert!(inner(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(inner(address.parse().unwrap()), None, "{address}");
        }
        for name in ["127.0.0.1", "169.254.169.254.", "::1", "localhost"] {
            assert!(name_problem(name).is_some(), "{name} as a host name");
        }
        assert_eq!(name_problem("127.0.0.1.example.com"), None);
        assert!(is_local_name("LocalHost.") && is_local_name("a.localhost"));
        assert!(!is_local_name("localhost.example.com") && !is_local_name("notlocalhost"));
    }
}
