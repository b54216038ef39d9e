//! The kernel command line, split as the kernel splits it.

/// Words of a kernel command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<(String, Option<String>)>,
}

impl CommandLine {
    /// Splits `line`. Spaces inside double quotes belong to the word; the quotes do not.
    pub fn parse(line: &str) -> CommandLine {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quoted = false;
        for character in line.chars().chain([' ']) {
            match character {
                '"' => quoted = !quoted,
                _ if character.is_ascii_whitespace() && !quoted => {
                    if !word.is_empty() {
                        words.push(split(&std::mem::take(&mut word)));
                    }
                }
                _ => word.push(character),
            }
        }
        if !word.is_empty() {
            words.push(split(word.trim_end()));
        }
        CommandLine { words }
    }

    /// The value of the last `key=value`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().rev().filter(|(name, _)| name == key).find_map(|(_, value)| value.as_deref())
    }

    /// Whether `key` is there, alone or with a value that does not deny it.
    pub fn has(&self, key: &str) -> bool {
        let word = self.words.iter().rev().find(|(name, _)| name == key);
        word.is_some_and(|(_, value)| !matches!(value.as_deref(), Some("0" | "no" | "off" | "false")))
    }

    /// Whether `key` is there at all, whatever it says.
    pub fn has_any(&self, key: &str) -> bool {
        self.words.iter().any(|(name, _)| name == key)
    }

    /// Every value of `key`, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.words.iter().filter(move |(name, _)| name == key).filter_map(|(_, value)| value.as_deref())
    }
}

fn split(word: &str) -> (String, Option<String>) {
    match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let line = CommandLine::parse("quiet cvmfs_proxy=\"http://a:3128;DIRECT\" a=1 a=2 \"b=x y\" cvmdebug\n");
        assert_eq!(line.value("cvmfs_proxy"), Some("http://a:3128;DIRECT"));
        assert_eq!(line.value("a"), Some("2"), "the last one counts");
        assert_eq!(line.value("b"), Some("x y"));
        assert!(line.has("cvmdebug") && line.has("quiet") && !line.has("cvmssh"));
    }

    #[test]
    fn a_value_may_contain_equals_signs_and_a_flag_may_be_denied() {
        let line = CommandLine::parse("opt=KEY=VALUE cvmssh=no");
        assert_eq!(line.value("opt"), Some("KEY=VALUE"));
        assert!(!line.has("cvmssh") && line.has_any("cvmssh") && !line.has_any("KEY"));
    }

    #[test]
    fn an_open_quote_swallows_the_rest() {
        assert_eq!(CommandLine::parse("a=\"1 b=2").value("a"), Some("1 b=2"));
    }
}
