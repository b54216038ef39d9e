//! Mounts that lie nowhere until they are attached. So everything can be made while the host's tree is still there,
//! and every place is looked for when the new root is the only tree that there is: no link in it leads out.

use anyhow::{Context as _, Result};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

/// A mount.
pub(crate) struct Mount {
    fd: OwnedFd,
    is_directory: bool,
}

/// A new file system of this type.
pub(crate) fn fresh(kind: &str, options: &[(&str, &str)]) -> Result<Mount> {
    let made = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in options {
            fsconfig_set_string(context.as_fd(), *name, *value)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    Ok(Mount { fd: made().with_context(|| format!("making a file system of type {kind}"))?, is_directory: true })
}

/// A file system of FUSE, and the device through which it is served. Only who opens the device in a user namespace may
/// mount it there.
pub(crate) fn fuse() -> Result<(Mount, OwnedFd)> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("opening /dev/fuse")?;
    let made = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let number = device.as_raw_fd().to_string();
        for (name, value) in
            [("source", "cvmfs2"), ("fd", &number), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")]
        {
            fsconfig_set_string(context.as_fd(), name, value)?;
        }
        for name in ["ro", "allow_other", "default_permissions"] {
            fsconfig_set_flag(context.as_fd(), name)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let mount = Mount { fd: made().context("mounting through FUSE")?, is_directory: true };
    Ok((mount, device.into()))
}

/// What lies at this path, with all that is mounted below it, as another mount.
pub(crate) fn copy(path: impl AsRef<Path>) -> Result<Mount> {
    let path = path.as_ref();
    let context = || format!("showing {} inside", path.display());
    let is_directory = fs::metadata(path).with_context(context)?.is_dir();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(Mount { fd: open_tree(CWD, path, flags).with_context(context)?, is_directory })
}

impl Mount {
    /// Nobody can write through this mount and those below it any more.
    pub(crate) fn make_read_only(&self) -> io::Result<()> {
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            attr_clr: 0,
            propagation: 0,
            userns_fd: 0,
        };
        // SAFETY: an open descriptor, an empty C string, and a structure of the size that is given.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.fd.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
                &raw const attributes,
                size_of_val(&attributes),
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Lays it upon this path, which is made where missing.
    pub(crate) fn attach(self, place: &Path) -> Result<()> {
        let context = || format!("mounting upon {}", place.display());
        if fs::metadata(place).is_err() {
            if self.is_directory {
                fs::create_dir_all(place).with_context(context)?;
            } else {
                if let Some(parent) = place.parent() {
                    fs::create_dir_all(parent).with_context(context)?;
                }
                File::create(place).with_context(context)?;
            }
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        move_mount(self.fd.as_fd(), "", CWD, place, flags).with_context(context)
    }
}

/// Takes from programs what `/proc` lets root change about the host's kernel; most of it the kernel forbids anyway.
pub(crate) fn protect_process_tree() -> Result<()> {
    for name in ["bus", "irq", "sys", "sysrq-trigger"] {
        let place = Path::new("/proc").join(name);
        if place.exists() {
            let mount = copy(&place)?;
            mount.make_read_only().with_context(|| format!("making {} read-only", place.display()))?;
            mount.attach(&place)?;
        }
    }
    Ok(())
}
