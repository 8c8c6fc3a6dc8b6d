//! What Envoy starts with: our bootstrap with a user's changes.

use gatehouse_api::source;
use gatehouse_api::types::EnvoyProxySpec;
use gatehouse_api::types::envoyproxy::{BootstrapType, ProxyBootstrap, StringMatch};
use gatehouse_envoy::{Address, BootstrapOptions};
use gatehouse_model::FleetKey;
use serde_json::{Value, json};

use crate::jsonpatch;
use crate::objects::Problem;
use crate::settings::ADMIN_PORT;

/// Where the agent serves xDS to Envoy.
pub(crate) const XDS_SOCKET: &str = "/run/gatehouse/xds.sock";
/// Where Envoy's administration interface is: within the pod, where `kubectl port-forward` reaches it.
pub(crate) const ADMIN_HOST: &str = "127.0.0.1";

/// What the agent needs to find; a change of these parts would leave the proxy without configuration.
const OURS: [&str; 2] = ["admin", "dynamic_resources"];

/// The text of the bootstrap. `node.id` and the zone come from Envoy's arguments, as they differ between pods.
pub(crate) fn text(fleet: &FleetKey, spec: Option<&EnvoyProxySpec>) -> Result<String, Problem> {
    let options = BootstrapOptions::new(
        "",
        fleet.to_string(),
        Address::Socket { host: ADMIN_HOST.to_owned(), port: ADMIN_PORT },
        Address::Pipe(XDS_SOCKET.to_owned()),
    );
    let text = gatehouse_envoy::bootstrap(&options);
    let mut ours: Value = serde_json::from_str(&text).expect("our bootstrap is JSON");
    let matches = spec.and_then(|spec| spec.telemetry.as_ref()?.metrics.as_ref()?.matches.as_deref());
    widen_statistics(&mut ours, matches.unwrap_or_default());
    let changed = match spec.and_then(|spec| spec.bootstrap.as_ref()) {
        Some(bootstrap) => {
            let changed = change(ours.clone(), bootstrap)?;
            keeps_ours(&ours, &changed)?;
            changed
        }
        None => ours,
    };
    Ok(format!("{changed:#}\n"))
}

fn widen_statistics(bootstrap: &mut Value, matches: &[StringMatch]) {
    let patterns = bootstrap.pointer_mut("/stats_config/stats_matcher/inclusion_list/patterns");
    let Some(Value::Array(patterns)) = patterns else { return };
    patterns.extend(matches.iter().filter_map(|test| {
        let value = test.value.as_deref().unwrap_or_default();
        match test.kind.as_deref().unwrap_or("Exact") {
            "Exact" => Some(json!({"exact": value})),
            "Prefix" => Some(json!({"prefix": value})),
            "Suffix" => Some(json!({"suffix": value})),
            "RegularExpression" => Some(json!({"safe_regex": {"regex": value}})),
            _ => None,
        }
    }));
}

fn problem(field: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(format!("bootstrap.{field}"), why)
}

fn change(ours: Value, bootstrap: &ProxyBootstrap) -> Result<Value, Problem> {
    match bootstrap.kind.as_ref().unwrap_or(&BootstrapType::Replace) {
        BootstrapType::Merge => Ok(grow(ours, yaml(bootstrap.value.as_deref())?)),
        BootstrapType::Replace => yaml(bootstrap.value.as_deref()),
        BootstrapType::JSONPatch => {
            let operations = bootstrap.json_patches.as_deref().unwrap_or_default();
            if let Some(operation) = operations.iter().find(|operation| !operation.rest.is_empty()) {
                let fields: Vec<&str> = operation.rest.keys().map(String::as_str).collect();
                return Err(problem("jsonPatches", format!("{} is not supported", fields.join(", "))));
            }
            jsonpatch::apply(ours, operations).map_err(|why| problem("jsonPatches", why))
        }
        BootstrapType::Other(other) => Err(problem("type", format!("unknown type {other:?}"))),
    }
}

fn yaml(text: Option<&str>) -> Result<Value, Problem> {
    let mut documents = source::parse(text.unwrap_or_default()).into_iter();
    let document = documents.next().ok_or_else(|| problem("value", "is empty"))?;
    if let Some(error) = document.diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
        return Err(problem("value", error));
    }
    match document.root.map(|root| root.to_json()) {
        Some(value @ Value::Object(_)) => Ok(value),
        _ => Err(problem("value", "is no bootstrap: an object is expected")),
    }
}

