//! What a body says, as far as it matters to the client.

use std::collections::BTreeSet;

/// The parts of a resource that make the client do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Clusters that it names.
    pub clusters: BTreeSet<String>,
    /// Secrets that it needs.
    pub secrets: BTreeSet<String>,
    /// Route configurations that it takes by RDS.
    pub routes: BTreeSet<String>,
    /// It is a cluster that takes its endpoints by EDS.
    pub eds: bool,
    /// It is a route configuration that takes its virtual hosts by VHDS.
    pub vhds: bool,
    /// The client refuses it.
    pub bad: bool,
    /// Domains of a virtual host; two virtual hosts of a table must not have one in common.
    pub domains: BTreeSet<String>,
    /// Everything, to tell a changed body from an equal one.
    pub text: String,
}

/// Reads the body of a resource of some name.
pub type Reader = fn(&str, &[u8]) -> Reading;

/// Reads a body of words: `names:<cluster>`, `secret:<name>`, `route:<name>`, `domain:<name>`, `eds`, `vhds`, `bad`.
/// Other words make versions differ.
pub fn words(_name: &str, body: &[u8]) -> Reading {
    let text = String::from_utf8_lossy(body).into_owned();
    let mut reading = Reading { text: text.clone(), ..Reading::default() };
    for word in text.split_whitespace() {
        match word.split_once(':') {
            Some(("names", name)) => drop(reading.clusters.insert(name.to_owned())),
            Some(("secret", name)) => drop(reading.secrets.insert(name.to_owned())),
            Some(("route", name)) => drop(reading.routes.insert(name.to_owned())),
            Some(("domain", name)) => drop(reading.domains.insert(name.to_owned())),
            _ => match word {
                "eds" => reading.eds = true,
                "vhds" => reading.vhds = true,
                "bad" => reading.bad = true,
                _ => {}
            },
        }
    }
    reading
}
