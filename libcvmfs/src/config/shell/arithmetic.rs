//! `$((...))`: whole numbers, `+ - * / %`, comparisons, `! && ||`, brackets.

use super::MAX_DEPTH;

/// The value of `text`; `variable` gives the text of a name.
pub(super) fn value(text: &str, variable: &mut dyn FnMut(&str) -> String) -> Result<i64, String> {
    let mut reader = Reader { text: text.chars().collect(), at: 0, variable, depth: 0 };
    let value = reader.binary(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(c) => Err(format!("unexpected '{}' in arithmetic '{text}'", c.escape_debug())),
    }
}

/// Operators from the loosest to the tightest; longer ones first.
const LEVELS: &[&[&str]] = &[&["||"], &["&&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

struct Reader<'a> {
    text: Vec<char>,
    at: usize,
    variable: &'a mut dyn FnMut(&str) -> String,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn operator(&mut self, level: usize) -> Result<Option<&'static str>, String> {
        self.peek();
        let rest = &self.text[self.at..];
        let starts = |o: &str| rest.len() >= o.len() && o.chars().zip(rest).all(|(a, b)| a == *b);
        let Some(found) = LEVELS[level].iter().find(|o| starts(o)) else { return Ok(None) };
        let after = rest.get(found.len()).copied();
        let longer = match *found {
            "<" | ">" => after == Some(rest[0]),
            "+" | "-" | "*" | "/" | "%" => after == Some('='),
            _ => false,
        };
        if longer {
            return Err("shifts and assignments in arithmetic are not supported".into());
        }
        self.at += found.len();
        Ok(Some(found))
    }

    /// Both sides of `&&` and `||` are computed; without assignments that makes no difference but for `/ 0`.
    fn binary(&mut self, level: usize) -> Result<i64, String> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level)? {
            let right = self.binary(level + 1)?;
            left = match operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                _ if right == 0 => return Err("division by zero in arithmetic".into()),
                "/" => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i64, String> {
        if self.depth >= MAX_DEPTH {
            return Err("arithmetic is nested too deeply".into());
        }
        self.depth += 1;
        let value = self.operand();
        self.depth -= 1;
        value
    }

    fn operand(&mut self) -> Result<i64, String> {
        match self.peek() {
            Some(c @ ('-' | '+')) if self.text.get(self.at + 1) == Some(&c) => {
                Err(format!("'{c}{c}' in arithmetic is not supported"))
            }
            Some('-') => {
                self.at += 1;
                Ok(self.unary()?.wrapping_neg())
            }
            Some('+') => {
                self.at += 1;
                self.unary()
            }
            Some('!') => {
                self.at += 1;
                Ok(i64::from(self.unary()? == 0))
            }
            Some('(') => {
                self.at += 1;
                let value = self.binary(0)?;
                if self.peek() != Some(')') {
                    return Err("')' is missing in arithmetic".into());
                }
                self.at += 1;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() => {
                let digits = self.word();
                number(&digits)
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.word();
                let text = (self.variable)(&name);
                let (sign, digits) = match text.trim().strip_prefix('-') {
                    Some(rest) => (-1, rest),
                    None => (1, text.trim()),
                };
                if digits.is_empty() { Ok(0) } else { Ok(number(digits)?.wrapping_mul(sign)) }
            }
            Some(c) => Err(format!("unexpected '{}' in arithmetic", c.escape_debug())),
            None => Err("an operand is missing in arithmetic".into()),
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }
}

fn number(digits: &str) -> Result<i64, String> {
    let parsed = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse()
    };
    parsed.map_err(|_| format!("'{digits}' is no number in arithmetic"))
}
