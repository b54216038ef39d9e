//! From a kernel and some programs to an image.

use crate::arguments::{Build, Format};
use crate::image::{self, Loaders, Parts};
use crate::initramfs::{self, Contents};
use crate::menu::{self, Entry};
use crate::modules::{self, Modules};
use crate::report::Report;
use crate::{disk, kernel, ova, pack, programs, unified};
use anyhow::{Context as _, Result, bail};
use cvmfs_command::output::say;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use ucernvm_context::{CommandLine, Settings};
use ucernvm_update::loader::DESCRIPTOR;

/// What every kernel command line has: both consoles, the serial one for logs and logins without a screen.
const CONSOLES: &str = "console=tty0 console=ttyS0,115200n8 loglevel=3 consoleblank=0";

/// Builds what the arguments say.
pub(crate) fn run(arguments: &Build) -> Result<()> {
    let line = command_line(arguments);
    check(arguments, &line)?;
    let scratch = tempfile::tempdir().context("a temporary directory")?;
    let kernel = kernel::find(&arguments.kernel, scratch.path())?;
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().context("SOURCE_DATE_EPOCH")?,
        Err(_) => kernel.built,
    };
    let modules = modules::collect(&kernel, arguments.drivers, &arguments.modules)?;
    let contents = contents(arguments, &kernel.release, &modules, epoch)?;
    let init = contents.files.get("init").map_or(0, |bytes| bytes.len() as u64);
    let module_bytes: u64 = modules.files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let all: u64 = contents.files.values().map(|bytes| bytes.len() as u64).sum();
    let initramfs = initramfs::pack(&contents, epoch)?;
    let entries = menu::entries(&line, &arguments.menu_tags);
    let parts = Parts {
        kernel: &kernel.image,
        initramfs: &initramfs,
        entries: &entries,
        seconds: arguments.menu_seconds,
        epoch,
    };
    let (loaders, image, sha256) = write(arguments, &parts, scratch.path())?;
    let report = Report {
        kernel_release: kernel.release,
        kernel: fs::metadata(&kernel.image)?.len(),
        initramfs: initramfs.len() as u64,
        modules: module_bytes,
        module_count: modules.files.len(),
        init,
        tools: all - module_bytes - init,
        loaders: loaders.bios + loaders.uefi,
        image,
        absent_modules: modules.absent,
        sha256,
    };
    report.print(arguments.json)
}

/// What can be known to be missing is said now, and not at the first boot.
fn check(arguments: &Build, line: &str) -> Result<()> {
    let settings = Settings::from_command_line(&CommandLine::parse(line));
    let hint = "user data has to tell it at the first boot";
    if settings.repository.is_none() {
        say(format_args!("ucernvm: no repository: {hint} (--repo)"));
    }
    if settings.server_url().is_none() {
        say(format_args!("ucernvm: no server: {hint} (--server, --url)"));
    }
    if settings.tree().is_none() {
        bail!("--path leads out of the repository");
    }
    if arguments.keys.is_empty() {
        bail!("without a public master key nothing can be trusted: --key FILE");
    }
    Ok(())
}

