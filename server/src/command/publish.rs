//! `publish`.

use super::args::Place;
use super::progress::during;
use crate::draft::Weights;
use crate::publish::{self, Order, Outcome, Settings, Summary};
use crate::source::{self, Owners, Reading};
use crate::storage::patiently;
use crate::transaction::{self, Branch};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use cvmfs_command::output::Output;
use indicatif::{HumanBytes, ProgressBar};
use libcvmfs::hash::Algorithm;
use libcvmfs::object::Compression;
use libcvmfs::object::chunk::ChunkSizes;
use libcvmfs::object::encode::Encoding;
use libcvmfs::trust::unix_now;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// How far it has come.
const LINE: &str = "{spinner} {bytes} read, {bytes_per_sec}, {msg}";

/// What `publish` takes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    place: Place,
    /// Directories and tar archives (plain, gzip or zstd; - is the standard input) to publish. Without --into and --delete they are the whole tree: what they lack goes
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Put the sources on top of this directory of the repository; the rest stays
    #[arg(long, value_name = "PATH")]
    into: Option<PathBuf>,
    /// Archives are layers of container images, or what 'cernvm-fork commit' wrote: `.wh.NAME` in them takes NAME away
    #[arg(long, requires = "into")]
    layer: bool,
    /// Let what the sources lack go from the directory of --into
    #[arg(long)]
    replace: bool,
    /// Delete this path of the repository first; the rest stays
    #[arg(long, value_name = "PATH")]
    delete: Vec<PathBuf>,
    /// Name the new revision
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Describe the new tag
    #[arg(long, value_name = "TEXT", requires = "tag", default_value = "", hide_default_value = true)]
    description: String,
    /// Divide catalogs with more than MAX entries, into parts of at least MIN
    #[arg(long, value_name = "MAX,MIN", num_args = 0..=1, require_equals = true, default_missing_value = "100000,1000",
          value_parser = weights)]
    auto_catalogs: Option<Weights>,
    /// Name the new revision by its time too, and forget such names after so many days
    #[arg(long, value_name = "DAYS")]
    auto_tag: Option<u64>,
    /// Publish to this branch: clients see it by its tags only
    #[arg(long, value_name = "NAME", requires = "tag")]
    branch: Option<String>,
    /// Begin the branch with this tag
    #[arg(long, value_name = "TAG", requires = "branch")]
    from: Option<String>,
    /// Make a new revision even if nothing changed
    #[arg(long)]
    force: bool,
    /// Wait so many seconds for another publisher to be done
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Read every file, not only those whose size or time changed
    #[arg(long)]
    checksum: bool,
    /// Who owns the entries: UID:GID for all, or a file with lines 'user FROM TO' and 'group FROM TO' (* for all others)
    #[arg(long, value_name = "MAP")]
    owner_map: Option<String>,
    /// Leave out what cannot be read, instead of publishing nothing
    #[arg(long)]
    skip_unreadable: bool,
    /// How files are stored
    #[arg(long, value_enum, value_name = "NAME")]
    compression: Option<CompressionName>,
    /// Level of zlib; other levels than that of the official publisher give other object names
    #[arg(long, value_name = "LEVEL", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=9))]
    level: u32,
    /// Least, average and largest size of chunks in bytes, or 'none'
    #[arg(long, value_name = "MIN,AVG,MAX", default_value = "4194304,8388608,16777216", value_parser = chunk_sizes)]
    chunks: ChunkChoice,
    /// Publish names and hashes only: the bytes of the files lie elsewhere (CVMFS_EXTERNAL_URL), uncompressed
    #[arg(long)]
    external: bool,
    /// Publish times without nanoseconds, as the official publisher does unless told otherwise
    #[arg(long)]
    whole_seconds: bool,
    /// Threads that compress and store; by default one for each processor, or 16 where the storage is S3
    #[arg(long, short = 'j', value_name = "N")]
    threads: Option<usize>,
}

/// How files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    /// Compressed
    Zlib,
    /// As they are
    None,
}

/// Sizes of chunks, or none.
#[derive(Debug, Clone, Copy)]
struct ChunkChoice(Option<ChunkSizes>);

fn chunk_sizes(text: &str) -> Result<ChunkChoice, String> {
    if text == "none" {
        return Ok(ChunkChoice(None));
    }
    let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[min, average, max]) => match ChunkSizes::new(min, average, max) {
            Ok(sizes) => Ok(ChunkChoice(Some(sizes))),
            Err(error) => Err(error.to_string()),
        },
        _ => Err("expected three numbers of bytes, or 'none'".to_owned()),
    }
}