/// Merges as protobuf messages do: objects merge, lists grow, scalars are replaced. Fields may be spelt in either of
/// the two ways of protobuf's JSON.
fn grow(ours: Value, theirs: Value) -> Value {
    match (ours, theirs) {
        (Value::Object(mut ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                let snake = snake_case(&name);
                let name = if ours.contains_key(&name) || !ours.contains_key(&snake) { name } else { snake };
                let merged = match ours.remove(&name) {
                    Some(old) => grow(old, value),
                    None => value,
                };
                ours.insert(name, merged);
            }
            Value::Object(ours)
        }
        (Value::Array(mut ours), Value::Array(theirs)) => {
            ours.extend(theirs);
            Value::Array(ours)
        }
        (_, theirs) => theirs,
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn keeps_ours(ours: &Value, changed: &Value) -> Result<(), Problem> {
    let field = |part: &str| {
        Problem::new(
            "bootstrap",
            format!("{part} must stay as it is, or the proxy gets no configuration: use type Merge"),
        )
    };
    if let Some(part) = OURS.iter().find(|part| ours[**part] != changed[**part]) {
        return Err(field(part));
    }
    let cluster = &ours["static_resources"]["clusters"][0];
    let kept = changed["static_resources"]["clusters"].as_array().is_some_and(|all| all.contains(cluster));
    if kept { Ok(()) } else { Err(field(&format!("the cluster {}", cluster["name"]))) }
}

#[cfg(test)]
mod tests {
    use gatehouse_api::types::EnvoyProxySpec;
    use gatehouse_model::{FleetKey, NamespacedName};
    use serde_json::{Value, json};

    fn render(spec: Value) -> Result<Value, String> {
        let spec: EnvoyProxySpec = serde_json::from_value(spec).unwrap();
        let text = super::text(&FleetKey(NamespacedName::new("shop", "web")), Some(&spec));
        text.map(|text| serde_json::from_str(&text).unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_merged_bootstrap_keeps_ours_and_adds_theirs() {
        let value =
            "staticResources:\n  clusters:\n  - name: mine\nnode: {locality: {region: r}}\nflags_path: /x\n";
        let merged = render(json!({"bootstrap": {"type": "Merge", "value": value}})).unwrap();
        let clusters = merged["static_resources"]["clusters"].as_array().unwrap();
        assert_eq!(clusters.len(), 2);
        assert_eq!(clusters[1], json!({"name": "mine"}));
        assert_eq!(merged["node"]["cluster"], "shop/web");
        assert_eq!(merged["node"]["locality"]["region"], "r");
        assert_eq!(merged["flags_path"], "/x");
    }

    #[test]
    fn json_patches_apply_and_their_faults_are_named() {
        let patch = |operation: Value| {
            render(json!({"bootstrap": {"type": "JSONPatch", "jsonPatches": [operation]}}))
        };
        let patched = patch(json!({"op": "add", "path": "/node/id", "value": "x"})).unwrap();
        assert_eq!(patched["node"]["id"], "x");
        let fault = patch(json!({"op": "remove", "path": "/none"})).unwrap_err();
        assert_eq!(fault, "bootstrap.jsonPatches: operation 0 (remove): there is nothing at \"/none\"");
        let fault = patch(json!({"op": "remove", "jsonPath": "$.node"})).unwrap_err();
        assert_eq!(fault, "bootstrap.jsonPatches: jsonPath is not supported");
    }

    #[test]
    fn a_bootstrap_that_cuts_the_proxy_off_is_refused() {
        let fault = render(json!({"bootstrap": {"value": "admin: {}"}})).unwrap_err();
        assert!(fault.contains("admin must stay"), "{fault}");
        let gone = json!({"op": "remove", "path": "/static_resources/clusters/0"});
        let fault = render(json!({"bootstrap": {"type": "JSONPatch", "jsonPatches": [gone]}})).unwrap_err();
        assert!(fault.contains("the cluster \"gatehouse-xds\" must stay"), "{fault}");
        let fault = render(json!({"bootstrap": {"type": "Merge", "value": "a: ["}})).unwrap_err();
        assert!(fault.starts_with("bootstrap.value: "), "{fault}");
    }

    #[test]
    fn matches_widen_the_statistics() {
        let matches = json!([{"type": "Prefix", "value": "http."}, {"value": "a.b"}]);
        let bootstrap = render(json!({"telemetry": {"metrics": {"matches": matches}}})).unwrap();
        let patterns = &bootstrap["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"];
        let patterns = patterns.as_array().unwrap();
        assert_eq!(patterns[patterns.len() - 2..], [json!({"prefix": "http."}), json!({"exact": "a.b"})]);
    }
}
