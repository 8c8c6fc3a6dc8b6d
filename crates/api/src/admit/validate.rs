//! Structural validation: types, limits, patterns, required fields, duplicates; then CEL rules.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::{
    issue::{Issues, Part, Path},
    suggest,
};
use crate::schema::{ListType, Schema, Table, Type, rule};

/// A check that did not pass.
struct Failure {
    message: String,
    suggestion: Option<String>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None }
    }

    fn suggest(self, suggestion: Option<String>) -> Self {
        Self { suggestion, ..self }
    }
}

/// Reports where a value does not obey a schema.
pub(crate) fn validate(
    table: &Table,
    schema: &Schema,
    value: &Value,
    path: &Path<'_>,
    issues: &mut Issues<'_>,
) {
    check(table, schema, value, path, &mut |path, failure| {
        issues.error(path, Part::Value, failure.message, failure.suggestion);
    });
}

type Report<'r> = &'r mut dyn FnMut(&Path<'_>, Failure);

fn check(table: &Table, schema: &Schema, value: &Value, path: &Path<'_>, report: Report<'_>) {
    if let Err(failure) = check_type(schema, value) {
        return report(path, failure);
    }
    if let Err(failure) = check_enum(schema, value) {
        report(path, failure);
    }
    match value {
        Value::String(text) => {
            if let Err(failure) = check_text(schema, text) {
                report(path, failure);
            }
        }
        Value::Number(number) => {
            if let Err(failure) = check_number(schema, number) {
                report(path, failure);
            }
        }
        Value::Array(items) => check_list(table, schema, items, path, report),
        Value::Object(fields) => check_map(table, schema, fields, path, report),
        Value::Null | Value::Bool(_) => {}
    }
    check_combined(table, schema, value, path, report);
}

fn check_type(schema: &Schema, value: &Value) -> Result<(), Failure> {
    if value.is_null() && schema.nullable {
        return Ok(());
    }
    if schema.int_or_string {
        let ok = value.is_string() || whole(value);
        return if ok { Ok(()) } else { Err(Failure::new("must be an integer or a string")) };
    }
    let Some(expected) = schema.schema_type else { return Ok(()) };
    let (ok, name) = match expected {
        Type::Array => (value.is_array(), "a list"),
        Type::Boolean => (value.is_boolean(), "true or false"),
        Type::Integer => (whole(value), "an integer"),
        Type::Number => (value.is_number(), "a number"),
        Type::Object => (value.is_object(), "a mapping"),
        Type::String => (value.is_string(), "a string"),
    };
    if ok {
        return Ok(());
    }
    Err(Failure::new(format!("must be {name}, not {}", described(value)))
        .suggest(other_type(expected, value)))
}

fn whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn other_type(expected: Type, value: &Value) -> Option<String> {
    Some(match (expected, value) {
        (Type::String, Value::Number(_) | Value::Bool(_)) => "put it in quotes".into(),
        (Type::Integer | Type::Number, Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
            format!("write it without quotes: {}", text.trim())
        }
        (Type::Boolean, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("write it without quotes: {text}")
        }
        (Type::Array, Value::Object(_)) => "start the item with `- `".into(),
        (Type::Array, Value::String(text)) => format!("write a list: [{text}]"),
        (Type::Object | Type::Array, Value::Null) => "indent its content, or remove it".into(),
        (Type::Object, Value::Array(_)) => "remove the `- ` in front of it".into(),
        _ => return None,
    })
}

fn check_enum(schema: &Schema, value: &Value) -> Result<(), Failure> {
    if schema.allowed.is_empty() || schema.allowed.contains(value) {
        return Ok(());
    }
    let words: Vec<String> = schema.allowed.iter().map(plain).collect();
    let given = plain(value);
    let suggestion = suggest::near_miss(given.trim(), words.iter().map(String::as_str));
    Err(Failure::new(format!("must be one of {}", words.join(", "))).suggest(suggestion))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_text(schema: &Schema, text: &str) -> Result<(), Failure> {
    let length = text.chars().count();
    if schema.min_length.is_some_and(|limit| length < limit) {
        return Err(Failure::new(match schema.min_length {
            Some(limit) if limit > 1 => format!("must have at least {limit} characters"),
            _ => "must not be empty".to_owned(),
        }));
    }
    if let Some(limit) = schema.max_length.filter(|limit| length > *limit) {
        return Err(Failure::new(format!("must have at most {limit} characters, not {length}")));
    }
    if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let repaired = suggest::repaired(text, |candidate| pattern.is_match(candidate));
        let suggestion = repaired.or_else(|| suggest::hint(text));
        return Err(Failure::new(format!("must match the pattern {}", pattern.as_str())).suggest(suggestion));
    }
    let format_ok = match schema.format.as_deref() {
        Some("ipv4") => text.parse::<std::net::Ipv4Addr>().is_ok(),
        Some("ipv6") => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if format_ok { Ok(()) } else { Err(Failure::new("must be an IP address")) }
}

fn check_number(schema: &Schema, number: &Number) -> Result<(), Failure> {
    let format = schema.format.as_deref();
    let (low, high) = if format == Some("int32") {
        (i128::from(i32::MIN), i128::from(i32::MAX))
    } else {
        (i128::from(i64::MIN), i128::from(i64::MAX))
    };
    let low = schema.minimum.map_or(low, i128::from);
    let high = schema.maximum.map_or(high, i128::from);
    let value = number.as_i128().or_else(|| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "out of range saturates and so stays out of range"
        )]
        number.as_f64().map(|value| value as i128)
    });
    if value.is_some_and(|value| (low..=high).contains(&value)) {
        return Ok(());
    }
    Err(Failure::new(match (schema.minimum, schema.maximum) {
        (Some(low), None) => format!("must be at least {low}"),
        _ => format!("must be between {low} and {high}"),
    }))
}

