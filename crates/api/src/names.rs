//! The syntax of Kubernetes' names. Errors are for people: they complete "must be ...".

const SUBDOMAIN: &str = "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, at most 253 characters";
const TRUST_BUNDLE: &str = "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, after the signer's name with \
     `:` for `/` and a last `:` where it has a signer, at most 253 characters";
const LABEL: &str =
    "lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters";
const QUALIFIED: &str = "letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, at most 63 characters, after an \
     optional DNS name and `/`";
const LABEL_VALUE: &str = "empty, or letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, at most 63 characters";
const PORT_NAME: &str =
    "lower-case letters, digits and single `-`, with at least one letter, at most 15 characters";
const DATA_KEY: &str = "letters, digits, `-`, `_` and `.`, at most 253 characters, and not `.` or `..`";

/// A complaint: completes "must be ...".
pub(crate) type Complaint = &'static str;

fn ensure(ok: bool, complaint: Complaint) -> Result<(), Complaint> {
    if ok { Ok(()) } else { Err(complaint) }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Non-empty, of these bytes, with ends of those.
fn is_word(text: &str, inner: impl Fn(u8) -> bool, end: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        bytes => {
            end(bytes[0]) && end(bytes[bytes.len() - 1]) && bytes.iter().all(|&byte| inner(byte) || end(byte))
        }
    }
}

fn is_label(text: &str) -> bool {
    is_word(text, |byte| byte == b'-', is_lower)
}

fn is_qualified_word(text: &str) -> bool {
    text.len() <= 63
        && is_word(text, |byte| matches!(byte, b'-' | b'_' | b'.'), |byte| byte.is_ascii_alphanumeric())
}

/// An RFC 1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Result<(), Complaint> {
    ensure(text.len() <= 253 && text.split('.').all(is_label), SUBDOMAIN)
}

/// A DNS name, after `<signer's domain>:<signer's path>:` where it belongs to a signer.
pub(crate) fn trust_bundle(text: &str) -> Result<(), Complaint> {
    ensure(text.len() <= 253 && text.split(':').all(|part| subdomain(part).is_ok()), TRUST_BUNDLE)
}

/// An RFC 1123 label.
pub(crate) fn label(text: &str) -> Result<(), Complaint> {
    ensure(text.len() <= 63 && is_label(text), LABEL)
}

/// The key of a label or annotation.
pub(crate) fn qualified(text: &str) -> Result<(), Complaint> {
    let name = match text.split_once('/') {
        Some((prefix, name)) if subdomain(prefix).is_ok() => name,
        Some(_) => return Err(QUALIFIED),
        None => text,
    };
    ensure(is_qualified_word(name), QUALIFIED)
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Result<(), Complaint> {
    ensure(text.is_empty() || is_qualified_word(text), LABEL_VALUE)
}

/// The name of a pod's port.
pub(crate) fn port_name(text: &str) -> Result<(), Complaint> {
    let ok = text.len() <= 15
        && is_label(text)
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    ensure(ok, PORT_NAME)
}

/// A key of a ConfigMap or Secret.
pub(crate) fn data_key(text: &str) -> Result<(), Complaint> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ok = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(allowed)
        && !text.starts_with("..")
        && text != ".";
    ensure(ok, DATA_KEY)
}
