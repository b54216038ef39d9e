//! A repository of the forge on a server, which can publish on.

use super::User;
use cvmfs_tests::forge::{Forge, Published};
use cvmfs_tests::server::WebRoot;
use libcvmfs::object::{ObjectKind, ObjectName};
use tempfile::TempDir;

/// A repository that is served.
pub(crate) struct Stage {
    /// What the server serves.
    pub(crate) web: TempDir,
    /// What was published first.
    pub(crate) published: Published,
    /// The server.
    pub(crate) server: WebRoot,
    known: String,
}

impl Stage {
    /// Publishes the first revision and serves it. Users know the repositories in the list `known`.
    pub(crate) fn of(fqrn: &str, known: &str, first: Forge) -> Stage {
        let web = tempfile::tempdir().unwrap();
        let published = first.publish(web.path());
        let server = WebRoot::serve(fqrn, web.path());
        Stage { web, published, server, known: known.to_owned() }
    }

    /// The parameters with which it is mounted.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        vec![
            ("CVMFS_SERVER_URL".into(), self.server.server_url()),
            ("CVMFS_HTTP_PROXY".into(), "DIRECT".into()),
            ("CVMFS_PUBLIC_KEY".into(), self.published.public_key.display().to_string()),
            ("CVMFS_MAX_RETRIES".into(), "0".into()),
            ("CVMFS_REPOSITORIES".into(), self.known.clone()),
        ]
    }

    /// Somebody with an empty cache.
    pub(crate) fn user(&self) -> User {
        User::with(self.options())
    }

    /// The name of the first object of a file.
    pub(crate) fn object(&self, path: &str) -> String {
        self.published.objects[path][0].to_string()
    }

    /// The name of the catalog that is mounted there.
    pub(crate) fn catalog(&self, mount: &str) -> String {
        ObjectName::new(self.published.catalogs[mount].0, ObjectKind::Catalog).to_string()
    }

    /// How often somebody asked for the newest revision.
    pub(crate) fn looks(&self) -> usize {
        self.server.paths().iter().filter(|path| path.ends_with("/.cvmfspublished")).count()
    }
}
