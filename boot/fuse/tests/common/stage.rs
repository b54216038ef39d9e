//! A repository of the forge on a server, which can publish on.

use super::User;
use cvmfs_tests::forge::{Forge, Published};
use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::require_fuse;
use tempfile::TempDir;

pub(crate) const FQRN: &str = "changing.test.example";

/// A repository that is served.
pub(crate) struct Stage {
    pub(crate) web: TempDir,
    pub(crate) published: Published,
    pub(crate) server: WebRoot,
}

impl Stage {
    /// `None` where this user may not use FUSE.
    pub(crate) fn of(first: Forge) -> Option<Stage> {
        if !require_fuse() {
            return None;
        }
        let web = tempfile::tempdir().unwrap();
        let published = first.publish(web.path());
        let server = WebRoot::serve(FQRN, web.path());
        Some(Stage { web, published, server })
    }

    /// Somebody with an empty cache.
    pub(crate) fn user(&self) -> User {
        User::with(vec![
            ("CVMFS_SERVER_URL".into(), self.server.server_url()),
            ("CVMFS_HTTP_PROXY".into(), "DIRECT".into()),
            ("CVMFS_PUBLIC_KEY".into(), self.published.public_key.display().to_string()),
        ])
    }

    /// The end of the address of a file's object.
    pub(crate) fn object(&self, path: &str) -> String {
        let name = self.published.objects[path][0].to_string();
        format!("/data/{}/{}", &name[..2], &name[2..])
    }
}
