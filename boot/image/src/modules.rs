//! Which modules of the kernel come along: a list, and all that those need.

use crate::arguments::Drivers;
use crate::kernel::Kernel;
use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// For every machine: file systems, and what they need without saying so.
const ALWAYS: [&str; 13] = [
    "crc32c_generic",
    "crc32c_intel",
    "fuse",
    "overlay",
    "ext4",
    "isofs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "nls_utf8",
    "nls_iso8859_1",
    "loop",
    "autofs4",
];

/// For machines that have nothing but virtio.
const VIRTIO: [&str; 8] =
    ["virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng", "virtio_balloon", "sd_mod", "sr_mod"];

/// What else KVM and QEMU show.
const KVM: [&str; 4] = ["ata_piix", "ahci", "nvme", "qemu_fw_cfg"];

/// For the others.
const OTHERS: [&str; 38] = [
    // VMware and VirtualBox
    "vmw_pvscsi",
    "vmxnet3",
    "mptspi",
    "mptsas",
    "e1000",
    "e1000e",
    "pcnet32",
    "vboxguest",
    "vmw_balloon",
    // Hyper-V and Azure
    "hv_vmbus",
    "hv_storvsc",
    "hv_netvsc",
    "hv_utils",
    "hv_balloon",
    "hyperv_keyboard",
    "hid_hyperv",
    "mana",
    // Xen
    "xen_blkfront",
    "xen_netfront",
    // EC2, GCE and others with cards of their own
    "ena",
    "gve",
    "igbvf",
    "ixgbevf",
    "iavf",
    // usual hardware
    "e100",
    "8139too",
    "8139cp",
    "igb",
    "tg3",
    "r8169",
    "usb_storage",
    "uas",
    "xhci_pci",
    "ehci_pci",
    "usbhid",
    // memory and images; CDs of Azure
    "zram",
    "squashfs",
    "udf",
];

/// Modules in the order in which they can be loaded.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Path below the directory of modules, and content.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// Of each file, those that it needs.
    pub(crate) needs: Vec<Vec<String>>,
    /// Wanted and not there; built into the kernel, or of another one.
    pub(crate) absent: Vec<String>,
}

/// Collects the modules that `drivers` and `more` name.
pub(crate) fn collect(kernel: &Kernel, drivers: Drivers, more: &[String]) -> Result<Modules> {
    let mut wanted: Vec<&str> = VIRTIO.to_vec();
    if drivers != Drivers::Virtio {
        wanted.extend(KVM);
    }
    if drivers == Drivers::All {
        wanted.extend(OTHERS);
    }
    wanted.extend(ALWAYS);
    let tree = Tree::read(&kernel.modules)?;
    let mut collection = Collection { tree, seen: BTreeSet::new(), modules: Modules::default() };
    for name in wanted {
        collection.add(name)?;
    }
    for name in more {
        collection.add(name)?;
        if collection.modules.absent.contains(name) {
            bail!("--module {name}: the kernel {} has no such module", kernel.release);
        }
    }
    Ok(collection.modules)
}

/// All modules that there are.
struct Tree {
    root: PathBuf,
    paths: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

impl Tree {
    fn read(root: &Path) -> Result<Tree> {
        let mut paths = BTreeMap::new();
        let mut left = vec![root.join("kernel")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    left.push(entry.path());
                } else if let Some(name) = module_name(&entry.path()) {
                    paths.insert(name, entry.path());
                }
            }
        }
        let built_in = fs::read_to_string(root.join("modules.builtin")).unwrap_or_default();
        let built_in = built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Tree { root: root.to_owned(), paths, built_in })
    }
}

/// `xen_blkfront` of `drivers/block/xen-blkfront.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

struct Collection {
    tree: Tree,
    seen: BTreeSet<String>,
    modules: Modules,
}

impl Collection {
    /// Adds what `name` needs, then `name`.
    fn add(&mut self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        if self.tree.built_in.contains(&name) || !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let Some(path) = self.tree.paths.get(&name).cloned() else {
            self.modules.absent.push(name);
            return Ok(());
        };
        let bytes = unpacked(&path).with_context(|| path.display().to_string())?;
        let needs = needs(&bytes).with_context(|| path.display().to_string())?;
        for other in &needs {
            self.add(other)?;
        }
        let relative = path.strip_prefix(&self.tree.root)?.to_string_lossy();
        let relative = relative.split_once(".ko").map_or(relative.as_ref(), |(stem, _)| stem).to_owned() + ".ko";
        self.modules.files.push((relative, bytes));
        self.modules.needs.push(needs);
        Ok(())
    }
}

/// The whole initramfs is compressed; compressed twice it would be larger.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => liblzma::read::XzDecoder::new(file).read_to_end(&mut bytes)?,
        Some("zst") => zstd::stream::read::Decoder::new(file)?.read_to_end(&mut bytes)?,
        _ => std::io::BufReader::new(file).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// The modules that a module names as needed.
fn needs(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module)?;
    let section = file.section_by_name(".modinfo").context("no .modinfo")?;
    let data = section.data()?;
    let fields = data.split(|&byte| byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    let named = fields.filter_map(|field| field.strip_prefix("depends="));
    let named = named.flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    Ok(named.map(|name| name.replace('-', "_")).collect())
}

impl Modules {
    /// The list for init: one path a line.
    pub(crate) fn list(&self) -> String {
        self.files.iter().map(|(path, _)| format!("{path}\n")).collect()
    }

    /// The table for `modprobe` in the operating system.
    pub(crate) fn dependencies(&self) -> String {
        let mut table = String::new();
        for ((path, _), needs) in self.files.iter().zip(&self.needs) {
            // The next one to load comes last.
            let all = self.closure(needs);
            table.push_str(&format!("{path}:{}\n", all.iter().map(|path| format!(" {path}")).collect::<String>()));
        }
        table
    }

    fn closure(&self, needs: &[String]) -> Vec<String> {
        let mut wanted: BTreeSet<String> = needs.iter().cloned().collect();
        let mut paths = Vec::new();
        for ((path, _), needs) in self.files.iter().zip(&self.needs).rev() {
            if module_name(Path::new(path)).is_some_and(|name| wanted.contains(&name)) {
                wanted.extend(needs.iter().cloned());
                paths.push(path.clone());
            }
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(module_name(Path::new("kernel/block/xen-blkfront.ko.xz")).as_deref(), Some("xen_blkfront"));
        assert_eq!(module_name(Path::new("modules.dep")), None);
    }

    #[test]
    fn what_is_needed_directly_and_by_others_is_in_the_table() {
        let file = |name: &str| (format!("kernel/{name}.ko"), Vec::new());
        let modules = Modules {
            files: vec![file("crc"), file("jbd2"), file("other"), file("ext4")],
            needs: vec![vec![], vec!["crc".to_owned()], vec![], vec!["jbd2".to_owned()]],
            absent: Vec::new(),
        };
        assert_eq!(
            modules.dependencies(),
            "kernel/crc.ko:\nkernel/jbd2.ko: kernel/crc.ko\nkernel/other.ko:\nkernel/ext4.ko: kernel/jbd2.ko kernel/crc.ko\n"
        );
    }
}
