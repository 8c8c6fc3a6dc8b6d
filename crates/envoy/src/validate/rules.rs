//! The validation rules (`validate.rules` options) of all known messages, compiled once.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};
use regex::Regex;

use super::message::number;
use crate::descriptors::pool;

/// Rules of a message. Fields without rules are not listed.
pub(super) struct MessageRules {
    pub(super) fields: Vec<(FieldDescriptor, FieldRules)>,
    pub(super) required_oneofs: Vec<OneofDescriptor>,
}

/// Rules of a field.
#[derive(Default)]
pub(super) struct FieldRules {
    pub(super) required: bool,
    /// The message in the field is not checked.
    pub(super) skip: bool,
    pub(super) size: Size,
    /// Of list items and map values.
    pub(super) items: Option<Box<FieldRules>>,
    pub(super) leaf: Option<Leaf>,
}

/// Number of items, pairs or bytes.
pub(super) struct Size {
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) ignore_empty: bool,
}

/// Rules of a single value.
pub(super) enum Leaf {
    Text(TextRules),
    Bytes(Size),
    Number(NumberRules),
    Bool(bool),
    Enum(EnumRules),
}

pub(super) struct TextRules {
    characters: Size,
    bytes: Size,
    pattern: Option<Regex>,
    prefix: String,
    exact: Option<String>,
    one_of: Vec<String>,
    none_of: Vec<String>,
}

#[derive(Default)]
pub(super) struct NumberRules {
    gt: Option<f64>,
    gte: Option<f64>,
    lt: Option<f64>,
    lte: Option<f64>,
    one_of: Vec<f64>,
    none_of: Vec<f64>,
}

pub(super) struct EnumRules {
    defined: Option<EnumDescriptor>,
    none_of: Vec<i32>,
}

static RULES: LazyLock<HashMap<String, MessageRules>> = LazyLock::new(|| {
    let extension = |name| pool().all_extensions().find(|extension| extension.full_name() == name);
    // Without the extensions' definitions there are no rules to read.
    let (Some(field), Some(oneof)) = (extension("validate.rules"), extension("validate.required")) else {
        return HashMap::new();
    };
    pool()
        .all_messages()
        .filter(|message| !message.full_name().starts_with("validate."))
        .filter_map(|message| {
            let rules = compile(&message, &field, &oneof)?;
            Some((message.full_name().to_owned(), rules))
        })
        .collect()
});

pub(super) fn rules_of(message: &str) -> &'static MessageRules {
    static NONE: MessageRules = MessageRules { fields: Vec::new(), required_oneofs: Vec::new() };
    RULES.get(message).unwrap_or(&NONE)
}

fn compile(
    message: &MessageDescriptor,
    field_option: &ExtensionDescriptor,
    oneof_option: &ExtensionDescriptor,
) -> Option<MessageRules> {
    let fields: Vec<_> = message
        .fields()
        .filter_map(|field| {
            let options = field.options();
            let set = options.has_extension(field_option).then(|| options.get_extension(field_option))?;
            let rules = field_rules(set.as_message()?, &field.kind());
            Some((field, rules))
        })
        .collect();
    let required_oneofs: Vec<_> = message
        .oneofs()
        .filter(|oneof| oneof.options().get_extension(oneof_option).as_bool() == Some(true))
        .collect();
    (!fields.is_empty() || !required_oneofs.is_empty()).then_some(MessageRules { fields, required_oneofs })
}

/// `kind` tells the enumeration of enum rules.
fn field_rules(rules: &DynamicMessage, kind: &Kind) -> FieldRules {
    let mut out = FieldRules::default();
    for (field, value) in rules.fields() {
        let Some(rules) = value.as_message() else { continue };
        match field.name() {
            "message" => {
                out.required |= flag(rules, "required");
                out.skip = flag(rules, "skip");
            }
            "repeated" => {
                out.size = size(rules, "min_items", "max_items");
                out.items = nested(rules, "items", kind);
            }
            "map" => {
                out.size = size(rules, "min_pairs", "max_pairs");
                out.items = nested(rules, "values", kind);
            }
            "any" => out.required |= flag(rules, "required"),
            "string" => out.leaf = Some(Leaf::Text(text(rules))),
            "bytes" => out.leaf = Some(Leaf::Bytes(size(rules, "min_len", "max_len"))),
            "bool" => out.leaf = set(rules, "const").and_then(|value| value.as_bool()).map(Leaf::Bool),
            "enum" => out.leaf = Some(Leaf::Enum(enumeration(rules, kind))),
            _ => {
                out.required |= flag(rules, "required");
                out.leaf = Some(Leaf::Number(numbers(rules)));
            }
        }
    }
    out
}

fn nested(rules: &DynamicMessage, name: &str, kind: &Kind) -> Option<Box<FieldRules>> {
    set(rules, name).and_then(|value| value.as_message().map(|rules| Box::new(field_rules(rules, kind))))
}

fn set(rules: &DynamicMessage, name: &str) -> Option<Value> {
    rules.has_field_by_name(name).then(|| rules.get_field_by_name(name).map(std::borrow::Cow::into_owned))?
}

