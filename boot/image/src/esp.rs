//! The file system in which UEFI looks for a loader: FAT (ESP, EFI system partition).

use crate::image::{Parts, SHARED, set_time};
use crate::iso9660::SECTOR;
use crate::{menu, tools};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;

/// The loader.
const SYSTEMD_BOOT: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Bytes of a cluster.
const CLUSTER: usize = 4096;
/// Most sectors of 512 bytes that the catalog of a CD can give to one loader.
const MOST_SECTORS: usize = 0xffff;

/// Writes it, with the loader, its menu, the kernel and the initramfs; each file in one piece that begins with a sector of CDs. The size
/// of the loader.
pub(crate) fn write(image: &Path, parts: &Parts<'_>, scratch: &Path) -> Result<u64> {
    let loader = scratch.join("BOOTX64.EFI");
    // Names for debuggers are an eighth of it. Unless its date is kept, that of today is written into it.
    let mut strip = tools::command("objcopy", parts.epoch)?;
    tools::output(
        strip
            .args(["--preserve-dates", "--strip-all"])
            .arg(tools::file(SYSTEMD_BOOT, "systemd-boot-efi")?)
            .arg(&loader),
    )?;
    let loader = fs::read(loader)?;
    let size = loader.len() as u64;
    let [vmlinuz, initrd] = SHARED.map(str::to_owned);
    let mut files = vec![
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), loader),
        (vmlinuz, parts.kernel_bytes()?),
        (initrd, parts.initramfs.to_vec()),
    ];
    let menu = menu::systemd_boot(parts.entries, parts.seconds);
    files.extend(menu.into_iter().map(|(name, text)| (format!("loader/{name}"), text.into_bytes())));
    // Directories, where names can take two entries of 32 bytes; tables with two bytes for each cluster; what is reserved, and the root.
    let directories = 3 + ((files.len() + 2) * 64).div_ceil(CLUSTER);
    let clusters = directories + files.iter().map(|(_, bytes)| bytes.len().div_ceil(CLUSTER)).sum::<usize>();
    let tables = 2 * ((clusters + 2) * 2).div_ceil(512) + 8;
    let sectors = (clusters * CLUSTER / 512 + tables).next_multiple_of(SECTOR / 512);
    ensure!(sectors <= MOST_SECTORS, "kernel and initramfs are too large for a CD with UEFI: {} MB", sectors / 2000);
    let mtool = |name: &str| -> Result<std::process::Command> {
        let mut command = tools::command(name, parts.epoch)?;
        command.args(["-i".as_ref(), image.as_os_str()]);
        Ok(command)
    };
    let format = |reserved: usize| -> Result<Vec<u8>> {
        let (sectors, reserved, cluster) = (sectors.to_string(), reserved.to_string(), (CLUSTER / 512).to_string());
        let mut command = mtool("mformat")?;
        command.args(["-C", "-T", &sectors, "-h", "1", "-s", "4", "-c", &cluster, "-R", &reserved]);
        tools::output(command.args(["-r", "4", "-N", "00000000", "::"]))?;
        Ok(fs::read(image)?)
    };
    // Sectors of CDs are larger: the first cluster has to begin with one of those.
    let begin = first_cluster(&format(1)?)?;
    let missing = begin.next_multiple_of(SECTOR / 512) - begin;
    if missing > 0 {
        fs::remove_file(image)?;
        let begin = first_cluster(&format(1 + missing)?)?;
        ensure!(begin.is_multiple_of(SECTOR / 512), "mformat put the first cluster at sector {begin}");
    }
    tools::output(mtool("mmd")?.args(["::EFI", "::EFI/BOOT", "::loader", "::loader/entries"]))?;
    for (name, bytes) in files {
        let file = scratch.join("file");
        fs::write(&file, bytes)?;
        set_time(&file, parts.epoch)?;
        tools::output(mtool("mcopy")?.arg("-m").arg(&file).arg(format!("::{name}")))?;
    }
    Ok(size)
}

/// The sector of 512 bytes with which the first cluster of a small FAT begins.
fn first_cluster(image: &[u8]) -> Result<usize> {
    let bytes = image.first_chunk::<24>().context("mformat made nothing")?;
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (reserved, tables, root_entries, table) = (number(14), usize::from(bytes[16]), number(17), number(22));
    ensure!(table > 0, "mformat made no small FAT");
    Ok(reserved + tables * table + (root_entries * 32).div_ceil(512))
}
