//! The directives of `stat --format`.

use crate::clock::Clock;
use crate::names::Names;
use crate::tree::{Facts, Kind, Time, device_numbers};

/// What a format is applied to.
pub(super) struct Subject<'a> {
    pub(super) name: &'a [u8],
    pub(super) facts: Facts,
    pub(super) target: Option<Vec<u8>>,
    pub(super) clock: &'a Clock,
    pub(super) names: &'a Names,
    /// Whether `%N` quotes as a shell would want it.
    pub(super) quote: bool,
}

/// Flags, width and precision between `%` and the letter.
#[derive(Default, Clone)]
struct Modifiers {
    left: bool,
    zero: bool,
    alternate: bool,
    plus: bool,
    blank: bool,
    width: usize,
    precision: Option<usize>,
}

enum Value {
    Text(Vec<u8>),
    Number(u128),
    Octal(u64),
    Hex(u64),
    Seconds(Time),
}

impl Subject<'_> {
    /// Writes `format` with all directives replaced; `escapes`: `\n` and the like too.
    pub(super) fn write(&self, out: &mut Vec<u8>, format: &[u8], escapes: bool) {
        let mut rest = format;
        while let Some((&first, tail)) = rest.split_first() {
            rest = match first {
                b'%' => self.directive(out, tail),
                b'\\' if escapes => escape(out, tail),
                _ => {
                    out.push(first);
                    tail
                }
            };
        }
    }

    /// Handles what follows a `%`, and returns what follows that.
    fn directive<'f>(&self, out: &mut Vec<u8>, after: &'f [u8]) -> &'f [u8] {
        let mut rest = after;
        let mut modifiers = Modifiers::default();
        while let Some((&flag, tail)) = rest.split_first() {
            match flag {
                b'-' => modifiers.left = true,
                b'0' => modifiers.zero = true,
                b'#' => modifiers.alternate = true,
                b'+' => modifiers.plus = true,
                b' ' => modifiers.blank = true,
                b'\'' => (),
                _ => break,
            }
            rest = tail;
        }
        let (width, tail) = number(rest);
        modifiers.width = width.unwrap_or(0);
        rest = tail;
        if let Some(tail) = rest.strip_prefix(b".") {
            let (precision, tail) = number(tail);
            modifiers.precision = Some(precision.unwrap_or(0));
            rest = tail;
        }
        let (half, tail) = match rest {
            [half @ (b'H' | b'L'), tail @ ..] if matches!(tail.first(), Some(b'd' | b'r')) => (Some(*half), tail),
            _ => (None, rest),
        };
        let Some((&letter, tail)) = tail.split_first() else {
            out.push(b'%');
            out.extend_from_slice(after);
            return &[];
        };
        match self.value(letter, half) {
            Some(value) => value.pad(out, &modifiers),
            None if letter == b'%' => out.push(b'%'),
            None => out.push(b'?'),
        }
        tail
    }

    fn value(&self, letter: u8, half: Option<u8>) -> Option<Value> {
        let facts = &self.facts;
        let text = |text: String| Value::Text(text.into_bytes());
        let name = |name: Option<String>| text(name.unwrap_or_else(|| "UNKNOWN".into()));
        let full = |time| text(self.clock.full(time));
        let device = |device: u64| match (half, device_numbers(device)) {
            (Some(b'H'), (major, _)) => Value::Number(major.into()),
            (Some(_), (_, minor)) => Value::Number(minor.into()),
            (None, _) => Value::Number(device.into()),
        };
        Some(match letter {
            b'a' => Value::Octal((facts.mode & 0o7777).into()),
            b'A' => text(facts.mode_text()),
            b'b' => Value::Number(facts.blocks.into()),
            b'B' => Value::Number(512),
            b'C' => text("?".into()),
            b'd' => device(facts.dev),
            b'D' => Value::Hex(facts.dev),
            b'f' => Value::Hex(facts.mode.into()),
            b'F' => text(type_in_words(facts).into()),
            b'g' => Value::Number(facts.gid.into()),
            b'G' => name(self.names.group(facts.gid)),
            b'h' => Value::Number(facts.nlink.into()),
            b'i' => Value::Number(facts.ino.into()),
            b'n' => Value::Text(self.name.to_vec()),
            b'N' => Value::Text(self.name_and_target()),
            b'o' => Value::Number(facts.blksize.into()),
            b'r' => device(facts.rdev),
            b'R' => Value::Hex(facts.rdev),
            b's' => Value::Number(facts.size.into()),
            b't' => Value::Hex(device_numbers(facts.rdev).0.into()),
            b'T' => Value::Hex(device_numbers(facts.rdev).1.into()),
            b'u' => Value::Number(facts.uid.into()),
            b'U' => name(self.names.user(facts.uid)),
            b'w' => facts.birth.map_or_else(|| text("-".into()), full),
            b'W' => Value::Seconds(facts.birth.unwrap_or_default()),
            b'x' => full(facts.atime),
            b'X' => Value::Seconds(facts.atime),
            b'y' => full(facts.mtime),
            b'Y' => Value::Seconds(facts.mtime),
            b'z' => full(facts.ctime),
            b'Z' => Value::Seconds(facts.ctime),
            _ => return None,
        })
    }

    fn name_and_target(&self) -> Vec<u8> {
        let quoted = |name: &[u8]| if self.quote { shell_quoted(name) } else { name.to_vec() };
        let mut text = quoted(self.name);
        if let Some(target) = &self.target {
            text.extend_from_slice(b" -> ");
            text.extend(quoted(target));
        }
        text
    }
}

