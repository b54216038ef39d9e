//! `[ ... ]` and `test`.

use super::Facts;

/// What `[` needs to know about a path.
pub(super) type Look<'a> = &'a dyn Fn(&str) -> Option<Facts>;

/// The status of `[ arguments ]`: 0 true, 1 false. A mistake in it is an error, not the status 2 of sh.
pub(super) fn status(arguments: &[String], look: Look) -> Result<i32, String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Ok(i32::from(!holds(&arguments, look)?))
}

/// The rules of POSIX, by the number of arguments.
fn holds(a: &[&str], look: Look) -> Result<bool, String> {
    match a {
        [] => Ok(false),
        [text] => Ok(!text.is_empty()),
        ["!", text] => Ok(text.is_empty()),
        [operator, operand] if is_unary(operator) => unary(operator, operand, look),
        [left, operator, right] if is_binary(operator) => binary(left, operator, right),
        [left, "-a", right] => Ok(!left.is_empty() && !right.is_empty()),
        [left, "-o", right] => Ok(!left.is_empty() || !right.is_empty()),
        ["!", rest @ ..] if rest.len() <= 3 => Ok(!holds(rest, look)?),
        ["(", rest @ .., ")"] if rest.len() <= 2 => holds(rest, look),
        _ => {
            let mut reader = Reader { arguments: a, at: 0, look };
            let value = reader.or(0)?;
            if reader.at < a.len() {
                return Err(format!("unexpected '{}' in a condition", a[reader.at]));
            }
            Ok(value)
        }
    }
}

struct Reader<'a> {
    arguments: &'a [&'a str],
    at: usize,
    look: Look<'a>,
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.arguments.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<bool, String> {
        let mut value = self.and(depth)?;
        while self.take("-o") {
            let right = self.and(depth)?;
            value = value || right;
        }
        Ok(value)
    }

    fn and(&mut self, depth: usize) -> Result<bool, String> {
        let mut value = self.term(depth)?;
        while self.take("-a") {
            let right = self.term(depth)?;
            value = value && right;
        }
        Ok(value)
    }

    fn term(&mut self, depth: usize) -> Result<bool, String> {
        if depth >= super::MAX_DEPTH {
            return Err("a condition is nested too deeply".into());
        }
        let rest = &self.arguments[self.at..];
        match *rest {
            [] => Err("a condition ends too early".into()),
            [left, operator, right, ..] if is_binary(operator) => {
                self.at += 3;
                binary(left, operator, right)
            }
            ["!", ..] => {
                self.at += 1;
                Ok(!self.term(depth + 1)?)
            }
            ["(", ..] => {
                self.at += 1;
                let value = self.or(depth + 1)?;
                if self.take(")") { Ok(value) } else { Err("')' is missing in a condition".into()) }
            }
            [operator, operand, ..] if is_unary(operator) => {
                self.at += 2;
                unary(operator, operand, self.look)
            }
            [text, ..] => {
                self.at += 1;
                Ok(!text.is_empty())
            }
        }
    }
}

fn is_unary(operator: &str) -> bool {
    matches!(operator, "-n" | "-z" | "-e" | "-f" | "-d" | "-r" | "-w" | "-x" | "-s")
}

fn unary(operator: &str, operand: &str, look: Look) -> Result<bool, String> {
    let mode = |bits: u32| look(operand).is_some_and(|f| f.mode & bits != 0);
    Ok(match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-e" => look(operand).is_some(),
        "-f" => look(operand).is_some_and(|f| f.regular),
        "-d" => look(operand).is_some_and(|f| f.directory),
        "-s" => look(operand).is_some_and(|f| f.size > 0),
        "-r" => mode(0o444),
        "-w" => mode(0o222),
        _ => mode(0o111),
    })
}

fn is_binary(operator: &str) -> bool {
    matches!(operator, "=" | "==" | "!=" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge")
}

fn binary(left: &str, operator: &str, right: &str) -> Result<bool, String> {
    match operator {
        "=" | "==" => return Ok(left == right),
        "!=" => return Ok(left != right),
        _ => {}
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("'{text}' in a condition is no number"));
    let (left, right) = (number(left)?, number(right)?);
    Ok(match operator {
        "-eq" => left == right,
        "-ne" => left != right,
        "-lt" => left < right,
        "-le" => left <= right,
        "-gt" => left > right,
        _ => left >= right,
    })
}
