//! What follows `(?`: flags, groups without capture, named groups; lookaround is refused.

use super::{Level, Parsed, Parser};

impl Parser<'_> {
    pub(super) fn flags(&mut self) -> Parsed {
        let text = self.rest;
        for lookaround in ["(?=", "(?!", "(?<=", "(?<!"] {
            if text.starts_with(lookaround) && text.len() > lookaround.len() {
                return Err(bad_operator(lookaround));
            }
        }
        let named = ["(?P<", "(?<"].into_iter().find(|start| text.starts_with(start));
        match named {
            Some(start) if text.len() > start.len() => self.named_group(start.len()),
            _ => self.flag_letters(),
        }
    }

    fn named_group(&mut self, start: usize) -> Parsed {
        let text = self.rest;
        let Some(end) = text.find('>') else {
            return Err(bad_name(text));
        };
        let (capture, name) = (&text[..=end], &text[start..end]);
        let valid = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !valid {
            return Err(bad_name(capture));
        }
        self.rest = &text[end + 1..];
        self.stack.push(Level::default());
        Ok(())
    }

    fn flag_letters(&mut self) -> Parsed {
        let text = self.rest;
        let (mut negated, mut saw_flag) = (false, false);
        for (index, c) in text.char_indices().skip(2) {
            let end = index + c.len_utf8();
            match c {
                'i' | 'm' | 's' | 'U' => saw_flag = true,
                '-' if !negated => (negated, saw_flag) = (true, false),
                ':' | ')' if !negated || saw_flag => {
                    self.rest = &text[end..];
                    if c == ':' {
                        self.stack.push(Level::default());
                    }
                    return Ok(());
                }
                _ => return Err(bad_operator(&text[..end])),
            }
        }
        Err(bad_operator(text))
    }
}

fn bad_operator(text: &str) -> String {
    format!("invalid perl operator: {text}")
}

fn bad_name(text: &str) -> String {
    format!("invalid named capture group: {text}")
}
