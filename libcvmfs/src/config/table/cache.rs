//! The local cache and its instances.

use crate::config::parameter::{Kind, Parameter, Status, Topic};

const ONE_CACHE: Status =
    Status::NotSupported("there is one cache, of type posix; its parameters are those without an instance name");

parameters! { Topic::Cache;
    CACHE_BASE "CVMFS_CACHE_BASE" Kind::Path, "Root of the cache; objects lie in its directory `shared` or in one named as the repository."
        .code("/var/lib/cvmfs").file("/var/lib/cvmfs")
        .is(Status::Different("without a default.conf it is `$XDG_CACHE_HOME/cvmfs` or `~/.cache/cvmfs`"));
    CACHE_DIR "CVMFS_CACHE_DIR" Kind::Path, "The cache directory itself; excludes `CVMFS_CACHE_BASE`.";
    WORKSPACE "CVMFS_WORKSPACE" Kind::Path, "Directory of locks and notes; the cache directory when not set.";
    CACHE_WORKSPACE "CVMFS_CACHE_WORKSPACE" Kind::Path, "The same as `CVMFS_WORKSPACE`.";
    QUOTA_LIMIT "CVMFS_QUOTA_LIMIT" Kind::Megabytes, "Size of the cache above which old objects are removed; zero or less is no limit."
        .code("1024").file("4000");
    CACHE_QUOTA_LIMIT "CVMFS_CACHE_QUOTA_LIMIT" Kind::Megabytes, "The same as `CVMFS_QUOTA_LIMIT`, and wins over it.";
    SHARED_CACHE "CVMFS_SHARED_CACHE" Kind::Bool, "All repositories share one cache directory.".code("no").file("yes");
    CACHE_SHARED "CVMFS_CACHE_SHARED" Kind::Bool, "The same as `CVMFS_SHARED_CACHE`, and wins over it.";
    ALIEN_CACHE "CVMFS_ALIEN_CACHE" Kind::Path, "Cache directory without quota, written by any number of clients of any host.";
    CACHE_ALIEN "CVMFS_CACHE_ALIEN" Kind::Path, "The same as `CVMFS_ALIEN_CACHE`, and wins over it.";
    SERVER_CACHE_MODE "CVMFS_SERVER_CACHE_MODE" Kind::Bool, "Cache behaviour of a publisher: links are not expanded.".code("no")
        .is(Status::NotSupported("it changes what a publishing machine mounts; publishing does not go through this client"));
    CACHE_SERVER_MODE "CVMFS_CACHE_SERVER_MODE" Kind::Bool, "The same as `CVMFS_SERVER_CACHE_MODE`, and wins over it."
        .is(Status::NotSupported("see `CVMFS_SERVER_CACHE_MODE`"));
    STREAMING_CACHE "CVMFS_STREAMING_CACHE" Kind::Bool, "Reads file contents without keeping them.".code("no")
        .is(Status::NotSupported("an open file is a descriptor of a cache file, so it has to be there"));
    STREAMING_CACHE_BUFFER_SIZE "CVMFS_STREAMING_CACHE_BUFFER_SIZE" Kind::Megabytes, "Memory of the streaming cache."
        .is(Status::NoEffect("there is no streaming cache"));
    CACHE_REFCOUNT "CVMFS_CACHE_REFCOUNT" Kind::Bool, "One descriptor for each open object.".code("no")
        .is(Status::NoEffect("descriptors belong to the programs"));
    CACHE_CLEANUP_NONOPENLRU "CVMFS_CACHE_CLEANUP_NONOPENLRU" Kind::Bool, "Removes objects that are not open first."
        .is(Status::NoEffect("removing an object never disturbs a program that has it open"));
    CACHE_PRIMARY "CVMFS_CACHE_PRIMARY" Kind::Text, "Name of the cache instance to use.".code("default").is(ONE_CACHE);
    CACHE_INSTANCE_TYPE "CVMFS_CACHE_<instance>_TYPE" Kind::Choice(&["posix", "ram", "tiered", "external"]), "Type of a cache instance.".is(ONE_CACHE);
    CACHE_INSTANCE_BASE "CVMFS_CACHE_<instance>_BASE" Kind::Path, "`CVMFS_CACHE_BASE` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_DIR "CVMFS_CACHE_<instance>_DIR" Kind::Path, "`CVMFS_CACHE_DIR` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_ALIEN "CVMFS_CACHE_<instance>_ALIEN" Kind::Path, "`CVMFS_ALIEN_CACHE` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_SHARED "CVMFS_CACHE_<instance>_SHARED" Kind::Bool, "`CVMFS_SHARED_CACHE` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_QUOTA_LIMIT "CVMFS_CACHE_<instance>_QUOTA_LIMIT" Kind::Megabytes, "`CVMFS_QUOTA_LIMIT` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_SERVER_MODE "CVMFS_CACHE_<instance>_SERVER_MODE" Kind::Bool, "`CVMFS_SERVER_CACHE_MODE` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_WORKSPACE "CVMFS_CACHE_<instance>_WORKSPACE" Kind::Path, "`CVMFS_WORKSPACE` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_REFCOUNT "CVMFS_CACHE_<instance>_REFCOUNT" Kind::Bool, "`CVMFS_CACHE_REFCOUNT` of an instance.".is(ONE_CACHE);
    CACHE_INSTANCE_SIZE "CVMFS_CACHE_<instance>_SIZE" Kind::Text, "Memory of a RAM cache, in MB or percent.".is(ONE_CACHE);
    CACHE_INSTANCE_MALLOC "CVMFS_CACHE_<instance>_MALLOC" Kind::Choice(&["libc", "heap", "arena"]), "Allocator of a RAM cache.".is(ONE_CACHE);
    CACHE_INSTANCE_UPPER "CVMFS_CACHE_<instance>_UPPER" Kind::Text, "Upper instance of a tiered cache.".is(ONE_CACHE);
    CACHE_INSTANCE_LOWER "CVMFS_CACHE_<instance>_LOWER" Kind::Text, "Lower instance of a tiered cache.".is(ONE_CACHE);
    CACHE_INSTANCE_LOWER_READONLY "CVMFS_CACHE_<instance>_LOWER_READONLY" Kind::Bool, "Never writes to the lower instance.".is(ONE_CACHE);
    CACHE_INSTANCE_CMDLINE "CVMFS_CACHE_<instance>_CMDLINE" Kind::List(','), "Command that starts a cache plug-in.".is(ONE_CACHE);
    CACHE_INSTANCE_LOCATOR "CVMFS_CACHE_<instance>_LOCATOR" Kind::Text, "Address of a cache plug-in.".is(ONE_CACHE);
    CWD_CACHE "CVMFS_CWD_CACHE" Kind::Bool, "Changes into the cache directory in old clients."
        .is(Status::NoEffect("the official client ignores it as well"));
}
