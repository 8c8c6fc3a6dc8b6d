//! The Helm chart: its table of values (what `values.schema.json` says of each, beside its default in `values.yaml`), and
//! its package, which holds the custom resource definitions of a pinned module.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::modules;

const CHART: &str = "charts/gatehouse";
const BEGIN: &str = "<!-- values: made by `cargo xtask chart` -->";
const END: &str = "<!-- end of values -->";

/// The definitions that the chart installs, in the folder that the module keeps them in.
const CRDS: [&str; 3] = [
    "gateway.envoyproxy.io_backends.yaml",
    "gateway.envoyproxy.io_clienttrafficpolicies.yaml",
    "gateway.envoyproxy.io_envoyproxies.yaml",
];
const CRDS_FOLDER: &str = "charts/gateway-helm/charts/crds/crds/generated";

/// Puts the chart, complete, into a folder of its name below `out`.
pub(crate) fn package(root: &Path, out: &Path) -> Result<()> {
    let to = out.join("gatehouse");
    if to.exists() {
        fs::remove_dir_all(&to).with_context(|| format!("empty {}", to.display()))?;
    }
    copy(&root.join(CHART), &to)?;
    let files = to.join("charts/crds/files");
    fs::create_dir_all(&files).with_context(|| format!("make {}", files.display()))?;
    let from = modules::ENVOY_GATEWAY.dir()?.join(CRDS_FOLDER);
    for name in CRDS {
        let text = fs::read_to_string(from.join(name)).with_context(|| format!("read {name}"))?;
        let mut crd: Value = serde_yaml::from_str(&text).with_context(|| format!("parse {name}"))?;
        drop_prose(&mut crd);
        let text = serde_yaml::to_string(&crd).with_context(|| format!("write {name}"))?;
        fs::write(files.join(name), text).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy to {}", target.display()))?;
        }
    }
    Ok(())
}

/// Descriptions are most of a definition's size, and a large one fits neither into `kubectl apply`'s annotation nor into
/// a release. A property that is called description is an object and stays.
fn drop_prose(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| name != "description" || !field.is_string());
            fields.values_mut().for_each(drop_prose);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_prose),
        _ => {}
    }
}

/// Writes the table into the chart's README, or compares it with what stands there.
pub(crate) fn readme(root: &Path, check: bool) -> Result<()> {
    let chart = root.join(CHART);
    let read =
        |name: &str| fs::read_to_string(chart.join(name)).with_context(|| format!("read {CHART}/{name}"));
    let schema: Value =
        serde_json::from_str(&read("values.schema.json")?).context("parse the chart's schema")?;
    let defaults: Value = serde_yaml::from_str(&read("values.yaml")?).context("parse the chart's values")?;
    let old = read("README.md")?;
    let new = replace(&old, &table(&schema, &defaults)?)?;
    if old == new {
        return Ok(());
    }
    if check {
        bail!("{CHART}/README.md differs from the chart's values; run `cargo xtask chart`");
    }
    fs::write(chart.join("README.md"), new).with_context(|| format!("write {CHART}/README.md"))
}

fn replace(readme: &str, table: &str) -> Result<String> {
    let (before, rest) =
        readme.split_once(BEGIN).context("the chart's README has no place for the values")?;
    let (_, after) = rest.split_once(END).context("the chart's README does not end its values")?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

fn table(schema: &Value, defaults: &Value) -> Result<String> {
    let mut rows = vec!["| value | default | what it is |".to_owned(), "|---|---|---|".to_owned()];
    collect("", schema, Some(defaults), &mut rows)?;
    Ok(rows.join("\n") + "\n")
}

/// One row per value that the schema describes as a whole; every value must have both a description and a default.
fn collect(path: &str, schema: &Value, default: Option<&Value>, rows: &mut Vec<String>) -> Result<()> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties else {
        let text = schema.get("description").and_then(Value::as_str);
        let text = text.with_context(|| format!("the schema does not describe {path}"))?;
        let default = default.with_context(|| format!("values.yaml has no default for {path}"))?;
        rows.push(format!("| `{path}` | `{default}` | {} |", text.replace('|', "\\|")));
        return Ok(());
    };
    let known = default.and_then(Value::as_object);
    for name in known.into_iter().flat_map(|values| values.keys()) {
        if !properties.contains_key(name) {
            bail!("the schema does not know {path}.{name} of values.yaml");
        }
    }
    for (name, property) in properties.iter().filter(|(name, _)| *name != "global") {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(&path, property, known.and_then(|values| values.get(name)), rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{CRDS, drop_prose, package, readme, table};

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

    #[test]
    fn the_charts_readme_lists_its_values() {
        readme(Path::new(ROOT), true).unwrap();
    }

    #[test]
    fn packaged_definitions_keep_every_property_and_fit_into_an_annotation() {
        let out = tempfile::tempdir().unwrap();
        package(Path::new(ROOT), out.path()).unwrap();
        for name in CRDS {
            let path = out.path().join("gatehouse/charts/crds/files").join(name);
            let crd: serde_json::Value =
                serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert!(schema["properties"]["spec"]["properties"].as_object().is_some_and(|p| !p.is_empty()));
            assert!(crd.to_string().len() < 256 * 1024, "{name}");
        }
        assert!(out.path().join("gatehouse/templates/deployment.yaml").exists());
    }

    #[test]
    fn a_property_called_description_is_no_prose() {
        let mut schema = json!({"description": "Words.", "properties": {"description": {"type": "string"}}});
        drop_prose(&mut schema);
        assert_eq!(schema, json!({"properties": {"description": {"type": "string"}}}));
    }

    #[test]
    fn a_value_without_description_or_default_is_an_error() {
        let schema = json!({"properties": {"a": {"properties": {"b": {"description": "B."}}}}});
        let rows = table(&schema, &json!({"a": {"b": 1}})).unwrap();
        assert!(rows.contains("| `a.b` | `1` | B. |"), "{rows}");
        assert!(table(&schema, &json!({"a": {}})).is_err());
        assert!(table(&schema, &json!({"a": {"b": 1, "c": 2}})).is_err());
        assert!(table(&json!({"properties": {"a": {}}}), &json!({"a": 1})).is_err());
    }
}
