//! What a request asks its answer to be.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};

/// Longest delay that a request may ask for: a typo must not hang a test for hours.
const MAX_DELAY: Duration = Duration::from_mins(10);
/// Largest body that a request may ask for, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Header that asks for response headers, as a comma-separated list of `Name:Value`.
const SET_HEADER: &str = "x-echo-set-header";

/// The instructions of one request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Control {
    pub(super) delay: Duration,
    pub(super) status: Option<StatusCode>,
    /// Headers to add to the response, in the order asked for.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Size of the body that replaces the capture.
    pub(super) bytes: Option<usize>,
    pub(super) flaky: Option<Flaky>,
}

/// A backend that fails the first attempts of one logical request.
#[derive(Debug, PartialEq)]
pub(super) struct Flaky {
    /// What all attempts have in common.
    pub(super) uuid: String,
    pub(super) status: StatusCode,
    /// How many attempts fail.
    pub(super) succeed_after: u32,
}

/// An instruction that makes no sense; its text is the body of the 400.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value}: {reason}")]
pub(super) struct BadControl {
    name: String,
    value: String,
    reason: &'static str,
}

impl BadControl {
    fn new(name: &str, value: &str, reason: &'static str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), reason }
    }
}

impl Control {
    pub(super) fn new(parts: &request::Parts) -> Result<Self, BadControl> {
        let mut control = Self { status: status_in_path(parts.uri.path()), ..Self::default() };
        let mut flaky = FlakyQuery::default();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "delay" => control.delay = delay(&name, &value)?,
                "status" => control.status = Some(status(&name, &value)?),
                "echo-header" => control.headers.push(header(&name, &value)?),
                "bytes" => control.bytes = Some(bytes(&name, &value)?),
                "uuid" => flaky.uuid = Some(value.into_owned()),
                "responseCode" => flaky.status = Some(status(&name, &value)?),
                "succeedAfter" => flaky.succeed_after = Some(number(&name, &value)?),
                _ => {}
            }
        }
        control.flaky = flaky.complete();
        control.headers.extend(headers_asked_by_header(&parts.headers)?);
        Ok(control)
    }
}

#[derive(Default)]
struct FlakyQuery {
    uuid: Option<String>,
    status: Option<StatusCode>,
    succeed_after: Option<u32>,
}

impl FlakyQuery {
    /// Only the three together are a retry simulation: an application may use any of these names.
    fn complete(self) -> Option<Flaky> {
        Some(Flaky { uuid: self.uuid?, status: self.status?, succeed_after: self.succeed_after? })
    }
}

/// The status in `/status/503`; other paths under `/status/` are ordinary paths.
fn status_in_path(path: &str) -> Option<StatusCode> {
    status("path", path.strip_prefix("/status/")?).ok()
}

fn status(name: &str, value: &str) -> Result<StatusCode, BadControl> {
    let status = StatusCode::from_str(value).ok().filter(|status| !status.is_informational());
    status.ok_or_else(|| BadControl::new(name, value, "not a final HTTP status"))
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, BadControl> {
    value.parse().map_err(|_| BadControl::new(name, value, "not a number"))
}

fn bytes(name: &str, value: &str) -> Result<usize, BadControl> {
    let bytes = number(name, value)?;
    if bytes > MAX_BYTES {
        return Err(BadControl::new(name, value, "more than 64 MiB"));
    }
    Ok(bytes)
}

fn delay(name: &str, value: &str) -> Result<Duration, BadControl> {
    let delay =
        go_duration(value).ok_or_else(|| BadControl::new(name, value, "not a duration like 300ms"))?;
    if delay > MAX_DELAY {
        return Err(BadControl::new(name, value, "longer than 10m"));
    }
    Ok(delay)
}

/// A positive duration in Go's syntax, such as `300ms`, `1.5s` or `1m30s`.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = amount.parse::<f64>().ok()? * seconds_in(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

fn seconds_in(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

fn headers_asked_by_header(headers: &HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, BadControl> {
    let mut asked = Vec::new();
    for value in headers.get_all(SET_HEADER) {
        let list = value.to_str().map_err(|_| BadControl::new(SET_HEADER, "", "not visible ASCII"))?;
        for pair in list.split(',') {
            asked.push(header(SET_HEADER, pair)?);
        }
    }
    Ok(asked)
}

fn header(name: &str, pair: &str) -> Result<(HeaderName, HeaderValue), BadControl> {
    let bad = || BadControl::new(name, pair, "not a header like Name:Value");
    let (key, value) = pair.split_once(':').ok_or_else(bad)?;
    let key = HeaderName::from_bytes(key.trim().as_bytes()).map_err(|_| bad())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
    Ok((key, value))
}
