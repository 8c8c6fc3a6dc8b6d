//! Escapes of single characters.

/// The largest character of Latin-1.
const LARGEST: u32 = 0xff;

/// Reads one escape at the start of `rest` and gives the character it stands for.
pub(super) fn character(rest: &mut &str) -> Result<u32, String> {
    let start = *rest;
    let mut chars = start[1..].chars();
    let Some(first) = chars.next() else {
        return Err("trailing \\".to_owned());
    };
    let read = match first {
        '0'..='7' => octal(first, &mut chars),
        'x' if chars.as_str() == "{" => return Err("invalid UTF-8".to_owned()),
        'x' => hexadecimal(&mut chars),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'a' => Some(7),
        'f' => Some(12),
        'v' => Some(11),
        _ if first.is_ascii() && !first.is_ascii_alphanumeric() => Some(first.into()),
        _ => None,
    };
    *rest = chars.as_str();
    let text = &start[..start.len() - rest.len()];
    read.ok_or_else(|| format!("invalid escape sequence: {text}"))
}

/// Up to three octal digits; a single one that is not zero would be a back-reference.
fn octal(first: char, chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut value = first.to_digit(8)?;
    for taken in 0..2 {
        match chars.clone().next().and_then(|c| c.to_digit(8)) {
            Some(digit) => {
                chars.next();
                value = value * 8 + digit;
            }
            None if taken == 0 && first != '0' => return None,
            None => break,
        }
    }
    (value <= LARGEST).then_some(value)
}

fn hexadecimal(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let first = chars.next()?;
    if first != '{' {
        let second = chars.next()?;
        return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
    }
    let mut value = None;
    loop {
        let c = chars.next()?;
        match c.to_digit(16) {
            Some(digit) => {
                let next = value.unwrap_or(0) * 16 + digit;
                if next > LARGEST {
                    return None;
                }
                value = Some(next);
            }
            None if c == '}' => return value,
            None => return None,
        }
    }
}
