//! The package database of Debian: the new system's, with the packages that users have added.

/// The database, below the root: paragraphs of `Key: value` lines, an empty line between them.
pub const DPKG: &str = "var/lib/dpkg/status";
/// The database of others, which cannot be merged here.
pub const RPM: &str = "var/lib/rpm";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The new database.
    pub text: Vec<u8>,
    /// Packages that only the user had.
    pub added: Vec<String>,
}

/// The new database with every package that is in `local` and was not in `base`, unless the new one has it.
pub fn merge(base: &[u8], local: &[u8], new: &[u8]) -> Merged {
    let (known, upstream) = (names(base), names(new));
    let mut merged = Merged { text: new.to_vec(), added: Vec::new() };
    for paragraph in paragraphs(local) {
        let name = name(paragraph);
        if name.is_empty() || known.contains(&name) || upstream.contains(&name) || merged.added.contains(&name) {
            continue;
        }
        while !merged.text.is_empty() && !merged.text.ends_with(b"\n\n") {
            merged.text.push(b'\n');
        }
        merged.text.extend_from_slice(paragraph);
        merged.text.extend_from_slice(b"\n\n");
        merged.added.push(name);
    }
    merged
}

fn names(database: &[u8]) -> Vec<String> {
    paragraphs(database).map(name).collect()
}

/// Name and architecture: both together are installed once.
fn name(paragraph: &[u8]) -> String {
    let value = |key: &[u8]| {
        let line = paragraph.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key));
        String::from_utf8_lossy(line.unwrap_or_default()).trim().to_owned()
    };
    match (value(b"Package:"), value(b"Architecture:")) {
        (name, _) if name.is_empty() => name,
        (name, architecture) => format!("{name}:{architecture}"),
    }
}

/// Text between empty lines, without the line feed at its end.
fn paragraphs(database: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = database;
    std::iter::from_fn(move || {
        while let [b'\n', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return None;
        }
        let end = rest.windows(2).position(|pair| pair == b"\n\n").unwrap_or(rest.len());
        let (paragraph, tail) = rest.split_at(end);
        rest = tail;
        Some(paragraph.strip_suffix(b"\n").unwrap_or(paragraph))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str, version: u32) -> String {
        format!("Package: {name}\nArchitecture: amd64\nVersion: {version}\nDescription: x\n more\n")
    }

    fn database(packages: &[(&str, u32)]) -> Vec<u8> {
        packages.iter().map(|(name, version)| package(name, *version)).collect::<Vec<_>>().join("\n").into_bytes()
    }

    #[test]
    fn the_new_system_with_what_the_user_added() {
        let base = database(&[("libc6", 1), ("tar", 1)]);
        // tar was removed, libc6 upgraded, vim and git added; git has come to the system since.
        let local = database(&[("libc6", 9), ("vim", 1), ("git", 1)]);
        let new = database(&[("libc6", 2), ("tar", 2), ("git", 2)]);
        let merged = merge(&base, &local, &new);
        assert_eq!(merged.added, ["vim:amd64"]);
        let expected = [String::from_utf8(new).expect("text"), package("vim", 1)].join("\n") + "\n";
        assert_eq!(String::from_utf8(merged.text).expect("text"), expected);
    }

    proptest! {
        #[test]
        fn merging_again_changes_nothing(
            base in proptest::collection::btree_map("[a-f]", 0u32..3, 0..5),
            local in proptest::collection::btree_map("[a-f]", 0u32..3, 0..5),
            new in proptest::collection::btree_map("[a-f]", 0u32..3, 0..5),
        ) {
            let of = |packages: &std::collections::BTreeMap<String, u32>| {
                database(&packages.iter().map(|(name, version)| (name.as_str(), *version)).collect::<Vec<_>>())
            };
            let (base, local, new) = (of(&base), of(&local), of(&new));
            let once = merge(&base, &local, &new);
            let upstream = names(&new);
            prop_assert!(names(&once.text).starts_with(&upstream));
            prop_assert_eq!(&merge(&base, &once.text, &new).text, &once.text);
        }

        #[test]
        fn any_text_is_survived(base in "[ab\n:P ]{0,60}", local in "(Package: [ab]\n|\n|x){0,20}", new in "[ab\n]{0,60}") {
            let merged = merge(base.as_bytes(), local.as_bytes(), new.as_bytes());
            prop_assert!(merged.text.starts_with(new.as_bytes()));
        }
    }
}
