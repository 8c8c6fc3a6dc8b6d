//! Tests against a real kube-apiserver and etcd: `make apiserver-test` runs them.

mod support;

mod apiserver {
    mod applier;
    mod objects;
    mod rig;
}
