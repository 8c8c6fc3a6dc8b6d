//! Tests against a real kube-apiserver and etcd: `make apiserver-test` runs them.

mod apiserver {
    mod access;
    mod follow;
    mod lag;
    mod leader;
    mod objects;
    mod outage;
    mod pods;
    mod source;
    mod status;
    mod support;
}
