//! A unified kernel image: systemd's stub for UEFI, with everything else as sections of the same program. Signed as a whole it is
//! what Secure Boot wants; nobody can change its command line then.

use crate::image::Parts;
use crate::tools;
use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};
use std::fs;
use std::path::Path;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Sections begin at multiples of this.
const ALIGNMENT: u64 = 1 << 12;
const ABOUT: &str = "ID=ucernvm\nNAME=\"micro-CernVM\"\nPRETTY_NAME=\"micro-CernVM\"\n";

/// Writes the image; the size of the stub.
pub(crate) fn write(parts: &Parts<'_>, scratch: &Path, output: &Path) -> Result<u64> {
    let stub = tools::file(STUB, "systemd-boot-efi")?;
    let bytes = fs::read(&stub)?;
    let line = parts.entries.first().map(|entry| entry.line.as_str()).unwrap_or_default();
    let contents = [
        ("osrel", ABOUT.as_bytes().to_vec()),
        ("cmdline", line.as_bytes().to_vec()),
        ("initrd", parts.initramfs.to_vec()),
        // The last one: the stub needs room behind it to unpack it in place.
        ("linux", parts.kernel_bytes()?),
    ];
    let mut place = end(&bytes)?;
    let mut command = tools::command("objcopy", parts.epoch)?;
    // Else the time of the day is written into it.
    command.arg("--preserve-dates");
    for (name, content) in &contents {
        let file = scratch.join(name);
        fs::write(&file, content)?;
        command.arg("--add-section").arg(format!(".{name}={}", file.display()));
        command.arg("--change-section-vma").arg(format!(".{name}={place:#x}"));
        place = (place + content.len() as u64).next_multiple_of(ALIGNMENT);
    }
    tools::output(command.arg(&stub).arg(output))?;
    Ok(bytes.len() as u64)
}

/// The first free address behind the sections of a program.
fn end(program: &[u8]) -> Result<u64> {
    let file = object::File::parse(program).context(STUB)?;
    let ends = file.sections().map(|section| section.address() + section.size());
    Ok(ends.max().context("a stub without sections")?.next_multiple_of(ALIGNMENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::menu;

    #[test]
    fn everything_is_in_one_program_that_is_the_same_each_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let kernel = directory.path().join("vmlinuz");
        fs::write(&kernel, vec![7; 100_000]).expect("a kernel");
        let entries = menu::entries("cvmfs_repos=os.example.org", &[]);
        let parts =
            Parts { kernel: &kernel, initramfs: b"initramfs", entries: &entries, seconds: 2, epoch: 1_700_000_000 };
        let [one, two] = ["1.efi", "2.efi"].map(|name| {
            let output = directory.path().join(name);
            write(&parts, directory.path(), &output).expect("systemd-boot-efi and objcopy");
            // Programs for UEFI can have a time, in seconds.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            fs::read(output).expect("an image")
        });
        assert!(one == two, "two of one kernel differ");
        let file = object::File::parse(&*one).expect("a program");
        let mut ends = 0;
        for (name, content) in [
            (".osrel", ABOUT.as_bytes()),
            (".cmdline", b"cvmfs_repos=os.example.org quiet"),
            (".initrd", b"initramfs"),
            (".linux", &[7; 100_000][..]),
        ] {
            let section = file.section_by_name(name).expect(name);
            assert!(section.data().expect(name).starts_with(content), "{name}");
            assert!(section.address() >= ends && section.address() % ALIGNMENT == 0, "{name} lies over another");
            ends = section.address() + section.size();
        }
    }
}
