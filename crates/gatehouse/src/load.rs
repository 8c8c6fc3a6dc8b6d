//! Files to a settled world without anything running.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gatehouse_standalone::files::{FileSource, FileUpdates, STDIN};
use gatehouse_standalone::intake::{FileProblem, Intake, ObjectChange, judge};
use gatehouse_standalone::ports::PortMap;
use gatehouse_translate::{Change, Config, Outputs, World};

use crate::cli::{SettingsArgs, SourceArgs};

/// The translation's settings for these arguments.
pub(crate) fn config(settings: &SettingsArgs) -> anyhow::Result<Config> {
    let ports = PortMap::parse(&settings.port_map)?;
    Ok(Config {
        controller_names: settings.controller_name.iter().map(|name| name.as_str().into()).collect(),
        port_map: ports.iter().map(|mapping| (mapping.listener, mapping.host)).collect::<BTreeMap<_, _>>(),
        ..Config::default()
    })
}

/// Starts to read the paths; standard input is read to its end here.
pub(crate) fn open(paths: &[PathBuf]) -> anyhow::Result<FileUpdates> {
    let stdin = if paths.iter().any(|path| path == Path::new(STDIN)) {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
        Some(text)
    } else {
        None
    };
    Ok(FileSource::new(paths.to_vec(), stdin).judge(|_, before, now| judge(before, now)).start()?)
}

/// What the translation takes of an object's change.
pub(crate) fn change(change: ObjectChange) -> Change {
    match change {
        ObjectChange::Upsert(_, object) => Change::Upsert(Box::new(object)),
        ObjectChange::Remove(key) => Change::Remove(key),
    }
}

/// Everything that files say, worked out once.
pub(crate) struct Offline {
    pub(crate) intake: Intake,
    pub(crate) outputs: Outputs,
}

impl Offline {
    /// Reads and translates; no proxy is asked, so nothing is programmed.
    pub(crate) async fn load(source: &SourceArgs) -> anyhow::Result<Self> {
        let config = config(&source.settings)?;
        let mut updates = open(&source.paths)?;
        let batch = updates.next().await.context("the file source ended")?;
        let mut intake = Intake::default();
        let mut world = World::new(config);
        for object in intake.apply(&batch) {
            world.apply(change(object));
        }
        let outputs = world.settle();
        if let Some(panicked) = world.take_panics().first() {
            anyhow::bail!("translate {}: {} (this is a bug)", panicked.key, panicked.message);
        }
        Ok(Self { intake, outputs })
    }

    pub(crate) fn problems(&self) -> Vec<FileProblem> {
        self.intake.problems()
    }
}

/// What distinguishes a gatehouse of this user from another: the paths that it serves.
pub(crate) fn instance_id(paths: &[PathBuf]) -> String {
    let mut absolute: Vec<String> = paths
        .iter()
        .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string())
        .collect();
    absolute.sort();
    absolute.join("\n")
}
