//! `gatehouse status`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use gatehouse_standalone::envoy::StateDir;
use gatehouse_standalone::intake::ObjectChange;
use gatehouse_standalone::status_file;
use jiff::Timestamp;

use crate::cli::{SourceArgs, StatusArgs, StatusFormat};
use crate::document::{Document, ShownPage};
use crate::load::{Offline, instance_id};
use crate::print;

/// Name of the status document in a state directory.
pub(crate) const STATUS_FILE: &str = "status.json";

/// Prints statuses: of a running gatehouse, or worked out from files when none runs for them.
pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let page = match find(&args)? {
        Some(file) => status_file::read(&file).with_context(|| format!("read {}", file.display()))?,
        None => offline(&args).await?,
    };
    match args.output {
        StatusFormat::Table => print::tables(&page, Timestamp::now())?,
        StatusFormat::Json => print::value(&serde_json::to_value(page)?, true)?,
        StatusFormat::Yaml => print::value(&serde_json::to_value(page)?, false)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The status document to read; `None` when the files themselves must do.
fn find(args: &StatusArgs) -> anyhow::Result<Option<PathBuf>> {
    if let Some(dir) = &args.state_dir {
        return Ok(Some(dir.join(STATUS_FILE)));
    }
    if !args.paths.is_empty() {
        let file = StateDir::default_path(&instance_id(&args.paths)).join(STATUS_FILE);
        return Ok(file.exists().then_some(file));
    }
    let base = StateDir::default_path("").parent().map(Path::to_owned).unwrap_or_default();
    let mut found: Vec<PathBuf> = std::fs::read_dir(&base)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join(STATUS_FILE)))
        .filter(|file| file.exists())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => Ok(Some(file)),
        (None, _) => bail!("no gatehouse of this user is known; name the paths given to `gatehouse run`"),
        (Some(_), false) => bail!("several gatehouses of this user are known; name the paths of one of them"),
    }
}

async fn offline(args: &StatusArgs) -> anyhow::Result<ShownPage> {
    print::note(
        "no gatehouse runs for these paths: statuses are worked out from the files, no proxy was asked",
    );
    let source = SourceArgs { paths: args.paths.clone(), settings: args.settings.clone() };
    let offline = Offline::load(&source).await?;
    let now = Timestamp::now();
    let mut document = Document::default();
    for object in offline.intake.objects() {
        document.object(&ObjectChange::Upsert(Arc::new(object.key()), object.clone()), now);
    }
    for change in offline.outputs.statuses {
        document.status(&change, now);
    }
    Ok(document.page().shown()?)
}
