//! JSON in ASCII, in which names of any bytes survive: a byte that is no UTF-8 becomes the surrogate `\udcXX`, as
//! Python writes file names.

use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// A name of any bytes as a JSON string.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Text(Box<RawValue>);

impl Text {
    /// Escapes `bytes`.
    pub fn new(bytes: impl AsRef<[u8]>) -> Text {
        let mut json = String::from("\"");
        for chunk in bytes.as_ref().utf8_chunks() {
            chunk.valid().chars().for_each(|c| escape(&mut json, c));
            for byte in chunk.invalid() {
                let _ = write!(json, "\\udc{byte:02x}");
            }
        }
        json.push('"');
        Text(RawValue::from_string(json).expect("every character is escaped as JSON wants it"))
    }
}

fn escape(json: &mut String, c: char) {
    match c {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        ' '..='~' => json.push(c),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_python_writes_them() {
        for (bytes, json) in [
            (&b"plain"[..], r#""plain""#),
            (b"latin1_\xe9", r#""latin1_\udce9""#),
            (b"bin_\x01\x7f\xff", r#""bin_\u0001\u007f\udcff""#),
            ("\u{e9}\u{1f600}".as_bytes(), r#""\u00e9\ud83d\ude00""#),
            (b"a\"b\\c\n", r#""a\"b\\c\n""#),
            // The first half of a character: both bytes are no UTF-8.
            (b"\xc3", r#""\udcc3""#),
        ] {
            assert_eq!(serde_json::to_string(&Text::new(bytes)).unwrap(), json);
        }
    }
}
