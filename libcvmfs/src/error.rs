//! Who failed, and whether trying again can help: the vocabulary shared by the errors of every module.

/// The party responsible for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A parameter, a file of parameters or a key file.
    Config,
    /// The server (Stratum 0 or 1), as far as can be told.
    Host,
    /// A proxy between us and the server.
    Proxy,
    /// Bytes that arrived whole but are not what their hash, signature or format says.
    Content,
    /// The local cache: disk full, permissions, damaged files.
    Cache,
    /// A mistake in this program.
    Bug,
}

impl Origin {
    /// The word used in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Config => "config",
            Origin::Host => "host",
            Origin::Proxy => "proxy",
            Origin::Content => "content",
            Origin::Cache => "cache",
            Origin::Bug => "bug",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether repeating the same operation can succeed without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The cause is likely to pass by itself (a connection that broke, a slow server).
    Later,
    /// It will fail again until a file, a parameter or the repository is changed.
    Never,
}
