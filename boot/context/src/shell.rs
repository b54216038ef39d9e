//! Files of shell assignments, read as data: `KEY=value`, `KEY='value'`, `KEY="value"`, over several lines if quoted.
//!
//! Nothing is expanded: a value with `$(...)` in it is that text.

/// Assignments in `text`, in order. Lines that are something else are passed over.
pub fn assignments(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.trim_start_matches([' ', '\t', '\r', '\n', ';']);
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let name = line.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        match name.filter(|&end| end > 0 && line[end..].starts_with('=')) {
            Some(end) => {
                let (value, after) = word(&line[end + 1..]);
                found.push((line[..end].to_owned(), value));
                rest = after;
            }
            None => rest = line.find('\n').map_or("", |end| &line[end..]),
        }
    }
    found
}

/// A word with its quotes taken away, and what follows it.
fn word(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (None, ' ' | '\t' | '\r' | '\n' | ';') => return (value, &text[at..]),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if character == open => quote = None,
            (None | Some('"'), '\\') => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((_, escaped)) => {
                    if quote.is_some() && !matches!(escaped, '"' | '\\' | '$' | '`') {
                        value.push('\\');
                    }
                    value.push(escaped);
                }
            },
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Vec<(String, String)> {
        assignments(text)
    }

    #[test]
    fn quotes_comments_and_several_lines() {
        let text = "# Context\nETH0_IP='10.0.0.2'\nexport A=\"x \\\"y\\\" \\d\"; B=c\nX='it'\\''s\ntwo lines'\nif true; then\nC=\n";
        let expected = [("ETH0_IP", "10.0.0.2"), ("A", "x \"y\" \\d"), ("B", "c"), ("X", "it's\ntwo lines"), ("C", "")];
        assert_eq!(one(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn nothing_is_run() {
        assert_eq!(one("A=$(reboot)`x`\n"), [("A".to_owned(), "$(reboot)`x`".to_owned())]);
    }

    proptest! {
        #[test]
        fn single_quoted_values_read_back(values in proptest::collection::vec("\\PC{0,20}", 0..5)) {
            let text: String = values.iter().map(|value| format!("K='{}'\n", value.replace('\'', "'\\''"))).collect();
            let read: Vec<String> = assignments(&text).into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_text_is_survived(text in "[\\PC\n'\"\\\\=]{0,200}") {
            assignments(&text);
        }
    }
}