fn command_line(arguments: &Build) -> String {
    let word = |key: &str, value: &Option<String>| value.as_ref().map(|value| format!("{key}={value}"));
    let words = [
        Some(CONSOLES.to_owned()),
        word("cvmfs_repos", &arguments.repo),
        word("cvmfs_server", &arguments.server),
        word("cvmfs_url", &arguments.url),
        Some(format!("cvmfs_proxy={}", arguments.proxy)),
        word("cernvm_path", &arguments.path),
        word("cvmfs_repository_tag", &arguments.tag),
        Some(arguments.append.clone()).filter(|more| !more.is_empty()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn contents(arguments: &Build, release: &str, modules: &Modules, epoch: u64) -> Result<Contents> {
    let mut contents =
        Contents { directories: vec!["proc", "sys", "run", "root", "tmp", "etc"], ..Contents::default() };
    contents.files.insert("init".to_owned(), own_program(arguments)?);
    contents.links.insert("bin/cvmfs-mount".to_owned(), "../init".to_owned());
    add_tools(arguments.tools.as_deref(), &mut contents.files)?;
    for applet in programs::APPLETS {
        contents.links.insert(format!("bin/{applet}"), "busybox".to_owned());
    }
    let place = format!("lib/modules/{release}");
    for (path, bytes) in &modules.files {
        contents.files.insert(format!("{place}/{path}"), bytes.clone());
    }
    contents.files.insert(format!("{place}/modules.dep"), modules.dependencies().into_bytes());
    contents.files.insert("etc/modules".to_owned(), modules.list().into_bytes());
    contents.files.insert("version".to_owned(), format!("{}\n{epoch}\n", arguments.release).into_bytes());
    for key in &arguments.keys {
        let name = key.file_name().context("--key takes a file")?.to_string_lossy();
        let stem = name.strip_suffix(".pub").unwrap_or(&name);
        let bytes = fs::read(key).with_context(|| key.display().to_string())?;
        contents.files.insert(format!("etc/cvmfs/keys/{stem}.pub"), bytes);
    }
    Ok(contents)
}

/// The shell, and programs for file systems: static ones of a directory, or this machine's.
fn add_tools(directory: Option<&Path>, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let busybox = match directory {
        Some(directory) => directory.join("busybox"),
        None => crate::tools::file("/bin/busybox", "busybox-static")?,
    };
    files.insert("bin/busybox".to_owned(), programs::read_static(&busybox)?);
    for program in ["mke2fs", "e2fsck"] {
        match directory {
            Some(directory) => {
                files.insert(format!("sbin/{program}"), programs::read_static(&directory.join(program))?);
            }
            None => programs::add(program, files)?,
        }
    }
    Ok(())
}

/// The program of the initramfs: from beside this one, or from where the user says.
fn own_program(arguments: &Build) -> Result<Vec<u8>> {
    let own = || -> Result<PathBuf> {
        let own = std::env::current_exe().context("this program's own place")?;
        Ok(own.parent().context("this program's own place")?.to_owned())
    };
    let directory = arguments.programs.clone().map_or_else(own, Ok)?;
    let init = directory.join("ucernvm-init");
    if !init.is_file() {
        bail!("{} is not there; ci/boot builds it, and --programs DIR tells where it is", init.display());
    }
    programs::read_static(&init)
}

/// Writes the image, complete or not at all; sizes of loaders and image, and its hash.
fn write(arguments: &Build, parts: &Parts<'_>, scratch: &Path) -> Result<(Loaders, u64, String)> {
    let output = &arguments.output;
    if arguments.format == Format::Kernel {
        return Ok((Loaders { bios: 0, uefi: 0 }, write_kernel(parts, &arguments.release, output)?, String::new()));
    }
    let image = scratch.join("image");
    let loaders = match arguments.format {
        Format::Efi => Loaders { bios: 0, uefi: unified::write(parts, scratch, &image)? },
        Format::Pack => {
            fs::write(&image, pack::write(&arguments.release, parts)?)?;
            Loaders { bios: 0, uefi: 0 }
        }
        _ => image::write_hybrid(parts, scratch, &image)?,
    };
    let made = match arguments.format {
        Format::Qcow2 => disk::write_qcow2(&image, &scratch.join("disk.qcow2"), parts.epoch)?,
        Format::Vmdk => disk::write_vmdk(&image, &scratch.join("disk.vmdk"), parts.epoch)?,
        Format::Ova => {
            let capacity = fs::metadata(&image)?.len();
            let disk = disk::write_vmdk(&image, &scratch.join("disk.vmdk"), parts.epoch)?;
            ova::write(&disk, capacity, &scratch.join("machine.ova"), parts.epoch)?
        }
        Format::Vhd => disk::write_vhd(&image, parts.epoch)?,
        Format::Iso | Format::Raw | Format::Efi | Format::Pack | Format::Kernel => image,
    };
    let bytes = fs::read(&made)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let described = || output.display().to_string();
    let temporary = output.with_extension("part");
    fs::write(&temporary, &bytes).with_context(described)?;
    fs::rename(&temporary, output).with_context(described)?;
    Ok((loaders, bytes.len() as u64, sha256))
}

/// For who boots with a loader of his own, or with none; and a pack as well.
fn write_kernel(parts: &Parts<'_>, release: &str, directory: &Path) -> Result<u64> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let kernel = parts.kernel_bytes()?;
    fs::write(directory.join("vmlinuz"), &kernel)?;
    fs::write(directory.join("initrd"), parts.initramfs)?;
    let line = parts.entries.first().map(|Entry { line, .. }| line.as_str()).unwrap_or_default();
    fs::write(directory.join("cmdline"), format!("{line}\n"))?;
    fs::write(directory.join(DESCRIPTOR), pack::describe(release, &kernel, parts.initramfs)?.to_text())?;
    Ok((kernel.len() + parts.initramfs.len()) as u64)
}
