//! Character classes: `[...]`, POSIX names, Unicode groups.

use super::{Parsed, Parser, escape};

const POSIX: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

const CATEGORIES: &[&str] = &[
    "Any", "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd",
    "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp",
    "Zs",
];

impl Parser<'_> {
    pub(super) fn class(&mut self) -> Parsed {
        let whole = self.rest;
        let missing = || format!("missing ]: {whole}");
        let mut rest = whole[1..].strip_prefix('^').unwrap_or(&whole[1..]);
        let mut first = true;
        loop {
            match rest.chars().next() {
                None => return Err(missing()),
                Some(']') if !first => break,
                Some(_) => {}
            }
            first = false;
            if posix_name(&mut rest)? || set_escape(&mut rest)? {
                continue;
            }
            range(&mut rest, &missing)?;
        }
        self.rest = &rest[1..];
        Ok(())
    }
}

/// `[:alpha:]`; without `:]` the bracket is a character like others.
fn posix_name(rest: &mut &str) -> Result<bool, String> {
    let Some(end) = rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) else {
        return Ok(false);
    };
    let (text, tail) = rest.split_at(end + 4);
    let name = &text[2..end + 2];
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(format!("invalid character class range: {text}"));
    }
    *rest = tail;
    Ok(true)
}

/// `\d`, `\pL` and the like inside a class.
fn set_escape(rest: &mut &str) -> Result<bool, String> {
    match rest.strip_prefix('\\').and_then(|tail| tail.chars().next()) {
        Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
            *rest = &rest[2..];
            Ok(true)
        }
        Some('p' | 'P') if rest.len() > 2 => unicode_group(rest).map(|()| true),
        _ => Ok(false),
    }
}

/// One character or a range of two.
fn range(rest: &mut &str, missing: &dyn Fn() -> String) -> Parsed {
    let start = *rest;
    let low = class_character(rest, missing)?;
    if !rest.starts_with('-') || rest.len() < 2 || rest.starts_with("-]") {
        return Ok(());
    }
    *rest = &rest[1..];
    let high = class_character(rest, missing)?;
    if high < low {
        return Err(format!("invalid character class range: {}", &start[..start.len() - rest.len()]));
    }
    Ok(())
}

fn class_character(rest: &mut &str, missing: &dyn Fn() -> String) -> Result<u32, String> {
    match rest.chars().next() {
        None => Err(missing()),
        Some('\\') => escape::character(rest),
        Some(c) => {
            *rest = &rest[c.len_utf8()..];
            Ok(c.into())
        }
    }
}

/// `\pN`, `\p{Greek}`, `\P{^Lu}` at the start of `rest`.
pub(super) fn unicode_group(rest: &mut &str) -> Parsed {
    let start = *rest;
    let (name, tail) = match start[2..].chars().next() {
        None => return Err("invalid UTF-8".to_owned()),
        Some('{') => match start[3..].split_once('}') {
            Some(parts) => parts,
            None => return Err(format!("invalid character class range: {start}")),
        },
        Some(c) => start[2..].split_at(c.len_utf8()),
    };
    *rest = tail;
    let text = &start[..start.len() - tail.len()];
    let name = name.strip_prefix('^').unwrap_or(name);
    if CATEGORIES.contains(&name) || is_script(name) {
        return Ok(());
    }
    Err(format!("invalid character class range: {text}"))
}

/// Whether it is the name of a script in RE2's spelling (`Old_Italic`).
fn is_script(name: &str) -> bool {
    let spelled = name.split('_').all(|word| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    }) || name == "Nko"
        || name == "SignWriting";
    spelled && name.len() > 3 && regex_syntax::parse(&format!(r"\p{{sc={name}}}")).is_ok()
}