fn flag(rules: &DynamicMessage, name: &str) -> bool {
    set(rules, name).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn size(rules: &DynamicMessage, least: &str, most: &str) -> Size {
    let limit = |name| {
        let value = set(rules, name).and_then(|value| value.as_u64());
        value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    Size {
        least: limit(least).unwrap_or(0),
        most: limit(most).unwrap_or(usize::MAX),
        ignore_empty: flag(rules, "ignore_empty"),
    }
}

impl Default for Size {
    fn default() -> Self {
        Self { least: 0, most: usize::MAX, ignore_empty: false }
    }
}

fn strings(rules: &DynamicMessage, name: &str) -> Vec<String> {
    let items = set(rules, name).and_then(|value| value.as_list().map(<[Value]>::to_vec)).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn string(rules: &DynamicMessage, name: &str) -> Option<String> {
    set(rules, name).and_then(|value| value.as_str().map(str::to_owned))
}

fn text(rules: &DynamicMessage) -> TextRules {
    TextRules {
        characters: size(rules, "min_len", "max_len"),
        bytes: size(rules, "min_bytes", "max_bytes"),
        pattern: string(rules, "pattern").or_else(|| well_known(rules)).and_then(|p| Regex::new(&p).ok()),
        prefix: string(rules, "prefix").unwrap_or_default(),
        exact: string(rules, "const"),
        one_of: strings(rules, "in"),
        none_of: strings(rules, "not_in"),
    }
}

/// `HTTP_HEADER_NAME` and `HTTP_HEADER_VALUE`, strict unless said otherwise.
fn well_known(rules: &DynamicMessage) -> Option<String> {
    const NAME: i32 = 1;
    let known = set(rules, "well_known_regex")?.as_enum_number()?;
    let strict = set(rules, "strict").and_then(|value| value.as_bool()).unwrap_or(true);
    let pattern = match (known, strict) {
        (NAME, true) => r"^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]*$",
        (_, true) => r"^[^\x00-\x08\x0A-\x1F\x7F]*$",
        (_, false) => r"^[^\x00\n\r]*$",
    };
    Some(pattern.to_owned())
}

impl TextRules {
    pub(super) fn finding(&self, text: &str) -> Option<String> {
        if text.is_empty() && (self.characters.ignore_empty || self.bytes.ignore_empty) {
            return None;
        }
        let characters = text.chars().count();
        if characters < self.characters.least || characters > self.characters.most {
            let Size { least, most, .. } = self.characters;
            let (side, limit) = if characters < least { ("least", least) } else { ("most", most) };
            return Some(format!("value length must be at {side} {limit} characters"));
        }
        if text.len() < self.bytes.least || text.len() > self.bytes.most {
            let Size { least, most, .. } = self.bytes;
            return Some(format!("value length must be between {least} and {most} bytes"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            return Some(format!("value does not match regex pattern {:?}", pattern.as_str()));
        }
        let exact = self.exact.as_deref().is_none_or(|exact| exact == text);
        let listed = self.one_of.is_empty() || self.one_of.iter().any(|item| item == text);
        let banned = self.none_of.iter().any(|item| item == text);
        (!exact || !listed || banned || !text.starts_with(&self.prefix))
            .then(|| format!("value {text:?} is not one of those allowed"))
    }
}

fn numbers(rules: &DynamicMessage) -> NumberRules {
    let one = |name| set(rules, name).as_ref().and_then(number);
    let list = |name| {
        let items = set(rules, name).and_then(|value| value.as_list().map(<[Value]>::to_vec));
        items.unwrap_or_default().iter().filter_map(number).collect::<Vec<_>>()
    };
    NumberRules {
        gt: one("gt"),
        gte: one("gte"),
        lt: one("lt"),
        lte: one("lte"),
        one_of: one("const").map_or_else(|| list("in"), |value| vec![value]),
        none_of: list("not_in"),
    }
}

impl NumberRules {
    #[allow(clippy::float_cmp)] // the limits are small whole numbers
    pub(super) fn finding(&self, value: f64) -> Option<String> {
        let outside = |limit: Option<f64>, holds: fn(&f64, &f64) -> bool, words: &str| {
            limit.filter(|limit| !holds(&value, limit)).map(|limit| format!("value must be {words} {limit}"))
        };
        outside(self.gt, f64::gt, "greater than")
            .or_else(|| outside(self.gte, f64::ge, "greater than or equal to"))
            .or_else(|| outside(self.lt, f64::lt, "less than"))
            .or_else(|| outside(self.lte, f64::le, "less than or equal to"))
            .or_else(|| {
                let listed = self.one_of.is_empty() || self.one_of.contains(&value);
                let banned = self.none_of.contains(&value);
                (!listed || banned).then(|| format!("value {value} is not one of those allowed"))
            })
    }
}

fn enumeration(rules: &DynamicMessage, kind: &Kind) -> EnumRules {
    let defined = flag(rules, "defined_only").then(|| kind.as_enum().cloned()).flatten();
    let none_of = set(rules, "not_in").and_then(|value| value.as_list().map(<[Value]>::to_vec));
    let none_of = none_of.unwrap_or_default();
    EnumRules { defined, none_of: none_of.iter().filter_map(Value::as_i32).collect() }
}

impl EnumRules {
    pub(super) fn allows(&self, number: i32) -> bool {
        let defined = self.defined.as_ref().is_none_or(|kind| kind.get_value(number).is_some());
        defined && !self.none_of.contains(&number)
    }
}
