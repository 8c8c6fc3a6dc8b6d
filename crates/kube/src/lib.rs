//! All Kubernetes input and output.
