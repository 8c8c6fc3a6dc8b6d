//! How the lists and objects of a kind merge: the facts that Kubernetes publishes as `x-kubernetes-patch-strategy`
//! and `x-kubernetes-patch-merge-key`, for the kinds that are patched here.

/// How one field merges.
#[derive(Debug)]
pub enum Field {
    /// An object with special fields inside.
    Object(&'static Schema),
    /// An object that a patch replaces.
    Replaced,
    /// A list of objects that are told apart by this key.
    Keyed(&'static str, &'static Schema),
    /// A list of scalars that are a set.
    Set,
}

/// The special fields of an object. Others merge field by field when they are objects; lists are replaced.
#[derive(Debug)]
pub struct Schema(pub &'static [(&'static str, Field)]);

impl Schema {
    /// How a field merges, when it is special.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, how)| how)
    }

    /// The schema of an object in this field.
    pub fn object(&self, name: &str) -> &'static Schema {
        match self.field(name) {
            Some(Field::Object(schema)) => schema,
            _ => &PLAIN,
        }
    }
}

/// The schema of a kind that is patched here; of another kind everything merges the plain way.
pub fn of_kind(kind: &str) -> &'static Schema {
    match kind {
        "Deployment" | "DaemonSet" => &WORKLOAD,
        "Service" => &SERVICE,
        "PodDisruptionBudget" => &BUDGET,
        "ServiceAccount" => &SERVICE_ACCOUNT,
        _ => &OTHER,
    }
}

static PLAIN: Schema = Schema(&[]);

static META: Schema = Schema(&[("ownerReferences", Field::Keyed("uid", &PLAIN)), ("finalizers", Field::Set)]);

static OTHER: Schema = Schema(&[("metadata", Field::Object(&META))]);

static CONTAINER: Schema = Schema(&[
    ("ports", Field::Keyed("containerPort", &PLAIN)),
    ("env", Field::Keyed("name", &PLAIN)),
    ("volumeMounts", Field::Keyed("mountPath", &PLAIN)),
    ("volumeDevices", Field::Keyed("devicePath", &PLAIN)),
]);

static POD: Schema = Schema(&[
    ("volumes", Field::Keyed("name", &PLAIN)),
    ("initContainers", Field::Keyed("name", &CONTAINER)),
    ("containers", Field::Keyed("name", &CONTAINER)),
    ("ephemeralContainers", Field::Keyed("name", &CONTAINER)),
    ("imagePullSecrets", Field::Keyed("name", &PLAIN)),
    ("hostAliases", Field::Keyed("ip", &PLAIN)),
    ("topologySpreadConstraints", Field::Keyed("topologyKey", &PLAIN)),
    ("schedulingGates", Field::Keyed("name", &PLAIN)),
    ("resourceClaims", Field::Keyed("name", &PLAIN)),
]);

static POD_TEMPLATE: Schema = Schema(&[("metadata", Field::Object(&META)), ("spec", Field::Object(&POD))]);

static WORKLOAD_SPEC: Schema = Schema(&[("template", Field::Object(&POD_TEMPLATE))]);

static WORKLOAD: Schema =
    Schema(&[("metadata", Field::Object(&META)), ("spec", Field::Object(&WORKLOAD_SPEC))]);

static SERVICE_SPEC: Schema = Schema(&[("ports", Field::Keyed("port", &PLAIN))]);

static SERVICE: Schema =
    Schema(&[("metadata", Field::Object(&META)), ("spec", Field::Object(&SERVICE_SPEC))]);

static BUDGET_SPEC: Schema = Schema(&[("selector", Field::Replaced)]);

static BUDGET: Schema = Schema(&[("metadata", Field::Object(&META)), ("spec", Field::Object(&BUDGET_SPEC))]);

static SERVICE_ACCOUNT: Schema =
    Schema(&[("metadata", Field::Object(&META)), ("secrets", Field::Keyed("name", &PLAIN))]);

static PROXY_WORKLOAD: Schema = Schema(&[
    ("initContainers", Field::Keyed("name", &CONTAINER)),
    ("pod", Field::Object(&POD)),
    ("container", Field::Object(&CONTAINER)),
]);

static PROXY_KUBERNETES: Schema = Schema(&[
    ("envoyDeployment", Field::Object(&PROXY_WORKLOAD)),
    ("envoyDaemonSet", Field::Object(&PROXY_WORKLOAD)),
]);

static PROXY_PROVIDER: Schema = Schema(&[("kubernetes", Field::Object(&PROXY_KUBERNETES))]);

/// `spec` of an EnvoyProxy.
pub static ENVOY_PROXY_SPEC: Schema = Schema(&[("provider", Field::Object(&PROXY_PROVIDER))]);