impl Value {
    fn pad(self, out: &mut Vec<u8>, modifiers: &Modifiers) {
        let numeric = !matches!(self, Value::Text(_));
        let mut text = match self {
            Value::Text(mut text) => {
                text.truncate(modifiers.precision.unwrap_or(usize::MAX));
                text
            }
            Value::Number(number) => number.to_string().into_bytes(),
            Value::Octal(number) if modifiers.alternate && number != 0 => format!("0{number:o}").into_bytes(),
            Value::Octal(number) => format!("{number:o}").into_bytes(),
            Value::Hex(number) if modifiers.alternate && number != 0 => format!("0x{number:x}").into_bytes(),
            Value::Hex(number) => format!("{number:x}").into_bytes(),
            Value::Seconds(time) => seconds(time, modifiers.precision).into_bytes(),
        };
        if numeric && !text.starts_with(b"-") {
            if modifiers.plus {
                text.insert(0, b'+');
            } else if modifiers.blank {
                text.insert(0, b' ');
            }
        }
        let padding = modifiers.width.saturating_sub(text.len());
        let blanks = |out: &mut Vec<u8>| out.resize(out.len() + padding, b' ');
        if modifiers.left {
            out.extend(text);
            blanks(out);
        } else if modifiers.zero && numeric {
            let sign = text.iter().take_while(|byte| matches!(byte, b'-' | b'+' | b' ')).count();
            out.extend_from_slice(&text[..sign]);
            out.resize(out.len() + padding, b'0');
            out.extend_from_slice(&text[sign..]);
        } else {
            blanks(out);
            out.extend(text);
        }
    }
}

/// Seconds since 1970 with as many digits of the fraction as asked for, rounded down.
fn seconds(time: Time, digits: Option<usize>) -> String {
    let digits = match digits {
        None => return time.seconds.to_string(),
        Some(0) => 9,
        Some(digits) => digits,
    };
    let shown = digits.min(9);
    let unit = 10i128.pow(9 - shown as u32);
    let units = time.as_nanoseconds().div_euclid(unit);
    let per_second = 10i128.pow(shown as u32);
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    let per_second = per_second.unsigned_abs();
    format!("{sign}{}.{:0shown$}{}", units / per_second, units % per_second, "0".repeat(digits - shown))
}

fn type_in_words(facts: &Facts) -> &'static str {
    match facts.kind() {
        Kind::Regular if facts.size == 0 => "regular empty file",
        Kind::Regular => "regular file",
        Kind::Directory => "directory",
        Kind::Symlink => "symbolic link",
        Kind::CharacterDevice => "character special file",
        Kind::BlockDevice => "block special file",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

fn number(text: &[u8]) -> (Option<usize>, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok().and_then(|text| text.parse().ok());
    // Nobody has a line that wide, and padding takes memory.
    (value.map(|width: usize| width.min(65_536)), &text[digits..])
}

fn escape<'f>(out: &mut Vec<u8>, after: &'f [u8]) -> &'f [u8] {
    let Some((&letter, tail)) = after.split_first() else {
        out.push(b'\\');
        return &[];
    };
    let octal = after.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    if octal > 0 {
        out.push(after[..octal].iter().fold(0u8, |value, digit| value.wrapping_mul(8) + (digit - b'0')));
        return &after[octal..];
    }
    match letter {
        b'a' => out.push(7),
        b'b' => out.push(8),
        b'e' => out.push(27),
        b'f' => out.push(12),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b't' => out.push(b'\t'),
        b'v' => out.push(11),
        other => out.push(other),
    }
    tail
}

/// Quoted so that a shell reads the same bytes, always with quotes: `'a b'`, `"it's"`, `'new'$'\n''line'`.
fn shell_quoted(name: &[u8]) -> Vec<u8> {
    let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e);
    if name.contains(&b'\'') && name.iter().all(|&b| is_plain(b) && !matches!(b, b'"' | b'$' | b'`' | b'\\')) {
        return [b"\"", name, b"\""].concat();
    }
    let mut out = vec![b'\''];
    let mut escaped = false;
    for &byte in name {
        if is_plain(byte) {
            if escaped {
                out.extend_from_slice(b"''");
                escaped = false;
            }
            match byte {
                b'\'' => out.extend_from_slice(b"'\\''"),
                _ => out.push(byte),
            }
            continue;
        }
        if !escaped {
            out.extend_from_slice(b"'$'");
            escaped = true;
        }
        match byte {
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            11 => out.extend_from_slice(b"\\v"),
            other => out.extend_from_slice(format!("\\{other:03o}").as_bytes()),
        }
    }
    out.push(b'\'');
    out
}
