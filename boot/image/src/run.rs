//! A machine to try an image in.

use crate::arguments::Run;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use cvmfs_command::output::Output;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Starts QEMU with the console on this terminal; ends as it does.
pub(crate) fn run(arguments: &Run) -> Result<ExitCode> {
    let seed = tempfile::tempdir().context("a temporary directory")?;
    let medium = arguments.user_data.as_deref().map(|data| write_seed(data, seed.path())).transpose()?;
    if let Some(scratch) = &arguments.scratch
        && !scratch.exists()
    {
        let mut create = tools::command("qemu-img", 0)?;
        tools::output(
            create.args(["create", "-q", "-f", "qcow2"]).arg(scratch).arg(format!("{}G", arguments.scratch_size)),
        )?;
    }
    let mut command = Command::new(tools::find("qemu-system-x86_64")?);
    command.args(machine(arguments, medium.as_deref())?);
    if arguments.print {
        let mut out = Output::new(false, false);
        let words = command.get_args().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
        writeln!(out, "{} {words}", command.get_program().to_string_lossy())?;
        out.finish()?;
        if medium.is_some() {
            // The printed command reads it.
            let _ = seed.keep();
        }
        return Ok(ExitCode::SUCCESS);
    }
    let status = command.stdin(Stdio::inherit()).status().context("qemu-system-x86_64")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A CD for the source of user data that needs no network.
fn write_seed(user_data: &Path, directory: &Path) -> Result<std::path::PathBuf> {
    let tree = directory.join("seed");
    std::fs::create_dir(&tree)?;
    std::fs::copy(user_data, tree.join("user-data")).with_context(|| user_data.display().to_string())?;
    std::fs::write(tree.join("meta-data"), "instance-id: ucernvm-run\n")?;
    let image = directory.join("seed.iso");
    let mut command = tools::command("xorriso", 0)?;
    tools::output(command.args(["-as", "mkisofs", "-quiet", "-R", "-V", "cidata", "-o"]).arg(&image).arg(&tree))?;
    Ok(image)
}

/// What QEMU is told.
fn machine(arguments: &Run, medium: Option<&Path>) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    let (memory, cpus) = (arguments.memory.to_string(), arguments.cpus.to_string());
    add(&["-machine", "pc", "-accel", &arguments.accel, "-m", &memory, "-smp", &cpus, "-nographic", "-no-reboot"]);
    if arguments.accel == "kvm" {
        add(&["-cpu", "host"]);
    }
    if arguments.uefi || arguments.image.extension().is_some_and(|extension| extension == "efi") {
        let firmware = tools::file("/usr/share/ovmf/OVMF.fd", "ovmf")?;
        add(&["-bios", &firmware.to_string_lossy()]);
    }
    let image = escaped(&arguments.image)?;
    if image.ends_with(".efi") {
        add(&["-kernel", &image]);
    } else {
        // Images for CDs and for disks are the same bytes; how they are attached goes by the name.
        let format = format_of(&image);
        // Firmware would rather boot the scratch, which has a partition table and no loader.
        let (medium_kind, device) =
            if image.ends_with(".iso") { (",media=cdrom", "ide-cd") } else { ("", "virtio-blk-pci") };
        add(&["-drive", &format!("file={image},if=none,id=image,format={format},readonly=on{medium_kind}")]);
        add(&["-device", &format!("{device},drive=image,bootindex=0")]);
    }
    if let Some(scratch) = &arguments.scratch {
        let scratch = escaped(scratch)?;
        add(&["-drive", &format!("file={scratch},if=virtio,format={}", format_of(&scratch))]);
    }
    if let Some(medium) = medium {
        // A CD that every image has drivers for.
        add(&["-drive", &format!("file={},if=none,id=medium,media=cdrom,format=raw,readonly=on", escaped(medium)?)]);
        add(&["-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-cd,bus=scsi.0,drive=medium"]);
    }
    match arguments.network.as_deref() {
        Some("none") => add(&["-nic", "none"]),
        Some(network) => add(&["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]),
        None => add(&["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]),
    }
    add(&["-device", "virtio-rng-pci"]);
    words.extend(arguments.more.iter().cloned());
    Ok(words)
}

/// What QEMU calls the format of a disk.
fn format_of(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("qcow2") => "qcow2",
        Some("vmdk") => "vmdk",
        Some("vhd") => "vpc",
        _ => "raw",
    }
}

/// Commas separate in QEMU's options.
fn escaped(path: &Path) -> Result<String> {
    if path.as_os_str().is_empty() {
        bail!("an empty file name");
    }
    Ok(path.to_string_lossy().replace(',', ",,"))
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./,:@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
