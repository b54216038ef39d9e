//! The computed extended attributes `user.*`, by which programs ask the file system about itself.

use super::{FileKind, MagicListing, Node, Presentation};
use crate::Error;
use crate::catalog::{Counters, Statistics, content_hash};
use crate::snapshot::Parts;
use std::fmt::Write as _;

/// Attributes of a repository that its [`Source`](crate::snapshot::Source) knows, without their `user.` prefix.
const STATUS_ATTRIBUTES: [&str; 24] = [
    "expires",
    "maxfd",
    "ncleanup24",
    "external_host",
    "external_timeout",
    "hitrate",
    "host",
    "host_list",
    "ndownload",
    "nioerr",
    "nopen",
    "pid",
    "proxy",
    "proxy_list",
    "proxy_list_external",
    "pubkeys",
    "repo_metainfo",
    "rx",
    "speed",
    "timeout",
    "timeout_direct",
    "timestamp_last_ioerr",
    "uptime",
    "version",
];

/// Attributes that follow from the snapshot and the entry alone.
const ENTRY_ATTRIBUTES: [&str; 18] = [
    "authz",
    "bundle_trigger",
    "catalog_counters",
    "chunk_list",
    "chunks",
    "compression",
    "direct_io",
    "external_file",
    "external_url",
    "fqrn",
    "hash",
    "rawlink",
    "repo_counters",
    "revision",
    "root_hash",
    "tag",
    "xfsroot.rawlink",
    "published",
];

/// Bytes of a value that are given at once; longer ones are read page by page.
const PAGE: usize = 40_000;

