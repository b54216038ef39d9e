//! The step that starts another loader, if there is one on the scratch. Whatever is wrong with that one: this one goes on.

use super::{Boot, mount_scratch};
use crate::kexec;
use crate::repository::SCRATCH;
use anyhow::{Context as _, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::system::{RebootCommand, reboot};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use ucernvm_context::CommandLine;
use ucernvm_update::loader::WORD;
use ucernvm_update::staged::{self, Next, Staged};

/// Nobody watches a loader that was never up: instead of waiting for somebody it starts the machine again, and its tries come to
/// their end.
const UNPROVEN: [(&str, &str); 2] = [("panic", "30"), ("rescue", "reboot")];

pub(super) fn start_staged(boot: &mut Boot) -> Result<()> {
    // Whoever was started that way, or was told to stay, looks no further.
    if !boot.mounted || boot.settings.own_loader {
        return Ok(());
    }
    let image = format!("{} {}", boot.release, boot.built);
    match staged::next(Path::new(SCRATCH), &image) {
        Ok(Next::Own) => {}
        Ok(Next::Start(staged)) => return start(boot, &staged),
        Ok(Next::Exhausted(staged)) => {
            let version = &staged.loader.version;
            boot.console.warn(format_args!("loader {version} did not come up so often that the image's own goes on"));
        }
        Ok(Next::OtherImage(staged)) => {
            let version = &staged.loader.version;
            boot.console
                .warn(format_args!("loader {version} was staged under another image; this image's own goes on"));
        }
        Err(error) => boot.console.warn(format_args!("the image's own loader goes on: {error:#}")),
    }
    Ok(())
}

/// Becomes the other loader. Comes back where that cannot be done, with the scratch mounted.
fn start(boot: &mut Boot, staged: &Staged) -> Result<()> {
    let (version, left) = (&staged.loader.version, staged.tries);
    boot.console.begin(format_args!("Starting loader {version} ({left} more tries)"));
    let Err(error) = load(boot, staged) else {
        boot.console.check();
        rustix::fs::sync();
        let refused = reboot(RebootCommand::Kexec).err();
        kexec::unload();
        let reason = refused.map(|error| error.to_string()).unwrap_or_default();
        boot.console.warn(format_args!("the image's own loader goes on: kexec: {reason}"));
        let Some(plan) = boot.plan.clone() else { bail!("no scratch") };
        return mount_scratch(boot, plan);
    };
    boot.console.failed();
    boot.console.warn(format_args!("the image's own loader goes on: {error:#}"));
    Ok(())
}

/// Loads it, and leaves the scratch as a file system that was unmounted.
fn load(boot: &mut Boot, staged: &Staged) -> Result<()> {
    let present = fs::read_to_string("/proc/cmdline")?;
    let line = CString::new(command_line(present.trim_end(), staged))?;
    let (kernel, initrd) = staged.open(Path::new(SCRATCH))?;
    kexec::load(&kernel, &initrd, &line)?;
    drop((kernel, initrd));
    if let Err(error) = unmount(SCRATCH, UnmountFlags::empty()) {
        kexec::unload();
        return Err(error).context("unmounting the scratch");
    }
    boot.mounted = false;
    Ok(())
}

/// What this kernel was told, and more in front: what comes later counts, and behind `--` nothing does.
fn command_line(present: &str, staged: &Staged) -> String {
    let told = CommandLine::parse(present);
    let mut words = vec![format!("{WORD}={}", staged.loader.id())];
    if !staged.proven {
        let more = UNPROVEN.iter().filter(|(key, _)| told.value(key).is_none());
        words.extend(more.map(|(key, value)| format!("{key}={value}")));
    }
    words.push(present.to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ucernvm_update::contract::OURS;
    use ucernvm_update::loader::{Loader, Part};

    #[test]
    fn the_command_line_is_kept_and_says_who_is_meant() {
        let part = Part::of(b"x");
        let loader = Loader { version: "2".to_owned(), contract: OURS, kernel: part.clone(), initrd: part };
        let id = loader.id();
        let staged = Staged { loader, tries: 2, proven: false, image: None };
        let line = command_line("quiet cvmfs_proxy=\"a b\" -- single", &staged);
        assert_eq!(line, format!("cernvm_loader={id} panic=30 rescue=reboot quiet cvmfs_proxy=\"a b\" -- single"));
        let told = command_line("rescue=poweroff panic=1", &staged);
        assert_eq!(told, format!("cernvm_loader={id} rescue=poweroff panic=1"), "what somebody asked for is done");
        assert!(CommandLine::parse(&line).has_any(WORD), "it starts no other");
        let proven = Staged { proven: true, ..staged };
        assert_eq!(command_line("quiet", &proven), format!("cernvm_loader={id} quiet"));
    }
}
