//! RE2's grammar, as a checker with RE2's words.
//!
//! Envoy compiles for Latin-1: each byte is a character of its own, which shows in limits and messages. The
//! checker follows the order in which RE2 reads an expression, because that decides which of several mistakes is
//! named. Only syntax: an expression that is too large to compile is found by Envoy.

mod class;
mod escape;
mod flags;

/// Checks an expression; the error is what RE2 says of it (`missing ): ((`).
///
/// ```
/// use gatehouse_envoy::validate::re2;
/// assert_eq!(re2("/v1/{id}"), Ok(()));
/// assert_eq!(re2("(("), Err("missing ): ((".to_owned()));
/// assert_eq!(re2("a{1001}"), Err("invalid repetition size: {1001}".to_owned()));
/// ```
pub fn re2(pattern: &str) -> Result<(), String> {
    let latin1: String = pattern.bytes().map(char::from).collect();
    Parser { whole: &latin1, rest: &latin1, stack: vec![Level::default()] }.run()
}

const MAX_REPEAT: u32 = 1000;

type Parsed = Result<(), String>;

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    /// One entry per open parenthesis, the outermost first.
    stack: Vec<Level>,
}

/// What stands to the left inside the innermost open parenthesis.
#[derive(Default)]
struct Level {
    /// The expression that a repetition operator would repeat: the product of the repetitions in it.
    last: Option<u32>,
    /// The largest such product in the parenthesis.
    largest: u32,
}

impl Level {
    fn push(&mut self, repeats: u32) {
        self.last = Some(repeats);
        self.largest = self.largest.max(repeats);
    }
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Parsed {
        // The repetition operator that ended just here, if any: Perl does not stack them.
        let mut last_unary: Option<&'a str> = None;
        while let Some(first) = self.rest.chars().next() {
            let mut unary = None;
            match first {
                '(' if self.rest.starts_with("(?") => self.flags()?,
                '(' => {
                    self.rest = &self.rest[1..];
                    self.stack.push(Level::default());
                }
                ')' => self.close()?,
                '|' => {
                    self.rest = &self.rest[1..];
                    self.level().last = None;
                }
                '[' => {
                    self.class()?;
                    self.level().push(1);
                }
                '*' | '+' | '?' => unary = Some(self.operator(last_unary)?),
                '{' => match repetition(self.rest) {
                    Some((length, low, high)) => unary = Some(self.repeat(last_unary, length, low, high)?),
                    None => self.literal(first),
                },
                '\\' => self.backslash()?,
                _ => self.literal(first),
            }
            last_unary = unary;
        }
        if self.stack.len() > 1 { Err(format!("missing ): {}", self.whole)) } else { Ok(()) }
    }

    fn level(&mut self) -> &mut Level {
        self.stack.last_mut().expect("the outermost level is never closed")
    }

    fn literal(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
        self.level().push(1);
    }

    fn close(&mut self) -> Parsed {
        if self.stack.len() == 1 {
            return Err(format!("unexpected ): {}", self.whole));
        }
        self.rest = &self.rest[1..];
        let inner = self.stack.pop().map_or(1, |level| level.largest.max(1));
        self.level().push(inner);
        Ok(())
    }

    /// `*`, `+`, `?`, each with an optional `?`.
    fn operator(&mut self, last_unary: Option<&'a str>) -> Result<&'a str, String> {
        let text = self.take_operator(1, last_unary)?;
        if self.level().last.is_none() {
            return Err(format!("no argument for repetition operator: {text}"));
        }
        Ok(text)
    }

    /// `{n}`, `{n,}`, `{n,m}`; `high` is `None` without an upper limit.
    fn repeat(
        &mut self,
        last_unary: Option<&'a str>,
        length: usize,
        low: u32,
        high: Option<u32>,
    ) -> Result<&'a str, String> {
        let text = self.take_operator(length, last_unary)?;
        let too_large = || format!("invalid repetition size: {text}");
        if high.is_some_and(|high| high < low || high > MAX_REPEAT) || low > MAX_REPEAT {
            return Err(too_large());
        }
        let Some(inner) = self.level().last else {
            return Err(format!("no argument for repetition operator: {text}"));
        };
        let product = inner.saturating_mul(high.unwrap_or(low).max(1));
        if product > MAX_REPEAT {
            return Err(too_large());
        }
        self.level().push(product);
        Ok(text)
    }

    fn take_operator(&mut self, length: usize, last_unary: Option<&'a str>) -> Result<&'a str, String> {
        let start = self.rest;
        self.rest = &self.rest[length..];
        self.rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
        let text = &start[..start.len() - self.rest.len()];
        match last_unary {
            Some(previous) => Err(format!("bad repetition operator: {previous}{text}")),
            None => Ok(text),
        }
    }

    fn backslash(&mut self) -> Parsed {
        let next = self.rest[1..].chars().next();
        match next {
            Some('Q') => {
                let quoted = &self.rest[2..];
                let (literals, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                self.rest = rest;
                if literals.is_empty() {
                    return Ok(());
                }
            }
            Some('p' | 'P') => class::unicode_group(&mut self.rest)?,
            Some('b' | 'B' | 'A' | 'z' | 'C' | 'd' | 'D' | 's' | 'S' | 'w' | 'W') => {
                self.rest = &self.rest[2..];
            }
            _ => {
                escape::character(&mut self.rest)?;
            }
        }
        self.level().push(1);
        Ok(())
    }
}

/// Length, lower and upper limit of a repetition at the start of `text`; without one the brace is a literal.
fn repetition(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let rest = text.strip_prefix('{')?;
    let (low, rest) = integer(rest)?;
    let (high, rest) = match rest.strip_prefix(',') {
        None => (Some(low), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => integer(rest).map(|(high, rest)| (Some(high), rest))?,
    };
    let rest = rest.strip_prefix('}')?;
    Some((text.len() - rest.len(), low, high))
}

/// A number of at most nine digits without leading zeros; RE2 takes others as text.
fn integer(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.len() > 9 || (number.len() > 1 && number.starts_with('0')) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests;
