//! Build steps that need more than cargo.
//!
//! `cargo xtask schema [--check]`: pinned Go modules -> CRDs and core types -> interned nodes -> the table that the
//! `api` crate embeds.
//! `cargo xtask chart [--check]`: the chart's values and their schema -> the table in the chart's README.
//! `cargo xtask chart --package OUT`: the chart with the custom resource definitions of a pinned module.

mod chart;
mod core_types;
mod crds;
mod modules;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Where the table is, relative to the workspace.
const TABLE: &str = "crates/api/src/schema/table.json";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["schema"] => schema(false),
        ["schema", "--check"] => schema(true),
        ["chart"] => chart::readme(&root(), false),
        ["chart", "--check"] => chart::readme(&root(), true),
        ["chart", "--package", out] => chart::package(&root(), Path::new(out)),
        _ => bail!("usage: cargo xtask schema [--check] | chart [--check] | chart --package OUT"),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes the schema table, or compares it with what the pinned modules say.
fn schema(check: bool) -> Result<()> {
    let path = root().join(TABLE);
    let mut table = table::Table::default();
    crds::add_all(&mut table)?;
    core_types::add_all(&mut table)?;
    let text = table.render()?;
    if !check {
        return fs::write(&path, text).with_context(|| format!("write {TABLE}"));
    }
    let committed = fs::read_to_string(&path).with_context(|| format!("read {TABLE}"))?;
    if committed != text {
        bail!("{TABLE} differs from the pinned modules; run `cargo xtask schema` and read the difference");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn committed_table_is_what_the_pinned_modules_say() {
        super::schema(true).unwrap();
    }
}
