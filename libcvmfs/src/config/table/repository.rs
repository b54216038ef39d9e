//! Servers, keys, the choice of a revision; and where the configuration itself comes from.

use crate::config::parameter::{Kind, Parameter, Status, Topic};

parameters! { Topic::Repository;
    SERVER_URL "CVMFS_SERVER_URL" Kind::List(';'), "Servers of the repository, tried in this order; `@fqrn@` and `@org@` stand for the name.";
    PUBLIC_KEY "CVMFS_PUBLIC_KEY" Kind::List(':'), "Files with public master keys; one that signed the whitelist suffices.";
    KEYS_DIR "CVMFS_KEYS_DIR" Kind::Path, "Directory whose `*.pub` files are the master keys when `CVMFS_PUBLIC_KEY` is not set."
        .code("/etc/cvmfs/keys").file("/etc/cvmfs/keys");
    BLACKLIST "CVMFS_BLACKLIST" Kind::Path, "File of blocked certificates and revisions.".code("/etc/cvmfs/blacklist");
    ROOT_HASH "CVMFS_ROOT_HASH" Kind::Text, "Mounts exactly this root catalog, without looking at signatures.";
    REPOSITORY_TAG "CVMFS_REPOSITORY_TAG" Kind::Text, "Mounts this named snapshot.";
    REPOSITORY_DATE "CVMFS_REPOSITORY_DATE" Kind::Text, "Mounts the newest named snapshot that is not younger than this date.";
    ALT_ROOT_PATH "CVMFS_ALT_ROOT_PATH" Kind::Bool, "Fetches the root catalog from its alternative path.".code("no");
    AUTO_UPDATE "CVMFS_AUTO_UPDATE" Kind::Bool, "Looks for new revisions while mounted.".code("yes");
    MAX_TTL "CVMFS_MAX_TTL" Kind::Minutes, "Upper limit of the time between two looks for a new revision; 0 is none.".code("0");
    MAX_TTL_SECS "CVMFS_MAX_TTL_SECS" Kind::Seconds, "Like `CVMFS_MAX_TTL`, in seconds; the smaller one counts.";
    NOTIFICATION_SERVER "CVMFS_NOTIFICATION_SERVER" Kind::Text, "Server that tells about new revisions at once."
        .is(Status::NotSupported("new revisions are found when the TTL is over"));
    IGNORE_SIGNATURE "CVMFS_IGNORE_SIGNATURE" Kind::Bool, "Documented officially as switching off signatures.".file("no")
        .is(Status::NoEffect("signatures are always checked; the official client ignores it as well"));
    DEVEL_IGNORE_SIGNATURE_FAILURES "_CVMFS_DEVEL_IGNORE_SIGNATURE_FAILURES" Kind::Bool, "Development switch to accept damaged content."
        .code("no").is(Status::NoEffect("content is always checked against its hash"));
    TRUSTED_CERTS "CVMFS_TRUSTED_CERTS" Kind::Path, "Certificate authorities for repository certificates in old clients."
        .is(Status::NoEffect("trust comes from the master keys alone; later official clients dropped it"));
    PARTIAL_REPLICA_MODE "CVMFS_PARTIAL_REPLICA_MODE" Kind::Choice(&["failover", "fail"]), "What to do when a partial replica lacks an object."
        .is(Status::NotSupported("a missing object makes the next server of the list being asked"));
    FULL_STRATUM1_URL "CVMFS_FULL_STRATUM1_URL" Kind::Text, "Complete replica asked for what a partial one lacks."
        .is(Status::NotSupported("put the complete replica at the end of CVMFS_SERVER_URL"));
    PREFETCH_FILEBUNDLES "CVMFS_PREFETCH_FILEBUNDLES" Kind::Bool, "Fetches the files named by a bundle with its trigger file."
        .code("no").is(Status::NotSupported("`cvmfs prefetch` fetches ahead on request"));
    BUNDLE_POOL_SIZE "CVMFS_BUNDLE_POOL_SIZE" Kind::Integer, "Workers that fetch file bundles."
        .is(Status::NoEffect("file bundles are not fetched ahead"));
}

/// Where the configuration itself comes from.
pub(super) mod configuration {
    use super::*;
    parameters! { Topic::Configuration;
        CONFIG_REPOSITORY "CVMFS_CONFIG_REPOSITORY" Kind::Text, "Repository that carries configuration and keys of other repositories."
            .own("cvmfs-config.cern.ch")
            .is(Status::Different("without any file, cvmfs-config.cern.ch is asked about domains that are not built in"));
        CONFIG_REPO_REQUIRED "CVMFS_CONFIG_REPO_REQUIRED" Kind::Bool, "Fails when the configuration repository cannot be read.".code("no");
        CONFIG_REPO_DEFAULT_ENV "CVMFS_CONFIG_REPO_DEFAULT_ENV" Kind::Text, "Remembers that the configuration repository was read."
            .is(Status::NoEffect("only shell configuration looks at it"));
        BASE_ENV "CVMFS_BASE_ENV" Kind::Text, "Remembers that the official default.conf was read."
            .is(Status::NoEffect("only shell configuration looks at it"));
        DEFAULT_DOMAIN "CVMFS_DEFAULT_DOMAIN" Kind::Text, "Domain appended to a repository name without a dot.".file("cern.ch");
        CLIENT_PROFILE "CVMFS_CLIENT_PROFILE" Kind::Text, "`single` finds a proxy by itself and prefers the content delivery network; `custom` sets no fallback proxies."
            .own("single")
            .is(Status::Different("`single` also holds without any configuration file"));
        USE_CDN "CVMFS_USE_CDN" Kind::Bool, "Prefers the server names of the content delivery network; asked by shell configuration and the built-in domains.";
        REPOSITORIES "CVMFS_REPOSITORIES" Kind::List(','), "Repositories that tools act on when none is named, and that a strict mount allows.";
        STRICT_MOUNT "CVMFS_STRICT_MOUNT" Kind::Bool, "Only repositories in `CVMFS_REPOSITORIES` can be mounted.".code("no").file("no");
        REPOSITORIES_NOMOUNT "CVMFS_REPOSITORIES_NOMOUNT" Kind::List(','), "Repositories that are not mounted automatically."
            .is(Status::NoEffect("there is no automounter"));
    }
}
pub use configuration::*;
