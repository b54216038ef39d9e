//! Files to boot from. One image serves CDs, disks and USB sticks, with a BIOS and with UEFI; the kernel is in it once.

use crate::menu::{self, Entry};
use crate::tools;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Label of the image; init knows it by that.
const LABEL: &str = "UCERNVM";
/// Parts of GRUB that an image needs.
const GRUB_MODULES: [&str; 14] = [
    "iso9660",
    "part_gpt",
    "part_msdos",
    "search",
    "search_label",
    "search_fs_file",
    "configfile",
    "normal",
    "linux",
    "serial",
    "terminal",
    "echo",
    "test",
    "reboot",
];
/// What GRUB does first: it looks for the menu.
const GRUB_BEGIN: &str =
    "search --no-floppy --set=root --label UCERNVM\nset prefix=($root)/boot/grub\nconfigfile /boot/grub/grub.cfg\n";

/// What an image is made of.
pub(crate) struct Parts<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// The packed initramfs.
    pub(crate) initramfs: &'a [u8],
    /// The menu.
    pub(crate) entries: &'a [Entry],
    /// Seconds that the menu waits.
    pub(crate) seconds: u32,
    /// The time of all files.
    pub(crate) epoch: u64,
}

/// Sizes of what the boot loaders take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaders {
    /// For a BIOS.
    pub(crate) bios: u64,
    /// For UEFI.
    pub(crate) uefi: u64,
}

/// Writes the hybrid image to `output`. `scratch` is a directory for what is needed on the way.
pub(crate) fn write_hybrid(parts: &Parts<'_>, scratch: &Path, output: &Path) -> Result<Loaders> {
    let tree = scratch.join("tree");
    for directory in ["boot/grub", "isolinux"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    fs::copy(parts.kernel, tree.join("boot/vmlinuz"))?;
    fs::write(tree.join("boot/initrd"), parts.initramfs)?;
    fs::write(tree.join("boot/grub/grub.cfg"), menu::grub(parts.entries, parts.seconds))?;
    fs::write(tree.join("isolinux/isolinux.cfg"), menu::isolinux(parts.entries, parts.seconds))?;
    fs::write(tree.join(".ucernvm_boot_loader"), "")?;
    let bios = write_isolinux(&tree.join("isolinux"))?;
    let uefi = write_esp(&tree.join("efi.img"), scratch, parts.epoch)?;
    set_times(&tree, parts.epoch)?;
    let begin = tools::file("/usr/lib/ISOLINUX/isohdpfx.bin", "isolinux")?;
    let mut command = tools::command("xorriso", parts.epoch)?;
    // All dates, the volume's UUID and the identity of partitions follow from the time.
    let date = format!("{}00", stamp(parts.epoch));
    command.args(["-as", "mkisofs", "-quiet", "-R", "-V", LABEL, "--set_all_file_dates", &date]);
    command.arg(format!("--modification-date={date}")).args(["-partition_offset", "0", "-isohybrid-mbr"]).arg(begin);
    // Small cylinders: the image is filled up to a whole number of them, and of nothing else.
    command.args(["-partition_hd_cyl", "4", "-partition_sec_hd", "32", "-no-pad"]);
    command.args(["-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin"]);
    command.args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-eltorito-alt-boot"]);
    command.args(["-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat", "-o"]).arg(output).arg(&tree);
    tools::output(&mut command)?;
    Ok(Loaders { bios, uefi })
}

fn write_isolinux(directory: &Path) -> Result<u64> {
    let mut size = 0;
    let modules = "/usr/lib/syslinux/modules/bios";
    let loader = tools::file("/usr/lib/ISOLINUX/isolinux.bin", "isolinux")?;
    let mut files = vec![loader];
    for name in ["ldlinux.c32", "libutil.c32", "menu.c32"] {
        files.push(tools::file(&format!("{modules}/{name}"), "syslinux-common")?);
    }
    for file in files {
        size += fs::copy(&file, directory.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(size)
}

/// The file system that UEFI looks for: FAT, with GRUB in it.
fn write_esp(image: &Path, scratch: &Path, epoch: u64) -> Result<u64> {
    tools::file("/usr/lib/grub/x86_64-efi/kernel.img", "grub-efi-amd64-bin")?;
    let (begin, loader) = (scratch.join("grub-begin.cfg"), scratch.join("BOOTX64.EFI"));
    fs::write(&begin, GRUB_BEGIN)?;
    let mut command = tools::command("grub-mkimage", epoch)?;
    command.args(["-O", "x86_64-efi", "-p", "/boot/grub", "-c"]).arg(&begin).arg("-o").arg(&loader).args(GRUB_MODULES);
    tools::output(&mut command)?;
    set_time(&loader, epoch)?;
    // Room for two directories and the tables.
    let sectors = (fs::metadata(&loader)?.len() + (48 << 10)).div_ceil(32 << 10) * 64;
    let mtool = |name: &str| -> Result<std::process::Command> {
        let mut command = tools::command(name, epoch)?;
        command.args(["-i".as_ref(), image.as_os_str()]);
        Ok(command)
    };
    let sectors = sectors.to_string();
    tools::output(mtool("mformat")?.args(["-C", "-T", &sectors, "-h", "2", "-s", "32", "-N", "00000000", "::"]))?;
    tools::output(mtool("mmd")?.args(["::EFI", "::EFI/BOOT"]))?;
    tools::output(mtool("mcopy")?.arg("-m").arg(&loader).arg("::EFI/BOOT/BOOTX64.EFI"))?;
    Ok(fs::metadata(image)?.len())
}

fn set_times(directory: &Path, epoch: u64) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_times(&entry.path(), epoch)?;
        } else {
            set_time(&entry.path(), epoch)?;
        }
    }
    set_time(directory, epoch)
}

fn set_time(path: &Path, epoch: u64) -> Result<()> {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(epoch);
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time))
        .with_context(|| path.display().to_string())
}

/// `YYYYMMDDhhmmss` of seconds since 1970.
fn stamp(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86400, epoch % 86400);
    // The civil calendar, counted from the first of March of a year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::stamp;

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(stamp(0), "19700101000000");
        assert_eq!(stamp(951_782_400), "20000229000000");
        assert_eq!(stamp(1_763_287_020), "20251116095700");
    }
}
