//! Programs of this machine for the initramfs, with the libraries that they need.

use crate::tools;
use anyhow::{Context as _, Result, bail};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where libraries are looked for.
const LIBRARIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Names that the shell of the initramfs answers to.
pub(crate) const APPLETS: [&str; 36] = [
    "[", "awk", "blkid", "cat", "chroot", "cp", "date", "dd", "df", "dmesg", "echo", "find", "free", "grep", "gzip",
    "hexdump", "ip", "kill", "less", "ln", "ls", "mkdir", "mount", "mv", "ping", "poweroff", "ps", "reboot", "rm",
    "sed", "sh", "sleep", "tar", "umount", "vi", "wget",
];

/// Adds the program `name` of this machine as `/sbin/name`, and its libraries where it looks for them.
pub(crate) fn add(name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let program = tools::find(name)?;
    let bytes = fs::read(&program).with_context(|| program.display().to_string())?;
    let mut left = needed(&bytes).with_context(|| program.display().to_string())?;
    files.insert(format!("sbin/{name}"), bytes);
    while let Some(library) = left.pop() {
        let path = if library.starts_with('/') { PathBuf::from(&library) } else { find_library(&library)? };
        let place = path.to_string_lossy().trim_start_matches('/').trim_start_matches("usr/").to_owned();
        if files.contains_key(&place) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        left.extend(needed(&bytes).with_context(|| path.display().to_string())?);
        files.insert(place, bytes);
    }
    Ok(())
}

/// A program that needs nothing of the system.
pub(crate) fn read_static(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let needed = needed(&bytes).with_context(|| path.display().to_string())?;
    if !needed.is_empty() {
        bail!(
            "{}: not static, it needs {}; ci/boot and boot/image/tools/build make static ones",
            path.display(),
            needed.join(", ")
        );
    }
    Ok(bytes)
}

fn find_library(name: &str) -> Result<PathBuf> {
    let mut places = LIBRARIES.iter().map(|directory| Path::new(directory).join(name));
    places.find(|path| path.exists()).with_context(|| format!("the library {name} is not found"))
}

/// Names of libraries, and the path of the loader.
fn needed(bytes: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile64::<object::LittleEndian>::parse(bytes)?;
    let endian = file.endian();
    let header = file.elf_header();
    let mut names = Vec::new();
    for segment in header.program_headers(endian, bytes)? {
        if let Some(loader) = segment.interpreter(endian, bytes)? {
            names.push(String::from_utf8_lossy(loader).into_owned());
        }
    }
    let sections = header.sections(endian, bytes)?;
    if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries {
            if entry.d_tag(endian) == u64::from(object::elf::DT_NEEDED) {
                let name =
                    entry.string(endian, strings).map_err(|_| anyhow::anyhow!("a name of a library is missing"))?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_loader_and_libraries() {
        let mut files = BTreeMap::new();
        add("mke2fs", &mut files).expect("mke2fs of e2fsprogs");
        assert!(files.contains_key("sbin/mke2fs"));
        assert!(files.keys().any(|name| name.ends_with("/libc.so.6")), "{:?}", files.keys());
        assert!(files.contains_key("lib64/ld-linux-x86-64.so.2"), "{:?}", files.keys());
    }

    #[test]
    fn a_program_that_is_not_static_is_refused() {
        let own = std::env::current_exe().expect("this program");
        assert!(read_static(&own).expect_err("it is not static").to_string().contains("not static"));
        read_static(Path::new("/bin/busybox")).expect("busybox of busybox-static");
    }
}
