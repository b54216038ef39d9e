//! What is asked before the kernel starts, for both loaders: pure text.

/// An entry of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What the user sees.
    pub(crate) title: String,
    /// The kernel command line.
    pub(crate) line: String,
}

/// All entries: normal, debug, the snapshot before the last change, one for each tag, and without a loader that was staged. `line` is
/// what all have.
pub(crate) fn entries(line: &str, tags: &[String]) -> Vec<Entry> {
    let quiet = |more: &str| {
        [line, "quiet", more].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
    };
    let mut entries = vec![
        Entry { title: "Welcome to uCernVM".to_owned(), line: quiet("") },
        Entry { title: "Debug".to_owned(), line: format!("{line} cvmdebug loglevel=7") },
        Entry { title: "Previous snapshot".to_owned(), line: quiet("cernvm_pin=previous") },
    ];
    let snapshots = tags
        .iter()
        .map(|tag| Entry { title: format!("Snapshot {tag}"), line: quiet(&format!("cvmfs_force_tag={tag}")) });
    entries.extend(snapshots);
    entries.push(Entry { title: "Loader of this image".to_owned(), line: quiet("cernvm_loader=builtin") });
    entries
}

/// For isolinux. Tabulator shows a line to edit.
pub(crate) fn isolinux(entries: &[Entry], seconds: u32) -> String {
    let mut text = format!(
        "serial 0 115200\ndefault entry0\nprompt 0\ntimeout {}\nui menu.c32\nmenu title uCernVM\nmenu tabmsg Press [Tab] to edit options\n",
        // 0 would wait for ever.
        seconds.saturating_mul(10).max(1)
    );
    for (number, entry) in entries.iter().enumerate() {
        text.push_str(&format!(
            "label entry{number}\n  menu label {}\n  linux /boot/vmlinuz\n  initrd /boot/initrd\n  append {}\n",
            entry.title, entry.line
        ));
    }
    text
}

/// For GRUB, which boots where there is UEFI. `e` shows lines to edit.
pub(crate) fn grub(entries: &[Entry], seconds: u32) -> String {
    let mut text = format!(
        "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\nset default=0\nset timeout={seconds}\n"
    );
    for entry in entries {
        text.push_str(&format!(
            "menuentry '{}' {{\n  linux /boot/vmlinuz {}\n  initrd /boot/initrd\n}}\n",
            entry.title,
            quoted(&entry.line)
        ));
    }
    text
}

/// Semicolons and the like mean something to GRUB.
fn quoted(line: &str) -> String {
    let word = |word: &str| {
        if word.contains(|character: char| ";|&<>${}'\"\\".contains(character)) {
            format!("'{}'", word.replace('\'', ""))
        } else {
            word.to_owned()
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_debug_and_older_snapshots() {
        let entries = entries("console=ttyS0 cvmfs_repos=os.example.org", &["v1".to_owned()]);
        let lines: Vec<&str> = entries.iter().map(|entry| entry.line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "console=ttyS0 cvmfs_repos=os.example.org quiet",
                "console=ttyS0 cvmfs_repos=os.example.org cvmdebug loglevel=7",
                "console=ttyS0 cvmfs_repos=os.example.org quiet cernvm_pin=previous",
                "console=ttyS0 cvmfs_repos=os.example.org quiet cvmfs_force_tag=v1",
                "console=ttyS0 cvmfs_repos=os.example.org quiet cernvm_loader=builtin",
            ]
        );
        let text = isolinux(&entries, 2);
        assert!(text.contains("timeout 20\n") && text.contains("label entry3\n  menu label Snapshot v1\n"));
        assert!(isolinux(&[], 0).contains("timeout 1\n"), "0 would wait for ever");
    }

    #[test]
    fn separators_of_grub_are_quoted() {
        let text = grub(&entries("cvmfs_proxy=http://a:3128;DIRECT", &[]), 2);
        assert!(text.contains("linux /boot/vmlinuz 'cvmfs_proxy=http://a:3128;DIRECT' quiet\n"), "{text}");
    }
}
