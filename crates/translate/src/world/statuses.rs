//! Statuses: the last stages of a settle.

use std::sync::Arc;

use gatehouse_api::ObjectRef;
use gatehouse_model::NamespacedName;
use serde_json::Value;

use super::{Changed, World, unique};
use crate::grants::GroupKind;
use crate::output::{Outputs, StatusChange};
use crate::status;

/// A status as JSON text; `null` when there is nothing to say. A tree takes several times the memory, and statuses are kept
/// only to be compared.
pub(super) type StatusText = Arc<str>;

impl World {
    pub(super) fn settle_statuses(&mut self, changed: &Changed, outputs: &mut Outputs) {
        let Self { config, graph, facts, stages, attached, outcomes, texts, .. } = self;
        for key in &changed.classes {
            stages.class_status.mark(graph, key.clone());
        }
        for key in &changed.gateways {
            stages.gateway_status.mark(graph, key.clone());
        }
        for key in &changed.sets {
            stages.set_status.mark(graph, key.clone());
        }
        for key in &changed.routes {
            stages.route_status.mark(graph, key.clone());
        }
        for key in &changed.backends {
            stages.backend_status.mark(graph, key.clone());
        }
        for key in &changed.policies {
            stages.policy_status.mark(graph, key.clone());
        }
        let sources = status::Sources {
            facts,
            config,
            certificates: &stages.certificates,
            overlaps: &stages.overlaps,
            guards: &stages.guards,
            pairs: &stages.pairs,
            authorities: &stages.authorities,
            shown: &stages.shown,
            ports: &stages.ports,
            attached,
        };
        let gateways = &stages.gateways;
        let mut text = |status: Value| texts.share(&status.to_string());
        stages
            .class_status
            .settle(graph, |r, k| status::class(facts, config, &stages.classes, r, k).map(&mut text));
        stages.gateway_status.settle(graph, |r, k| status::gateway(sources, gateways, r, k).map(&mut text));
        stages
            .set_status
            .settle(graph, |r, k| status::listener_set(sources, facts, gateways, r, k).map(&mut text));
        stages.route_status.settle(graph, |r, k| {
            status::route(facts, config, &stages.bindings, &stages.lowered, &stages.fragments, r, k)
                .map(&mut text)
        });
        stages.backend_status.settle(graph, |r, k| status::backend(facts, config, r, k).map(&mut text));
        stages
            .policy_status
            .settle(graph, |r, k| status::policy(facts, config, outcomes, r, k).map(&mut text));
        self.emit_statuses(outputs);
    }

    fn emit_statuses(&mut self, outputs: &mut Outputs) {
        let Self { facts, stages, .. } = self;
        let out = &mut outputs.statuses;
        let group = crate::grants::GATEWAY_GROUP;
        for key in unique(stages.class_status.take_changed()) {
            let generation = facts.classes.peek(&key).map(|o| o.metadata.generation);
            let id = object_ref(group, "GatewayClass", &NamespacedName::new("", key.clone()));
            out.push(status_change(id, generation, stages.class_status.peek(&key)));
        }
        for key in unique(stages.gateway_status.take_changed()) {
            let generation = facts.gateways.peek(&key).map(|o| o.metadata.generation);
            let id = object_ref(group, "Gateway", &key);
            out.push(status_change(id, generation, stages.gateway_status.peek(&key)));
        }
        for key in unique(stages.set_status.take_changed()) {
            let generation = facts.listener_sets.peek(&key).map(|o| o.metadata.generation);
            let id = object_ref(group, "ListenerSet", &key);
            out.push(status_change(id, generation, stages.set_status.peek(&key)));
        }
        for key in unique(stages.route_status.take_changed()) {
            let generation = facts.routes.peek(&key).map(|o| o.meta().generation);
            let id = object_ref(group, key.kind.as_str(), &key.object);
            out.push(status_change(id, generation, stages.route_status.peek(&key)));
        }
        for key in unique(stages.backend_status.take_changed()) {
            let generation = facts.backends.peek(&key).map(|o| o.metadata.generation);
            let id = object_ref(crate::backends::ENVOY_GATEWAY_GROUP, "Backend", &key);
            out.push(status_change(id, generation, stages.backend_status.peek(&key)));
        }
        for key in unique(stages.policy_status.take_changed()) {
            let GroupKind { group, kind } = key.0.group_kind();
            let id = object_ref(group, kind, &key.1);
            out.push(status_change(id, facts.policy_generation(&key), stages.policy_status.peek(&key)));
        }
    }
}

fn status_change(object: ObjectRef, generation: Option<i64>, status: Option<&StatusText>) -> StatusChange {
    let status = status.filter(|status| &***status != "null").cloned();
    StatusChange { object, generation: generation.unwrap_or_default(), status }
}

fn object_ref(group: &str, kind: &str, key: &NamespacedName) -> ObjectRef {
    ObjectRef {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}