fn check_count(what: &str, count: usize, least: Option<usize>, most: Option<usize>) -> Result<(), Failure> {
    if let Some(least) = least.filter(|least| count < *least) {
        return Err(Failure::new(format!("must have at least {least} {what}")));
    }
    match most.filter(|most| count > *most) {
        Some(most) => Err(Failure::new(format!("must have at most {most} {what}, not {count}"))),
        None => Ok(()),
    }
}

fn check_list(table: &Table, schema: &Schema, items: &[Value], path: &Path<'_>, report: Report<'_>) {
    if let Err(failure) = check_count("items", items.len(), schema.min_items, schema.max_items) {
        report(path, failure);
    }
    if let Some(item_schema) = schema.items.map(|items| table.node(items)) {
        for (index, item) in items.iter().enumerate() {
            check(table, item_schema, item, &path.index(index), report);
        }
    }
    if matches!(schema.list_type, Some(ListType::Map | ListType::Set)) {
        check_unique(schema, items, path, report);
    }
}

/// Items of a set are unique, those of a map by their keys.
fn check_unique(schema: &Schema, items: &[Value], path: &Path<'_>, report: Report<'_>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match schema.list_type {
            Some(ListType::Map) => {
                schema.list_map_keys.iter().map(|key| item.get(key).map(Value::to_string)).collect()
            }
            _ => vec![Some(item.to_string())],
        };
        if seen.insert(identity) {
            continue;
        }
        let item_path = path.index(index);
        match schema.list_map_keys.as_slice() {
            [] => report(&item_path, Failure::new("is listed twice")),
            [key] => report(&item_path.field(key), Failure::new(format!("another item has the same {key}"))),
            keys => {
                report(&item_path, Failure::new(format!("another item has the same {}", keys.join(" and "))));
            }
        }
    }
}

fn check_map(
    table: &Table,
    schema: &Schema,
    fields: &Map<String, Value>,
    path: &Path<'_>,
    report: Report<'_>,
) {
    if let Err(failure) = check_count("entries", fields.len(), schema.min_properties, schema.max_properties) {
        report(path, failure);
    }
    for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
        report(&path.field(name), Failure::new("required field is missing"));
    }
    for (name, value) in fields {
        if let Some(property) = schema.property(name) {
            check(table, table.node(property), value, &path.field(name), report);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn check_combined(table: &Table, schema: &Schema, value: &Value, path: &Path<'_>, report: Report<'_>) {
    for id in &schema.all_of {
        check(table, table.node(*id), value, path, report);
    }
    let passes = |id: &crate::schema::NodeId| {
        let mut ok = true;
        check(table, table.node(*id), value, path, &mut |_, _| ok = false);
        ok
    };
    if !schema.any_of.is_empty() && !schema.any_of.iter().any(passes) {
        explain(table, schema.any_of[0], value, path, report);
    }
    if !schema.one_of.is_empty() {
        match schema.one_of.iter().filter(|id| passes(id)).count() {
            0 => explain(table, schema.one_of[0], value, path, report),
            1 => {}
            _ => report(path, Failure::new("matches more than one of the allowed forms")),
        }
    }
    if schema.not.as_ref().is_some_and(passes) {
        report(path, Failure::new("is not allowed"));
    }
}

/// Says what is wrong by the first of several forms, none of which fits.
fn explain(table: &Table, first: crate::schema::NodeId, value: &Value, path: &Path<'_>, report: Report<'_>) {
    check(table, table.node(first), value, path, report);
}

/// Reports the CEL rules that do not hold. Only for values that are structurally valid.
pub(crate) fn check_rules(
    table: &Table,
    schema: &Schema,
    value: &Value,
    path: &Path<'_>,
    issues: &mut Issues<'_>,
) {
    if !schema.has_rules {
        return;
    }
    if !schema.rules.is_empty() {
        let context = rule::context(table, schema, value);
        for rule in schema.rules.iter().filter(|rule| !rule.is_transition()) {
            let detail = match rule.holds(&context) {
                Ok(true) => continue,
                Ok(false) => String::new(),
                Err(error) => format!(" (the rule could not be evaluated: {error})"),
            };
            let message = rule.message.clone().unwrap_or_else(|| format!("fails the rule {}", rule.text));
            issues.error(path, Part::Value, message + &detail, None);
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(property) = schema.property(name) {
                    check_rules(table, table.node(property), value, &path.field(name), issues);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.map(|items| table.node(items)) else { return };
            for (index, item) in items.iter().enumerate() {
                check_rules(table, schema, item, &path.index(index), issues);
            }
        }
        _ => {}
    }
}
