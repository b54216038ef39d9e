//! What users read when they log in: a line of `/etc/motd` as long as there is a newer snapshot.

/// How lines of ours begin.
const MARK: &str = "*** ";
/// In them, so that lines of others with stars are left alone.
const WHAT: &str = "A newer snapshot of this system";

/// The text with our line for a snapshot, or without any of ours; `None` if it is so already.
pub fn with_notice(text: &str, snapshot: Option<&str>) -> Option<String> {
    let is_ours = |line: &str| line.starts_with(MARK) && line.contains(WHAT);
    let mut wanted: String = text.split_inclusive('\n').filter(|line| !is_ours(line)).collect();
    if let Some(snapshot) = snapshot {
        if !wanted.is_empty() && !wanted.ends_with('\n') {
            wanted.push('\n');
        }
        wanted.push_str(&format!("{MARK}{WHAT} is available ({snapshot}). See 'cernvm-update --help'\n"));
    }
    (wanted != text).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_comes_and_goes() {
        let text = "Welcome\n*** of others\n";
        let told = with_notice(text, Some("v2")).expect("a line");
        assert_eq!(
            told,
            format!("{text}*** A newer snapshot of this system is available (v2). See 'cernvm-update --help'\n")
        );
        assert_eq!(with_notice(&told, Some("v2")), None, "once is enough");
        assert!(with_notice(&told, Some("v3")).expect("another line").contains("(v3)"));
        assert_eq!(with_notice(&told, None).as_deref(), Some(text));
        assert_eq!(with_notice(text, None), None);
    }
}
