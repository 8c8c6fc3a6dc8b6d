//! Gateway API durations (GEP-2257): `1h30m`, `500ms`.

use std::time::Duration;

/// Reads a duration of hours, minutes, seconds and milliseconds. `None` for anything else; the schema's pattern
/// keeps those away from objects that an API server admitted.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total = total.checked_add(match &rest[..unit] {
            "h" => Duration::from_secs(amount.checked_mul(3600)?),
            "m" => Duration::from_secs(amount.checked_mul(60)?),
            "s" => Duration::from_secs(amount),
            "ms" => Duration::from_millis(amount),
            _ => return None,
        })?;
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("1h30m5s20ms"), Some(Duration::from_millis(5_405_020)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "1d", "99999999999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