fn weights(text: &str) -> Result<Weights, String> {
    let numbers = text.split_once(',').and_then(|(max, min)| Some((max.parse().ok()?, min.parse().ok()?)));
    match numbers {
        Some((max, min)) if 0 < min && min < max => Ok(Weights { max, min }),
        _ => Err("expected two numbers of entries, the larger one first".to_owned()),
    }
}

/// A path of a repository as it is kept: absolute, without dots and a trailing slash; the root is empty.
fn repository_path(path: &std::path::Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Component;
    let mut bytes = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                bytes.push(b'/');
                bytes.extend_from_slice(name.as_bytes());
            }
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("{} must not have '..' in it", path.display()),
        }
    }
    Ok(bytes)
}

impl PublishArgs {
    fn settings(&self, parallel: usize, now: u64) -> Settings {
        let compression = match self.compression {
            Some(CompressionName::None) => Compression::None,
            Some(CompressionName::Zlib) => Compression::Zlib,
            // External files lie elsewhere as they are.
            None if self.external => Compression::None,
            None => Compression::Zlib,
        };
        Settings {
            // The algorithm is that of the repository.
            encoding: Encoding { level: self.level, ..Encoding::new(Algorithm::Sha1, compression) },
            chunks: self.chunks.0,
            external: self.external,
            nanoseconds: !self.whole_seconds,
            threads: self.threads.unwrap_or(parallel),
            trust_times: !self.checksum,
            trust_times_before: None,
            now,
        }
    }

    fn order(&self) -> Result<Order<'static>> {
        let reading = Reading {
            owners: self.owner_map.as_deref().map(Owners::parse).transpose()?.unwrap_or_default(),
            skip_unreadable: self.skip_unreadable,
            layers: self.layer,
        };
        let on_top = self.into.is_some() || !self.delete.is_empty();
        if self.sources.is_empty() && self.delete.is_empty() && self.tag.is_none() && !self.force {
            bail!("nothing to publish: name a source, or a path to --delete");
        }
        Ok(Order {
            sources: self.sources.iter().map(|place| source::open(place, &reading)).collect::<Result<_>>()?,
            into: self.into.as_deref().map(repository_path).transpose()?.unwrap_or_default(),
            replace: self.replace || !on_top && !self.sources.is_empty(),
            delete: self.delete.iter().map(|path| repository_path(path)).collect::<Result<_>>()?,
            tag: self.tag.clone().map(|name| (name, self.description.clone())),
            force: self.force,
            branch: self.branch.clone().map(|name| Branch { name, from: self.from.clone() }),
            automatic_tag: self.auto_tag,
            automatic_catalogs: self.auto_catalogs,
        })
    }
}

/// Runs `publish`.
pub fn run(args: &PublishArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let mut order = args.order()?;
    let patience = Duration::from_secs(args.wait);
    let _lock = patiently(patience, || Ok(repository.storage.lock(&crate::owner("publish"))?))?;
    let transaction = transaction::own(&repository)?;
    if let Some(branch) = transaction.as_ref().and_then(|transaction| transaction.branch.clone()) {
        order.branch.get_or_insert(branch);
    }
    let settings = args.settings(repository.storage.parallel(), unix_now());
    let show = |bar: &ProgressBar, summary: &Summary| {
        bar.set_position(summary.bytes_read);
        bar.set_message(format!("{} entries, {} stored", summary.entries, HumanBytes(summary.bytes_stored)));
    };
    let outcome = during(out, LINE, show, |watch| publish::publish(&repository, &mut order, settings, watch))?;
    if transaction.is_some() {
        transaction::end(&repository)?;
    }
    tell(&outcome, out)
}

fn tell(outcome: &Outcome, out: &mut Output) -> Result<()> {
    let Outcome { manifest, changed, finished, summary } = outcome;
    if out.json() {
        out.print_json(&serde_json::json!({
            "revision": manifest.revision, "root_hash": manifest.root_catalog.to_string(), "changed": changed,
            "catalogs": finished.map_or(0, |finished| finished.catalogs), "summary": summary,
        }))?;
    } else if out.quiet() {
    } else if *changed {
        let Summary { files_read, bytes_read, files_unchanged, bytes_stored, objects_stored, removed, .. } = summary;
        writeln!(out, "revision {} is published, root catalog {}", manifest.revision, manifest.root_catalog)?;
        writeln!(
            out,
            "{files_read} files read ({}), {files_unchanged} unchanged, {objects_stored} new objects ({}), {removed} removed",
            HumanBytes(*bytes_read),
            HumanBytes(*bytes_stored)
        )?;
    } else {
        writeln!(out, "nothing changed: revision {} stays", manifest.revision)?;
    }
    Ok(())
}
