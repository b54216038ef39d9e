//! One worker: lists directories, fetches contents.

use super::agenda::{Agenda, Task};
use super::list::ListedObject;
use super::{Options, Start};
use crate::Error;
use crate::cache::{CachedFile, Found, Key, Verdict};
use crate::client::Client;
use crate::fetch::Fetcher;
use crate::fqrn::Fqrn;
use crate::namespace::{FileKind, Node};
use crate::object::decode::Expected;
use crate::repository::Repository;
use crate::snapshot::Content;
use std::sync::Arc;

/// Plain bytes of an object of which only the name is listed.
const LARGEST_UNSIZED: u64 = 16 << 30;

pub(super) struct Worker<'a> {
    pub(super) client: &'a Client,
    pub(super) options: &'a Options,
    pub(super) agenda: &'a Agenda,
}

impl Worker<'_> {
    /// Takes in a starting point.
    pub(super) fn begin(&self, start: Start) -> Result<(), Error> {
        if let Start::Tree(node) | Start::Entry(node) = &start
            && let Some(fqrn) = node.fqrn()
        {
            self.repository(fqrn)?;
        }
        match start {
            Start::Object(object) => {
                self.repository(&object.repository)?;
                self.agenda.add_object(object);
            }
            Start::Tree(node) if node.kind() == FileKind::Directory => self.agenda.add_directory(node),
            Start::Entry(node) if node.kind() == FileKind::Directory => {
                // Listing it brings in the catalog that describes what is in it.
                if let Err(error) = node.list() {
                    self.agenda.failed(node.path(), error);
                }
            }
            Start::Tree(node) | Start::Entry(node) => self.found(node),
        }
        Ok(())
    }

    pub(super) fn work(&self) {
        while let Some(task) = self.agenda.next() {
            match task {
                Task::Directory(node) => self.list(&node),
                Task::File(node, content) => self.file(&node, &content),
                Task::Chunk(node, content, number) => self.chunk(&node, &content, number),
                Task::Object(object) => self.object(&object),
            }
            self.agenda.finished();
        }
    }

    fn list(&self, node: &Node) {
        let listing = match node.list() {
            Ok(listing) => listing,
            Err(error) => return self.agenda.failed(node.path(), error),
        };
        for item in &listing {
            match node.child(&item.name) {
                Ok(Some(child)) if child.kind() == FileKind::Directory => self.agenda.add_directory(child),
                Ok(Some(child)) => self.found(child),
                Ok(None) => {}
                Err(error) => self.agenda.failed([&node.path(), &b"/"[..], &item.name].concat(), error),
            }
        }
        self.agenda.count(|progress| progress.directories += 1);
    }

    fn found(&self, node: Node) {
        if node.kind() != FileKind::Regular {
            return;
        }
        match node.content() {
            Ok(content) => self.agenda.add_content(&node, content, self.options.chunks_apart),
            Err(error) => self.agenda.failed(node.path(), error),
        }
    }

    fn repository(&self, fqrn: &Fqrn) -> Result<Repository, Error> {
        let repository = self.client.repository(fqrn.as_str())?;
        let fetcher = repository.fetcher();
        for transport in std::iter::once(fetcher.transport()).chain(fetcher.external_transport()) {
            transport.allow_connections(self.options.jobs);
        }
        Ok(repository)
    }

    fn fetcher(&self, node: &Node) -> Result<Arc<Fetcher>, Error> {
        let fqrn = node.fqrn().ok_or(Error::NotRegular)?;
        Ok(self.repository(fqrn)?.fetcher().clone())
    }

    fn file(&self, node: &Node, content: &Content) {
        let outcome = self.fetcher(node).and_then(|fetcher| {
            self.obtain(&fetcher, &Fetcher::key(content), Some(content.size), &|| fetcher.file(content))
        });
        self.report(outcome, content.size, || node.path());
    }

    fn chunk(&self, node: &Node, content: &Content, number: usize) {
        let chunk = Fetcher::chunks(content).get(number).copied();
        let Some(chunk) = chunk else { return };
        let outcome = self.fetcher(node).and_then(|fetcher| {
            self.obtain(&fetcher, &Key::Object(chunk.hash), Some(chunk.size), &|| fetcher.chunk_object(content, &chunk))
        });
        self.report(outcome, chunk.size, || node.path());
    }

    fn object(&self, object: &ListedObject) {
        let expected = match object.size {
            Some(size) => Expected::sized(object.name, object.compression, size),
            None => Expected::bounded(object.name, object.compression, LARGEST_UNSIZED),
        };
        let outcome = self.repository(&object.repository).and_then(|repository| {
            let fetcher = repository.fetcher();
            let fetch = || fetcher.object(expected, "");
            self.obtain(fetcher, &Key::Object(object.name.hash), object.size, &fetch)
        });
        let bytes = object.size.unwrap_or(0);
        self.report(outcome, bytes, || object.name.to_string().into_bytes());
    }

    /// Makes sure that the cache has it.
    fn obtain(
        &self,
        fetcher: &Fetcher,
        key: &Key,
        size: Option<u64>,
        fetch: &dyn Fn() -> Result<CachedFile, Error>,
    ) -> Result<Outcome, Error> {
        if self.options.dry_run {
            let present = fetcher.cache().find(key, size)?.is_some();
            return Ok(if present { Outcome::Present } else { Outcome::Fetched });
        }
        if fetch()?.found == Found::Fetched {
            return Ok(Outcome::Fetched);
        }
        if self.options.verify && fetcher.cache().verify(key)? == Some(Verdict::Damaged) {
            fetcher.cache().evict(key)?;
            fetch()?;
            return Ok(Outcome::Replaced);
        }
        Ok(Outcome::Present)
    }

    fn report(&self, outcome: Result<Outcome, Error>, bytes: u64, what: impl FnOnce() -> Vec<u8>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.agenda.failed(what(), error),
        };
        self.agenda.count(|progress| {
            progress.done += 1;
            progress.bytes_done += bytes;
            if outcome != Outcome::Present {
                progress.fetched += 1;
                progress.bytes_fetched += bytes;
            }
            progress.replaced += u64::from(outcome == Outcome::Replaced);
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Present,
    Fetched,
    Replaced,
}
