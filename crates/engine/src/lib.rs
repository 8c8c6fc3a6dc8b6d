//! Incremental tables, indexes, recorded reads and stages.
