//! The objects of files.

use super::Checker;
use super::rows::path;
use crate::catalogs::{is_plausible, objects};
use crate::repository::Repository;
use crate::storage::object_path;
use anyhow::{Result, ensure};
use libcvmfs::catalog::Index;
use libcvmfs::object::decode::Expected;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

impl Checker<'_> {
    pub(super) fn data(&mut self, shown: &str, index: &Index<'_>) {
        let marks = &mut self.marks;
        let new: Vec<(u32, Expected)> = objects(index).filter(|(_, expected)| marks.add(&expected.name)).collect();
        self.report.objects += new.len() as u64;
        let (repository, read) = (self.repository, self.settings.read_data);
        let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some((entry, expected)) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = object(repository, expected, read) {
                    wrong.lock().push((*entry, format!("{error:#}")));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.settings.threads.min(new.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut wrong = wrong.into_inner();
        wrong.sort();
        for (entry, problem) in wrong {
            let place = index.entry(entry).map_or_else(|| shown.to_owned(), |entry| path(shown, &entry));
            self.note(place, problem);
        }
    }
}

fn object(repository: &Repository, expected: &Expected, read: bool) -> Result<()> {
    if read {
        return repository.examine(*expected);
    }
    let size = repository.storage.size(&object_path(&expected.name))?;
    let name = &expected.name;
    let Some(size) = size else { anyhow::bail!("object {name} is missing in {}", repository.storage.describe()) };
    ensure!(is_plausible(expected, size), "object {name} has {size} bytes, which cannot be right");
    Ok(())
}
