//! CEL rules: compiled once, evaluated over JSON without copying its strings.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, LazyLock, OnceLock},
};

use cel::{
    Context, Env, ExecutionError, Program,
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString},
        value::Val,
    },
};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{Schema, Table};

/// A rule that `self` must satisfy.
#[derive(Deserialize)]
#[serde(from = "Written")]
pub(crate) struct Rule {
    pub(crate) text: String,
    pub(crate) message: Option<String>,
    program: OnceLock<Result<Program, String>>,
}

/// A rule as the table has it. Other keywords (`messageExpression`, `fieldPath`, `reason`, `optionalOldSelf`) are in
/// no CRD of the table; one that brings them fails to parse and so asks to be implemented.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: String,
    message: Option<String>,
}

impl From<Written> for Rule {
    fn from(Written { rule, message }: Written) -> Self {
        Self { text: rule, message, program: OnceLock::new() }
    }
}

impl Rule {
    /// Whether it compares with the stored object; the API server skips such rules when it creates one, and so does
    /// admission, which knows no stored object.
    pub(crate) fn is_transition(&self) -> bool {
        self.text.contains("oldSelf")
    }

    /// The compiled rule.
    pub(crate) fn program(&self) -> Result<&Program, &str> {
        let compiled =
            self.program.get_or_init(|| ENV.compile(&self.text).map_err(|error| error.to_string()));
        compiled.as_ref().map_err(String::as_str)
    }

    /// Whether the rule holds; an error when it cannot be evaluated, which the API server also counts as a failure.
    /// A field that is read without being asked for by `has` and is missing is the user's omission: no error.
    pub(crate) fn holds(&self, context: &Context<'_, '_>) -> Result<bool, String> {
        match self.program()?.execute(context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the rule is no condition".into()),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A context in which `self` is a value of that schema.
pub(crate) fn context<'v>(table: &Table, schema: &Schema, value: &'v Value) -> Context<'v, 'v> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_as_val("self", to_cel(table, Some(schema), value));
    context
}

/// JSON to CEL. Properties whose names CEL reserves are known under their escaped names too.
fn to_cel<'v>(table: &Table, schema: Option<&Schema>, value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Box::new(CelInt::from(number)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items).map(|id| table.node(id));
            Box::new(CelList::from(items.iter().map(|item| to_cel(table, schema, item)).collect::<Vec<_>>()))
        }
        Value::Object(fields) => {
            let mut map: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> = HashMap::with_capacity(fields.len());
            for (name, value) in fields {
                let property = schema.and_then(|schema| schema.property(name)).map(|id| table.node(id));
                let declared = schema.is_some_and(|schema| schema.properties.contains_key(name));
                if declared && let Some(escaped) = escaped(name) {
                    map.insert(CelMapKey::from(escaped), to_cel(table, property, value));
                }
                map.insert(CelMapKey::from(name.as_str()), to_cel(table, property, value));
            }
            Box::new(CelMap::from(map))
        }
    }
}

/// A property name that CEL reserves, as Kubernetes escapes it.
fn escaped(name: &str) -> Option<String> {
    const RESERVED: [&str; 21] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    name.contains(['.', '-', '/']).then(|| {
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__")
    })
}

/// CEL's standard functions, its strings library, and those of Kubernetes' libraries that the table's rules use.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).expect("the library is added once");
    functions(&mut env).expect("names and signatures are new");
    Arc::new(env)
});

#[expect(elided_lifetimes_in_paths, reason = "the macros take bare type names")]
fn functions(env: &mut Env) -> Result<(), cel::DeclarationError> {
    cel::add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>)?;
    cel::add_overload!(env, fn is_ip: (CelString) -> CelBool, name = "isIP")?;
    cel::add_overload!(env, fn duration: (CelString) -> Result<CelInt>)?;
    cel::add_overload!(env, fn dns1123_subdomain: () -> CelString, name = "format.dns1123Subdomain")?;
    cel::add_overload!(env, fn qualified_name: () -> CelString, name = "format.qualifiedName")?;
    cel::add_member_overload!(env, fn validate: (CelString, CelString) -> Result<CelOptional>)?;
    Ok(())
}

/// As CEL's own, which compiles the expression anew each time.
fn matches(this: &CelString<'_>, expression: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    thread_local! {
        /// Compiled expressions by their text: those of the table's rules, a dozen.
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(expression.inner()) {
            return Ok(CelBool::from(regex.is_match(this.inner())));
        }
        let regex = Regex::new(expression.inner())
            .map_err(|error| ExecutionError::function_error("matches", error.to_string()))?;
        let matched = regex.is_match(this.inner());
        compiled.insert(expression.inner().to_owned(), regex);
        Ok(CelBool::from(matched))
    })
}

/// Kubernetes knows neither zones nor IPv4 addresses mapped into IPv6 here.
fn is_ip(text: &CelString<'_>) -> CelBool {
    CelBool::from(match text.inner().parse() {
        Ok(IpAddr::V4(_)) => true,
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().is_none(),
        Err(_) => false,
    })
}

/// A duration as its nanoseconds: the rules compare durations and do nothing else with them.
fn duration(text: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    nanoseconds(text.inner()).map(CelInt::from).ok_or_else(|| {
        ExecutionError::function_error("duration", format!("{:?} is no duration", text.inner()))
    })
}

/// Go's duration syntax with whole numbers, which is all that Gateway API allows.
fn nanoseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let scale = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = number.parse::<i64>().ok()?.checked_mul(scale)?.checked_add(total)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// A format is known by its name alone.
fn dns1123_subdomain() -> CelString<'static> {
    CelString::from("dns1123Subdomain")
}

fn qualified_name() -> CelString<'static> {
    CelString::from("qualifiedName")
}

/// The complaints of a format about a text; none when it is valid.
fn validate(format: &CelString<'_>, text: &CelString<'_>) -> Result<CelOptional<'static>, ExecutionError> {
    let complaint = match format.inner() {
        "dns1123Subdomain" => crate::names::subdomain(text.inner()).err(),
        "qualifiedName" => crate::names::qualified(text.inner()).err(),
        other => {
            return Err(ExecutionError::function_error("validate", format!("format {other} is not known")));
        }
    };
    Ok(match complaint {
        Some(complaint) => {
            let complaints: Vec<Box<dyn Val>> = vec![Box::new(CelString::from(complaint.to_owned()))];
            CelOptional::of(Box::new(CelList::from(complaints)))
        }
        None => CelOptional::none(),
    })
}
