//! What is signed, and what goes with it: manifest, whitelist, history, reflog, meta information.

use super::{Checker, Roots};
use crate::catalogs::Mounted;
use crate::repository::{MANIFEST, REFLOG};
use anyhow::{Context as _, Result, ensure};
use libcvmfs::history::History;
use libcvmfs::object::ObjectName;
use libcvmfs::trust::VerifiedManifest;
use std::collections::BTreeMap;

impl Checker<'_> {
    /// Looks at everything above the catalogs. Returns the root catalogs; none if nothing can be believed.
    pub(super) fn letters(&mut self) -> Option<Roots> {
        let head = self.repository.head();
        let head = self.attempt(MANIFEST, head)?;
        self.report.revision = head.revision();
        let history = self.repository.history(&head);
        let history = self.attempt("history", history);
        if let Some(history) = &history {
            self.trunk(&head, history);
        }
        let meta_info = self.meta_info(&head);
        self.attempt("meta information", meta_info);
        self.reflog(&head, history.as_ref());
        self.alternative_paths(&head);

        let newest = Mounted::root(head.root_catalog().hash, head.catalog_size());
        let mut roots = BTreeMap::from([(newest.hash, newest)]);
        if let (true, Some(history)) = (self.settings.all_tags, &history) {
            for tag in history.tags() {
                roots.entry(tag.root).or_insert_with(|| Mounted::root(tag.root, tag.size));
            }
        }
        Some(roots.into_values().collect())
    }

    fn trunk(&mut self, head: &VerifiedManifest, history: &History) {
        let root = head.root_catalog().hash;
        let wrong = history
            .tags()
            .iter()
            .filter(|tag| tag.revision > head.revision() || tag.revision == head.revision() && tag.root != root);
        let wrong: Vec<_> =
            wrong.map(|tag| format!("tag {} names a revision that is not published", tag.name)).collect();
        for problem in wrong {
            self.note("history", problem);
        }
    }

    fn meta_info(&self, head: &VerifiedManifest) -> Result<()> {
        let Some(name) = head.meta_info() else { return Ok(()) };
        let scratch = self.repository.scratch()?;
        let file = scratch.path().join("meta");
        self.repository.fetch(&name, &file)?;
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file)?).context("it is no JSON text")?;
        Ok(())
    }

    /// The reflog must be the one that the manifest names, and must know what the manifest and the tags name.
    fn reflog(&mut self, head: &VerifiedManifest, history: Option<&History>) {
        let Some(expected) = head.reflog() else { return };
        let file = self.repository.reflog_hash(expected.algorithm).and_then(|found| {
            let found = found.context("it is missing")?;
            ensure!(found == expected, "its hash is {found}, the manifest says {expected}");
            Ok(())
        });
        if self.attempt(REFLOG, file).is_none() {
            return;
        }
        let reflog = self.repository.reflog();
        let Some(reflog) = self.attempt(REFLOG, reflog) else { return };
        let catalog = |hash| ObjectName::new(hash, libcvmfs::object::ObjectKind::Catalog);
        let tags = history.into_iter().flat_map(History::tags).map(|tag| catalog(tag.root));
        let named = [Some(head.root_catalog()), Some(head.certificate_object()), head.history(), head.meta_info()];
        let missing: Vec<_> = named.into_iter().flatten().chain(tags).filter(|name| !reflog.contains(name)).collect();
        for name in missing {
            self.note(REFLOG, format!("object {name} is not listed"));
        }
    }

    fn alternative_paths(&mut self, head: &VerifiedManifest) {
        if !head.has_alternative_paths() {
            return;
        }
        for name in [head.root_catalog(), head.certificate_object()] {
            let path = name.alternative_path();
            let path = path.trim_start_matches('/').to_owned();
            let sizes = self
                .repository
                .storage
                .size(&path)
                .and_then(|copy| Ok((copy, self.repository.storage.size(&crate::storage::object_path(&name))?)));
            match sizes {
                Ok((Some(copy), Some(object))) if copy == object => {}
                Ok((None, _)) => self.note(path, "the copy of a bootstrap object is missing"),
                Ok(_) => self.note(path, "the copy differs from its object"),
                Err(error) => self.note(path, error.to_string()),
            }
        }
    }
}