/// The computed names that a listing of `node`'s attributes shows.
pub(super) fn listed(node: &Node) -> Result<Vec<Vec<u8>>, Error> {
    let Some((snapshot, place)) = node.place() else { return Ok(Vec::new()) };
    let is_root = place.path().is_empty();
    let shown = match snapshot.presentation().magic_listing {
        MagicListing::RootOnly => is_root,
        MagicListing::Never => false,
        MagicListing::Always => true,
    };
    if !shown {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in ENTRY_ATTRIBUTES.iter().filter(|name| **name != "published") {
        if entry_attribute(node, name)?.is_some() {
            names.push(full_name(name));
        }
    }
    names.extend(STATUS_ATTRIBUTES.iter().map(|name| full_name(name)));
    names.sort();
    Ok(names)
}

fn full_name(name: &str) -> Vec<u8> {
    if name.starts_with("xfsroot.") { name.into() } else { format!("user.{name}").into_bytes() }
}

/// The value of a computed attribute; `None` if `name` is none, or none of this entry.
pub(super) fn read(node: &Node, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some((snapshot, _)) = node.place() else { return Ok(None) };
    let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
    let (base, page) = match name.find(['~', '@']) {
        Some(at) => (&name[..at], Some((&name[at..at + 1], &name[at + 1..]))),
        None => (name, None),
    };
    let short = match base {
        "xfsroot.rawlink" => base,
        _ => match base.strip_prefix("user.") {
            Some(short) => short,
            None => return Ok(None),
        },
    };
    check_protection(snapshot.presentation(), base)?;
    let value = match entry_attribute(node, short)? {
        Some(value) => value,
        None if STATUS_ATTRIBUTES.contains(&short) => match snapshot.source().status_attribute(short)? {
            Some(value) => value,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    paged(value, page).map(Some)
}

/// Refuses protected attributes to everybody but root and members of privileged groups.
fn check_protection(presentation: &Presentation, name: &str) -> Result<(), Error> {
    if !presentation.protected_xattrs.iter().any(|protected| protected == name) {
        return Ok(());
    }
    let (uid, groups) = crate::identity::of_process();
    let privileged = uid == 0 || groups.iter().any(|group| presentation.privileged_gids.contains(group));
    if privileged { Ok(()) } else { Err(Error::NoAttribute) }
}

/// Cuts one page out of a long value. `~N` asks for page N, `@N` for the same with a heading, `?` for their number.
fn paged(value: Vec<u8>, page: Option<(&str, &str)>) -> Result<Vec<u8>, Error> {
    let pages = value.len().div_ceil(PAGE).max(1);
    let cut = |number: usize| value[number * PAGE..value.len().min((number + 1) * PAGE)].to_vec();
    let heading = |number: usize| {
        let mut text = format!("# page {number} of {pages}, the first is 0: read NAME~N or NAME@N\n").into_bytes();
        text.extend_from_slice(&cut(number));
        text
    };
    match page {
        None if pages == 1 => Ok(value),
        None => Ok(heading(0)),
        Some(("~", "?")) => Ok(pages.to_string().into_bytes()),
        Some((_, "?")) => Ok(format!("{pages} pages, the first is 0\n").into_bytes()),
        Some((form, number)) => match number.parse::<usize>() {
            Ok(number) if number < pages => Ok(if form == "~" { cut(number) } else { heading(number) }),
            _ => Err(Error::NoAttribute),
        },
    }
}

fn counters(text: &mut String, counters: Counters) {
    let mut counters: Vec<(&str, i64)> = counters.iter().collect();
    counters.sort_unstable();
    for (name, value) in counters {
        let _ = writeln!(text, "{name},{value}");
    }
}

fn entry_attribute(node: &Node, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some((snapshot, place)) = node.place() else { return Ok(None) };
    let entry = place.entry();
    let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
    let regular = node.kind() == FileKind::Regular;
    let text = match name {
        "authz" => Some(snapshot.membership()).filter(|membership| !membership.is_empty()),
        "catalog_counters" => {
            // The catalog that answers for a mount point is the one mounted there.
            let catalog = place.inside(&**snapshot.source())?.catalog;
            let mut text = format!("catalog_hash: {}\n", catalog.reference().hash);
            let mount = String::from_utf8_lossy(&catalog.reference().mount).into_owned();
            let _ = writeln!(text, "catalog_mountpoint: {mount}");
            counters(&mut text, Statistics::of(&catalog.index()).total());
            Some(text)
        }
        "repo_counters" => {
            let mut text = String::new();
            counters(&mut text, snapshot.statistics().total());
            Some(text)
        }
        "fqrn" => Some(snapshot.fqrn().to_string()),
        "revision" => Some(snapshot.identity().revision.to_string()),
        "root_hash" => Some(snapshot.identity().root_hash.to_string()),
        "tag" => Some(snapshot.identity().choice.tag().to_owned()),
        "published" => snapshot.identity().published.map(|time| time.to_string()),
        "hash" => entry.content().map(|digest| content_hash(digest).to_string()),
        "rawlink" | "xfsroot.rawlink" if node.kind() == FileKind::Symlink => return node.raw_link().map(Some),
        "chunks" if regular => Some(entry.chunks().len().max(1).to_string()),
        "chunk_list" if regular => Some(chunk_list(node)?),
        "compression" if regular => Some(node.content()?.compression.name().to_owned()),
        "direct_io" if regular => Some(flag(entry.is_direct_io())),
        "bundle_trigger" if regular => Some(flag(entry.is_bundle_trigger())),
        "external_file" if regular => Some(flag(entry.is_external())),
        "external_url" if regular && entry.is_external() => {
            let host = snapshot.source().status_attribute("external_host")?.unwrap_or_default();
            let path = node.inner_path();
            return Ok(Some([host, path].concat()));
        }
        _ => None,
    };
    Ok(text.map(String::into_bytes))
}

fn chunk_list(node: &Node) -> Result<String, Error> {
    let content = node.content()?;
    let mut text = "hash,offset,size\n".to_owned();
    match &content.parts {
        Parts::Whole(hash) => {
            let _ = writeln!(text, "{hash},0,{}", content.size);
        }
        Parts::Chunks(chunks) => {
            for chunk in chunks {
                let _ = writeln!(text, "{},{},{}", chunk.hash, chunk.offset, chunk.size);
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_come_in_pages() {
        let value: Vec<u8> = (0..100_000).map(|n| b'a' + (n % 26) as u8).collect();
        let read = |page| paged(value.clone(), Some(page));
        assert_eq!(read(("~", "?")).unwrap(), b"3");
        let joined: Vec<u8> = ["0", "1", "2"].iter().flat_map(|n| read(("~", n)).unwrap()).collect();
        assert_eq!(joined, value);
        assert!(read(("@", "2")).unwrap().ends_with(&read(("~", "2")).unwrap()));
        assert!(read(("~", "3")).is_err() && read(("~", "x")).is_err() && read(("~", "")).is_err());
        assert_eq!(paged(b"short".to_vec(), None).unwrap(), b"short");
        assert_eq!(paged(b"".to_vec(), Some(("~", "0"))).unwrap(), b"");
    }
}
