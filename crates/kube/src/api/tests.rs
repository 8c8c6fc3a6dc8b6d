use super::*;

const ROUTES: ResourceType =
    ResourceType { group: "gateway.networking.k8s.io", version: "v1", plural: "httproutes" };
const SECRETS: ResourceType = ResourceType { group: "", version: "v1", plural: "secrets" };

#[test]
fn paths_follow_group_namespace_and_subresource() {
    assert_eq!(Target::all(SECRETS, "").path(), "/api/v1/secrets");
    assert_eq!(Target::one(SECRETS, "a", "b").path(), "/api/v1/namespaces/a/secrets/b");
    assert_eq!(
        Target::one(ROUTES, "a", "b").status().path(),
        "/apis/gateway.networking.k8s.io/v1/namespaces/a/httproutes/b/status"
    );
}

#[test]
fn forbidden_names_verb_resource_namespace_and_role() {
    let status = kube::core::Status { code: 403, message: "no".into(), ..Default::default() };
    let error = Error::new(
        Target::all(SECRETS, "shop").operation("list"),
        Cause::from_status(&status, false, "ClusterRole \"gatehouse\""),
    );
    let text = error.to_string();
    for part in ["list secrets", "namespace shop", "ClusterRole \"gatehouse\""] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn unknown_resource_differs_from_missing_object() {
    let mut status = kube::core::Status { code: 404, ..Default::default() };
    assert!(matches!(Cause::from_status(&status, true, ""), Cause::NotServed));
    status.details = serde_json::from_str(r#"{"name":"x"}"#).expect("details");
    assert!(matches!(Cause::from_status(&status, true, ""), Cause::NotFound));
}
