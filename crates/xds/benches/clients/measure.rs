//! What the system says of a process, and medians.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process by its id.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// CPU time of all its threads so far, to the nanosecond; those that ended are not counted.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0))? {
            let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            sum += stat.split(' ').next().and_then(|time| time.parse::<u64>().ok()).context("schedstat")?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes << 10)
    }
}

/// Each client is a file on both sides.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("allow more open files")
}

/// The middle value, the default of an empty list.
pub(crate) fn median<T: Ord + Copy + Default>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
