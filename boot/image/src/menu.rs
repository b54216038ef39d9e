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

/// For systemd-boot, which boots where there is UEFI: names of files, and what is in them. `e` shows the line to edit.
pub(crate) fn systemd_boot(entries: &[Entry], seconds: u32) -> Vec<(String, String)> {
    let settings = format!("timeout {seconds}\ndefault 000.conf\neditor yes\nauto-entries no\nauto-firmware no\n");
    let mut files = vec![("loader.conf".to_owned(), settings)];
    files.extend(entries.iter().enumerate().map(|(number, entry)| {
        // They are shown in the order of their keys.
        let text = format!(
            "title {}\nsort-key {number:03}\nlinux /vmlinuz\ninitrd /initrd\noptions {}\n",
            entry.title, entry.line
        );
        (format!("entries/{number:03}.conf"), text)
    }));
    files
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
    fn entries_for_uefi_keep_their_order_and_their_lines() {
        let files = systemd_boot(&entries("cvmfs_proxy=http://a:3128;DIRECT", &[]), 7);
        assert!(files[0].0 == "loader.conf" && files[0].1.contains("timeout 7\n"));
        assert_eq!(files[1].0, "entries/000.conf");
        assert!(files[1].1.contains("options cvmfs_proxy=http://a:3128;DIRECT quiet\n"), "{}", files[1].1);
        assert!(files[2].1.contains("title Debug\nsort-key 001\n"), "{}", files[2].1);
    }
}
