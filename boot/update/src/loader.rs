//! What a loader consists of, in words: lines of `key=value` between a first line with the version of this form and a last one.

use crate::contract::Version;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Name of the file with these words, in a pack and on the scratch.
pub const DESCRIPTOR: &str = "apply";
/// Name of the kernel in a pack.
pub const KERNEL: &str = "vmlinuz";
/// Name of the initramfs in a pack.
pub const INITRD: &str = "initrd";
/// The word on the kernel command line that says which loader is meant: whoever is started with it starts no other.
pub const WORD: &str = "cernvm_loader";

/// The most bytes that a descriptor has.
pub(crate) const LONGEST: u64 = 1 << 16;
/// The most bytes that a kernel or an initramfs has.
const LARGEST: u64 = 1 << 30;
const BEGIN: &str = "ucernvm-loader 1";
const END: &str = "end";

/// A file of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// SHA-256 in small hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A loader: a kernel, and the initramfs that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// What it calls itself.
    pub version: String,
    /// The agreement that it was made for.
    pub contract: Version,
    /// The kernel.
    pub kernel: Part,
    /// The initramfs.
    pub initrd: Part,
}

impl Part {
    /// Describes `bytes`.
    pub fn of(bytes: &[u8]) -> Part {
        Part { sha256: hexadecimal(&Sha256::digest(bytes)), size: bytes.len() as u64 }
    }

    fn parse(text: &str) -> Option<Part> {
        let (sha256, size) = text.split_once(' ')?;
        let is_sum =
            sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let size = size.parse().ok().filter(|size| (1..=LARGEST).contains(size))?;
        is_sum.then(|| Part { sha256: sha256.to_owned(), size })
    }

    fn to_text(&self) -> String {
        format!("{} {}", self.sha256, self.size)
    }
}

impl Loader {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Loader, String> {
        let lines = lines(text)?;
        let version = value(&lines, "version")?;
        if !is_version(version) {
            return Err("a version that cannot be shown".to_owned());
        }
        let contract = value(&lines, "contract")?;
        let part = |key| Part::parse(value(&lines, key)?).ok_or(format!("{key}: no sum and size"));
        Ok(Loader {
            version: version.to_owned(),
            contract: Version::parse(&format!("version={contract}")).ok_or("contract: no MAJOR.MINOR")?,
            kernel: part(KERNEL)?,
            initrd: part(INITRD)?,
        })
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        self.to_text_with(&[])
    }

    /// The same with more lines.
    pub(crate) fn to_text_with(&self, more: &[(&str, String)]) -> String {
        let own = [
            ("version", self.version.clone()),
            ("contract", self.contract.to_string()),
            (KERNEL, self.kernel.to_text()),
            (INITRD, self.initrd.to_text()),
        ];
        let mut text = format!("{BEGIN}\n");
        for (key, value) in own.iter().chain(more) {
            let _ = writeln!(text, "{key}={value}");
        }
        text.push_str(END);
        text.push('\n');
        text
    }

    /// A short name that no other loader has.
    pub fn id(&self) -> String {
        let sums = format!("{} {}", self.kernel.sha256, self.initrd.sha256);
        hexadecimal(&Sha256::digest(sums)).chars().take(16).collect()
    }
}

/// Whether a loader may call itself so: what is shown on a console has no control characters.
pub fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.trim() == text && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// All `key=value` of a text that is complete. Keys that are not known are for later versions.
pub(crate) fn lines(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let body =
        text.strip_prefix(BEGIN).and_then(|rest| rest.strip_prefix('\n')).ok_or("another version, or no loader")?;
    let body = body.strip_suffix('\n').and_then(|rest| rest.strip_suffix(END)).ok_or("it has no end")?;
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("it has no end".to_owned());
    }
    body.lines().map(|line| line.split_once('=').ok_or_else(|| "a line without a value".to_owned())).collect()
}

/// The only value of `key`.
pub(crate) fn value<'a>(lines: &[(&str, &'a str)], key: &str) -> Result<&'a str, String> {
    let mut values = lines.iter().filter(|(name, _)| *name == key).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(format!("{key} is missing")),
        (Some(_), Some(_)) => Err(format!("{key} is there twice")),
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made() -> Loader {
        let contract = Version { major: 1, minor: 1 };
        Loader { version: "1.2-3".to_owned(), contract, kernel: Part::of(b"kernel"), initrd: Part::of(b"initrd") }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = made().to_text();
        assert_eq!(Loader::parse(&text), Ok(made()));
        assert_eq!(made().kernel.sha256, "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c");
        for (from, to, reason) in [
            ("ucernvm-loader 1", "ucernvm-loader 2", "another version"),
            ("end\n", "", "it has no end"),
            ("end\n", "end", "it has no end"),
            ("\nend\n", "end\n", "it has no end"),
            ("version=1.2-3", "version=1.2\u{1b}[2J", "cannot be shown"),
            ("version=1.2-3", "version=", "cannot be shown"),
            ("version=1.2-3\n", "", "version is missing"),
            ("version=1.2-3", "version=1\nversion=2", "version is there twice"),
            ("contract=1.1", "contract=new", "no MAJOR.MINOR"),
            (" 6\nend", " 0\nend", "initrd: no sum and size"),
            (" 6\nend", " 9999999999\nend", "initrd: no sum and size"),
            ("vmlinuz=", "vmlinuz=../", "vmlinuz: no sum and size"),
            ("version=1.2-3", "version", "a line without a value"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            let error = Loader::parse(&wrong).expect_err(to);
            assert!(error.contains(reason), "{to}: {error}");
        }
    }

    #[test]
    fn a_later_form_may_say_more_and_names_follow_from_the_files_alone() {
        let more = made().to_text_with(&[("colour", "blue".to_owned())]);
        assert_eq!(Loader::parse(&more), Ok(made()));
        assert_eq!(Loader { version: "other".to_owned(), ..made() }.id(), made().id());
        assert_ne!(Loader { initrd: Part::of(b"other"), ..made() }.id(), made().id());
        assert_ne!(Loader { kernel: Part::of(b"other"), ..made() }.id(), made().id());
    }

    proptest! {
        #[test]
        fn descriptors_read_back(
            version in "[ -~]{1,64}", major in any::<u32>(), minor in any::<u32>(),
            kernel in proptest::collection::vec(any::<u8>(), 1..64), size in 1u64..=LARGEST
        ) {
            let contract = Version { major, minor };
            let initrd = Part { size, ..Part::of(&kernel) };
            let loader = Loader { version: version.clone(), contract, kernel: Part::of(&kernel), initrd };
            let read = Loader::parse(&loader.to_text());
            prop_assert_eq!(read, if is_version(&version) { Ok(loader) } else { Err("a version that cannot be shown".to_owned()) });
        }

        #[test]
        fn any_text_is_survived(text in any::<String>(), body in "(version|contract|vmlinuz|initrd|=|[0-9a-f ]|\n){0,40}") {
            let _ = Loader::parse(&text);
            let _ = Loader::parse(&format!("{BEGIN}\n{body}\n{END}\n"));
        }
    }
}
