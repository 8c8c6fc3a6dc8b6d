//! Fields: those nobody knows, nulls, defaults.

use serde_json::{Map, Value};

use super::{
    issue::{Issues, Part, Path},
    suggest,
};
use crate::schema::{Schema, Table, Type};

/// Reports fields that the schema does not declare, as `kubectl apply --validate=strict` does.
pub(crate) fn report_unknown(
    table: &Table,
    schema: &Schema,
    value: &Value,
    path: &Path<'_>,
    issues: &mut Issues<'_>,
) {
    match value {
        // A mapping where something else belongs is reported as such, not field by field.
        Value::Object(_) if !matches!(schema.schema_type, None | Some(Type::Object)) => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = path.field(name);
                match schema.property(name) {
                    Some(property) => report_unknown(table, table.node(property), value, &path, issues),
                    None if schema.preserve_unknown || schema.schema_type.is_none() => {}
                    None => {
                        let suggestion = instead(table, schema, fields, name);
                        issues.error(&path, Part::Key, "unknown field".into(), suggestion);
                    }
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.map(|items| table.node(items)) else { return };
            for (index, item) in items.iter().enumerate() {
                report_unknown(table, schema, item, &path.index(index), issues);
            }
        }
        _ => {}
    }
}

/// What may have been meant by an unknown field: one beside it that is empty has lost the indentation of its content,
/// or the name is misspelt.
fn instead(table: &Table, schema: &Schema, fields: &Map<String, Value>, name: &str) -> Option<String> {
    let declares = |id| table.node(id).properties.contains_key(name);
    let mut owners = schema.properties.iter().filter(|(_, id)| declares(**id)).map(|(owner, _)| owner);
    let lost = owners.clone().find(|owner| fields.get(*owner).is_some_and(Value::is_null));
    if let Some(owner) = lost {
        return Some(format!("indent it, so that it belongs to `{owner}:`"));
    }
    suggest::near_miss(name, schema.properties.keys().map(String::as_str))
        .or_else(|| suggest::hint(name))
        .or_else(|| owners.next().map(|owner| format!("it belongs under `{owner}:`")))
}

/// Removes nulls everywhere, as decoding into Go's structs does.
pub(crate) fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Structural defaulting: absent properties with a default, and nulls where null is not allowed, take the default;
/// then the same below, so that a default is completed by the defaults inside it.
pub(crate) fn default(table: &Table, schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let property = table.node(*property);
                let Some(default) = &property.default else { continue };
                match fields.get(name) {
                    None => {}
                    Some(Value::Null) if !property.nullable => {}
                    Some(_) => continue,
                }
                fields.insert(name.clone(), default.clone());
            }
            for (name, value) in fields {
                if let Some(property) = schema.property(name) {
                    self::default(table, table.node(property), value);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.map(|items| table.node(items)) else { return };
            for item in items {
                self::default(table, schema, item);
            }
        }
        _ => {}
    }
}
