//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use cvmfs_command::generate::GenerateArgs;
use std::path::PathBuf;

/// Build images that boot an operating system out of CernVM-FS, and try them.
#[derive(Debug, Parser)]
#[command(name = "ucernvm", version, after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image
    Build(Box<Build>),
    /// Start an image in QEMU
    Run(Run),
    /// Write manual pages or shell completions
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// What an image is built from.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The kernel: 'debian' for the newest of this machine's Debian, a package, or a directory with boot/ and lib/modules/
    #[arg(long, value_name = "debian|FILE.deb|DIR")]
    pub(crate) kernel: String,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// What to write: one image for CDs, disks and USB sticks, the same as a disk of some hypervisor, or kernel and initramfs alone
    #[arg(long, value_enum, default_value_t = Format::Iso)]
    pub(crate) format: Format,

    /// The repository with the operating system
    #[arg(long, value_name = "FQRN")]
    pub(crate) repo: Option<String>,

    /// Stratum 1 servers: hosts, separated by commas
    #[arg(long, value_name = "HOSTS")]
    pub(crate) server: Option<String>,

    /// Complete server URLs, separated by semicolons; @fqrn@ stands for the repository
    #[arg(long, value_name = "URLS")]
    pub(crate) url: Option<String>,

    /// Proxies, as in CVMFS_HTTP_PROXY
    #[arg(long, value_name = "PROXIES", default_value = "DIRECT")]
    pub(crate) proxy: String,

    /// A public master key; may be there several times
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,

    /// The directory in the repository that is the root of the operating system
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// The tag that a first boot pins, instead of the newest snapshot
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,

    /// A tag to have in the boot menu, for one boot each time; may be there several times
    #[arg(long = "menu-tag", value_name = "TAG")]
    pub(crate) menu_tags: Vec<String>,

    /// More words for the kernel command line
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub(crate) append: String,

    /// Drivers to have: for virtio alone, for all that KVM and QEMU show, or for all clouds and hypervisors
    #[arg(long, value_enum, default_value_t = Drivers::Kvm)]
    pub(crate) drivers: Drivers,

    /// One more module; may be there several times
    #[arg(long = "module", value_name = "NAME")]
    pub(crate) modules: Vec<String>,

    /// The version that the image calls itself
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) release: String,

    /// Seconds that the boot menu waits
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub(crate) menu_seconds: u32,

    /// Directory with the static program ucernvm-init; that of this one if not told
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,

    /// Directory with static programs busybox, mke2fs and e2fsck, as boot/image/tools/build makes them; this machine's if not told
    #[arg(long, value_name = "DIR")]
    pub(crate) tools: Option<PathBuf>,

    /// Print the sizes of all parts as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A hybrid image: CD, disk or USB stick, for BIOS and UEFI
    Iso,
    /// The same bytes, for a disk
    Raw,
    /// A disk for QEMU and OpenStack
    Qcow2,
    /// A disk for VMware and VirtualBox
    Vmdk,
    /// A machine to import for VMware and VirtualBox: that disk, an empty one, and a description
    Ova,
    /// A disk for Azure and Hyper-V
    Vhd,
    /// A unified kernel image: one program for UEFI, with kernel, initramfs and command line
    Efi,
    /// A loader in one file, for 'cernvm-update loader' of machines that boot another image
    Pack,
    /// A directory with vmlinuz, initrd and cmdline; for 'cernvm-update loader', too
    Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drivers {
    /// Disks, network and CDs of virtio
    Virtio,
    /// Also disks and CDs of IDE, SATA and NVMe: KVM, QEMU and clouds that stand on them
    Kvm,
    /// Also VMware, VirtualBox, Hyper-V, Xen, EC2, GCE, and usual hardware
    All,
}

/// The machine to try an image in.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The image
    pub(crate) image: PathBuf,

    /// A disk for what is written; made if absent. Without one it is kept in memory
    #[arg(long, value_name = "FILE")]
    pub(crate) scratch: Option<PathBuf>,

    /// Size of a scratch that is made, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 8)]
    pub(crate) scratch_size: u32,

    /// Memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,

    /// Processors
    #[arg(long, default_value_t = 2)]
    pub(crate) cpus: u32,

    /// How QEMU runs the code: 'tcg' works everywhere and is slow, 'kvm' needs the hardware
    #[arg(long, default_value = "tcg")]
    pub(crate) accel: String,

    /// Start with UEFI (the package ovmf) instead of a BIOS
    #[arg(long)]
    pub(crate) uefi: bool,

    /// A file with user data for the first boot
    #[arg(long, value_name = "FILE")]
    pub(crate) user_data: Option<PathBuf>,

    /// The network: the user network of QEMU if not told, 'none', or what -netdev takes, with id=net
    #[arg(long, value_name = "NETDEV")]
    pub(crate) network: Option<String>,

    /// Print the command instead of running it
    #[arg(long)]
    pub(crate) print: bool,

    /// More arguments for QEMU
    #[arg(last = true)]
    pub(crate) more: Vec<String>,
}

const AFTER_HELP: &str = "\
EXAMPLES
    ucernvm build --kernel debian --repo os.example.org --server s1.example.org --key os.example.org.pub -o ucernvm.iso
    ucernvm run ucernvm.iso --scratch scratch.qcow2
    ucernvm build --kernel linux-image-6.1.0-56-amd64.deb --drivers all --format qcow2 -o ucernvm.qcow2 ...
    ucernvm build --kernel debian --release 2.0 --format pack -o ucernvm-2.0.pack ...

ENVIRONMENT
    SOURCE_DATE_EPOCH    the time that all files in the image have; the kernel's if not set

EXIT STATUS
    0 when it is done, 1 when it could not be; 'run' ends as QEMU does";
