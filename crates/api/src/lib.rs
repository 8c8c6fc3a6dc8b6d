//! Gateway API and policy types, and the embedded schema table.
