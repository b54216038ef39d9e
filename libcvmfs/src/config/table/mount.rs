//! What the tree looks like to programs.

use crate::config::parameter::{Kind, Parameter, Status, Topic};

const NO_KERNEL: Status = Status::NoEffect("no file system is mounted, so the kernel caches nothing of it");
const FUSE_ONLY: Status = Status::Different("by cvmfs-mount only; nothing else mounts a file system");
const NO_NFS: Status = Status::NotSupported("the tree cannot be exported by NFS");
const NO_DAEMON: Status = Status::NoEffect("there is no daemon of the system to be tuned");

parameters! { Topic::Mount;
    MOUNT_DIR "CVMFS_MOUNT_DIR" Kind::Path, "Directory below which repositories appear.".file("/cvmfs");
    CLAIM_OWNERSHIP "CVMFS_CLAIM_OWNERSHIP" Kind::Bool, "All files belong to the user who runs the client.".code("no").file("yes").own("no")
        .is(Status::Different("without a default.conf owners are those of the catalog"));
    CHECK_PERMISSIONS "CVMFS_CHECK_PERMISSIONS" Kind::Bool, "Access follows the permission bits of the catalog.".file("yes");
    WORLD_READABLE "CVMFS_WORLD_READABLE" Kind::Bool, "Adds read permission for everybody.".code("no");
    UID_MAP "CVMFS_UID_MAP" Kind::Path, "File that translates the user ids of the catalog.";
    GID_MAP "CVMFS_GID_MAP" Kind::Path, "File that translates the group ids of the catalog.";
    ENFORCE_ACLS "CVMFS_ENFORCE_ACLS" Kind::Bool, "Applies POSIX ACLs stored in the repository.".code("no")
        .is(Status::NotSupported("everything in the cache is readable by its owner; ACLs are shown as extended attributes"));
    SUID "CVMFS_SUID" Kind::Bool, "Honours set-user-id bits.".code("no")
        .is(Status::NotSupported("an unprivileged client cannot grant another user's rights"));
    MOUNT_RW "CVMFS_MOUNT_RW" Kind::Bool, "Mounts writable, although writing fails.".code("no").file("no")
        .is(Status::NoEffect("opening for writing fails with EROFS either way"));
    NFILES "CVMFS_NFILES" Kind::Integer, "Limit of open files of the client.".code("8192").file("131072")
        .is(Status::NoEffect("open files are descriptors of the programs themselves"));
    KCACHE_TIMEOUT "CVMFS_KCACHE_TIMEOUT" Kind::Seconds, "Time the kernel may keep attributes.".code("60")
        .is(Status::Different("by cvmfs-mount only, and only where it is set: else the kernel asks again when the time to live is over"));
    STATFS_CACHE_TIMEOUT "CVMFS_STATFS_CACHE_TIMEOUT" Kind::Seconds, "Time the result of statfs is kept.".code("0").is(NO_KERNEL);
    CACHE_SYMLINKS "CVMFS_CACHE_SYMLINKS" Kind::Bool, "The kernel keeps symbolic links.".code("no")
        .is(Status::Different("cvmfs-mount always lets it"));
    FUSE_NOTIFY_INVALIDATION "CVMFS_FUSE_NOTIFY_INVALIDATION" Kind::Bool, "Tells the kernel what to forget.".code("yes")
        .is(Status::Different("cvmfs-mount always does, where the kernel listens (6.16)"));
    FUSE3_MAX_THREADS "CVMFS_FUSE3_MAX_THREADS" Kind::Integer, "Threads of libfuse 3.".is(NO_KERNEL);
    FUSE3_IDLE_THREADS "CVMFS_FUSE3_IDLE_THREADS" Kind::Integer, "Idle threads of libfuse 3.".is(NO_KERNEL);
    FUSE_PASSTHROUGH "CVMFS_FUSE_PASSTHROUGH" Kind::Bool, "The kernel reads cache files without asking the client."
        .is(Status::Different("by cvmfs-mount only, and unless it is 'no' wherever the kernel lets it; under cvmfs-run programs always hold descriptors of cache files"));
    PREMOUNT_FUSE "CVMFS_PREMOUNT_FUSE" Kind::Text, "How the FUSE descriptor is made.".is(NO_KERNEL);
    INITIAL_GENERATION "CVMFS_INITIAL_GENERATION" Kind::Integer, "First inode generation, for tests.".is(NO_KERNEL);
    NFS_SOURCE "CVMFS_NFS_SOURCE" Kind::Bool, "Keeps inodes stable for an NFS export.".code("no").file("no").is(NO_NFS);
    NFS_SHARED "CVMFS_NFS_SHARED" Kind::Path, "Place of the shared NFS maps.".is(NO_NFS);
    NFS_INTERLEAVED_INODES "CVMFS_NFS_INTERLEAVED_INODES" Kind::Text, "Inodes of the form `b%a` for several NFS servers.".is(NO_NFS);
    MEMCACHE_SIZE "CVMFS_MEMCACHE_SIZE" Kind::Megabytes, "Memory for directory entries.".code("16")
        .is(Status::NoEffect("indexes are mapped files shared by all processes of the node"));
    CATALOG_WATERMARK "CVMFS_CATALOG_WATERMARK" Kind::Integer, "Attached catalogs above which some are released."
        .is(Status::NoEffect("catalogs are kept as mapped indexes, which need no descriptor"));
    HIDE_MAGIC_XATTRS "CVMFS_HIDE_MAGIC_XATTRS" Kind::Bool, "Leaves the client's own extended attributes out of listings.".code("no");
    MAGIC_XATTRS_VISIBILITY "CVMFS_MAGIC_XATTRS_VISIBILITY" Kind::Choice(&["rootonly", "never", "always"]), "Where the client's own extended attributes are listed."
        .code("rootonly");
    XATTR_PROTECTED_XATTRS "CVMFS_XATTR_PROTECTED_XATTRS" Kind::List(','), "Magic extended attributes that only some groups may read."
        .is(Status::NoEffect("the client belongs to the user who asks"));
    XATTR_PRIVILEGED_GIDS "CVMFS_XATTR_PRIVILEGED_GIDS" Kind::List(','), "Groups that may read protected attributes."
        .is(Status::NoEffect("the client belongs to the user who asks"));
    OOM_SCORE_ADJ "CVMFS_OOM_SCORE_ADJ" Kind::Integer, "Priority for the kernel when memory runs out.".is(FUSE_ONLY);
    CPU_AFFINITY "CVMFS_CPU_AFFINITY" Kind::List(','), "Processors the client runs on.".is(NO_DAEMON);
    SYSTEMD_NOKILL "CVMFS_SYSTEMD_NOKILL" Kind::Bool, "Keeps systemd from ending the client early.".is(FUSE_ONLY);
    LIBRARY_PATH "CVMFS_LIBRARY_PATH" Kind::Path, "Place of the client's FUSE modules.".is(Status::NoEffect("there are no modules to load"));
    RELOAD_SOCKETS "CVMFS_RELOAD_SOCKETS" Kind::Path, "Place of the sockets for reloading the client.".file("/var/run/cvmfs")
        .is(Status::NoEffect("a newer version is used by the next start"));
    USER "CVMFS_USER" Kind::Text, "Unprivileged user of the official client.".file("cvmfs")
        .is(Status::NoEffect("the client runs as the user who starts it"));
}
