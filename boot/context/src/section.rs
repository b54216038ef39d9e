//! The loader's section of user data: lines `key=value` between `[ucernvm-begin]` and `[ucernvm-end]`.

const BEGIN: &str = "[ucernvm-begin]";
const END: &str = "[ucernvm-end]";

/// Longest line that is taken from a section, in bytes: room for `cernvm_inject`.
const LONGEST_LINE: usize = 256 << 10;

/// What a section says. Values are data: quotes, `$` and `;` mean themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    pairs: Vec<(String, String)>,
    /// What was strange about it, in words for a person.
    pub remarks: Vec<String>,
}

impl Section {
    /// Finds and reads the first section in `text`; `None` if there is none.
    ///
    /// The markers have to be whole lines. Carriage returns at the end of lines are dropped. A key that is there twice has the
    /// value of its last line. A section without an end ends with the text.
    pub fn find(text: &str) -> Option<Section> {
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
        lines.by_ref().find(|&line| line == BEGIN)?;
        let mut section = Section::default();
        for line in lines {
            if line == END {
                return Some(section);
            }
            section.take(line);
        }
        section.remarks.push(format!("{END} is missing"));
        Some(section)
    }

    fn take(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if line.len() > LONGEST_LINE {
            self.remarks.push(format!("a line of {} bytes is too long", line.len()));
            return;
        }
        let Some((key, value)) = line.split_once('=') else {
            self.remarks.push(format!("not key=value: {}", shown(line)));
            return;
        };
        let key = key.trim().to_ascii_lowercase();
        if let Some(pair) = self.pairs.iter_mut().find(|(name, _)| *name == key) {
            self.remarks.push(format!("{} is there twice, the last one counts", shown(&key)));
            value.trim().clone_into(&mut pair.1);
        } else {
            self.pairs.push((key, value.trim().to_owned()));
        }
    }

    /// The same with another section, whose values count more.
    #[must_use]
    pub fn with(mut self, other: Section) -> Section {
        for (key, value) in other.pairs {
            match self.pairs.iter_mut().find(|(name, _)| *name == key) {
                Some(pair) => pair.1 = value,
                None => self.pairs.push((key, value)),
            }
        }
        self.remarks.extend(other.remarks);
        self
    }

    /// Keys in lower case with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The section as text that reads back as the same section.
    pub fn to_text(&self) -> String {
        let mut text = format!("{BEGIN}\n");
        for (key, value) in self.pairs() {
            text.push_str(&format!("{key}={value}\n"));
        }
        text + END + "\n"
    }
}

/// At most the first 40 characters, without control characters: for messages about data that may be anything.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(40).map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let section = Section::find(text).expect("a section");
        section.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn it_may_be_embedded_anywhere() {
        let text =
            "#!/bin/sh\n[ucernvm-begin]\nresize_rootfs=off\nCVMFS_Tag = cernvm-system-3.1.0.0\n[ucernvm-end]\nexit 0\n";
        assert_eq!(
            pairs(text),
            [("resize_rootfs".into(), "off".into()), ("cvmfs_tag".into(), "cernvm-system-3.1.0.0".into())]
        );
    }

    #[test]
    fn carriage_returns_and_a_missing_last_newline() {
        assert_eq!(pairs("[ucernvm-begin]\r\na=b\r\n[ucernvm-end]"), [("a".into(), "b".into())]);
    }

    #[test]
    fn a_missing_end_is_remarked() {
        let section = Section::find("[ucernvm-begin]\na=b").expect("a section");
        assert_eq!(section.pairs().collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(section.remarks, ["[ucernvm-end] is missing"]);
    }

    #[test]
    fn markers_are_whole_lines() {
        assert_eq!(Section::find("echo [ucernvm-begin]\na=b\n[ucernvm-end]\n"), None);
        assert_eq!(pairs("[ucernvm-begin]\na=[ucernvm-end]\n[ucernvm-end]\n"), [("a".into(), "[ucernvm-end]".into())]);
    }

    #[test]
    fn nothing_is_run_or_expanded() {
        let value = "http://a:3128;DIRECT$(reboot)`reboot`';\"";
        assert_eq!(pairs(&format!("[ucernvm-begin]\np={value}\n[ucernvm-end]\n")), [("p".into(), value.into())]);
    }

    #[test]
    fn duplicates_and_nonsense_are_remarked() {
        let section = Section::find("[ucernvm-begin]\na=1\nnonsense\na=2\n[ucernvm-end]").expect("a section");
        assert_eq!(section.pairs().collect::<Vec<_>>(), [("a", "2")]);
        assert_eq!(section.remarks.len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pairs in proptest::collection::btree_map("[a-z_]{1,12}", "[!-~]([ -~]{0,30}[!-~])?", 0..6)) {
            let section = Section { pairs: pairs.into_iter().collect(), remarks: Vec::new() };
            prop_assert_eq!(Section::find(&section.to_text()), Some(section));
        }

        #[test]
        fn any_text_is_survived(text in "(\\[ucernvm-begin\\]\n)?[\\PC\r\n=]{0,200}") {
            if let Some(section) = Section::find(&text) {
                prop_assert!(section.pairs().all(|(key, value)| !key.contains('\n') && !value.contains('\n')));
            }
        }
    }
}
