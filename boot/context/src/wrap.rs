//! Several documents as one: a MIME multipart, which whoever takes user data can take apart.

use crate::unwrap::Part;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Between parts; their bodies are base64, so that it cannot be in them.
const BOUNDARY: &str = "==ucernvm==";
/// Bytes in a line of base64.
const LINE: usize = 76;

/// One document with all `parts`. Those of no type become plain text, whose readers look at its beginning.
pub fn multipart(parts: &[Part]) -> Vec<u8> {
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n");
    for part in parts {
        let kind = part.kind.as_deref().unwrap_or("text/plain");
        text.push_str(&format!("--{BOUNDARY}\nContent-Type: {kind}\nContent-Transfer-Encoding: base64\n\n"));
        let packed = STANDARD.encode(&part.bytes);
        let mut rest = packed.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
    }
    text.push_str(&format!("--{BOUNDARY}--\n"));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwrap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_wrapped_unwraps_to_the_same(texts in proptest::collection::vec("#[\\PC\n]{0,200}", 0..5)) {
            let parts: Vec<Part> =
                texts.into_iter().map(|text| Part { kind: Some("text/plain".to_owned()), bytes: text.into_bytes() }).collect();
            let (found, remarks) = unwrap::parts(&multipart(&parts));
            prop_assert_eq!(found, parts);
            prop_assert_eq!(remarks, Vec::<String>::new());
        }
    }
}
