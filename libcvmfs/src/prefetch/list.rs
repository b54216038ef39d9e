//! Lists of what to prefetch: text, one thing a line.
//!
//! ```text
//! # Comments and empty lines mean nothing.
//! /cvmfs/sft.cern.ch/lcg/README            a file, or the catalog that lists a directory
//! /cvmfs/sft.cern.ch/lcg/etc/              a directory with everything below it: the slash at the end says so
//! object sft.cern.ch 2a695360ba25033e8899486a62c9dc7316650b56 1024 zlib
//! object sft.cern.ch c39d29452241b9e1688065b86833c2489b5df41c-rmd160P - none
//! object sft.cern.ch 8b2d30c42fd72ab52ab29aa6ed21cf4ed67b0d4a 77 zlib /cvmfs/sft.cern.ch/lcg/etc/motd
//! snapshot sft.cern.ch 073e8f52186124b22c195c432d6dcd95f5e7e9b7 1205
//! ```
//!
//! An object is given by its repository, its name as on the server without `data/` and slashes (hash, algorithm,
//! letter of the kind), its plain size in bytes or `-`, and `zlib` or `none`; the last two can be left out. After all
//! four there can be the path at which it was found (of a catalog: that of its directory).
//!
//! A snapshot is given by its repository, the hash of its root catalog, and its revision, which can be left out. It
//! says of which snapshot the objects of this repository are. Where another one is mounted, those that have a path are
//! looked up there, so that a list is still of use when the repository has changed.
//!
//! In paths `\\` is a backslash and `\xHH` is any byte, so that names with line feeds can be listed.

use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::object::{Compression, ObjectKind, ObjectName};
use std::io::BufRead;
use thiserror::Error;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A path below the mount directory.
    Path {
        /// The path, without slashes at its end.
        path: Vec<u8>,
        /// Also everything below it.
        everything: bool,
    },
    /// An object.
    Object(ListedObject),
    /// The snapshot that the objects of a repository are of.
    Snapshot(ListedSnapshot),
}

/// A snapshot that is named in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSnapshot {
    /// The repository.
    pub repository: Fqrn,
    /// Hash of the root catalog.
    pub root_hash: ContentHash,
    /// Its number, 0 if not known.
    pub revision: u64,
}

/// An object that is named in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The repository that has it.
    pub repository: Fqrn,
    /// Its name.
    pub name: ObjectName,
    /// Plain bytes, if known.
    pub size: Option<u64>,
    /// How it is stored.
    pub compression: Compression,
    /// Where it was found, below the mount directory.
    pub path: Option<Vec<u8>>,
}

/// Why a list cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListError {
    /// The file cannot be read.
    #[error("reading the list: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the list: {reason}")]
    Malformed {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a whole list.
pub fn read(list: impl BufRead) -> Result<Vec<Line>, ListError> {
    let mut lines = Vec::new();
    for (number, line) in list.split(b'\n').enumerate() {
        let line = line?;
        let malformed = |reason| ListError::Malformed { line: number + 1, reason };
        lines.extend(parse(&line).map_err(malformed)?);
    }
    Ok(lines)
}

fn parse(line: &[u8]) -> Result<Option<Line>, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    if let Some(words) = line.strip_prefix(b"object ") {
        return Ok(Some(Line::Object(object(words)?)));
    }
    if let Some(words) = line.strip_prefix(b"snapshot ") {
        return Ok(Some(Line::Snapshot(snapshot(words)?)));
    }
    if !line.starts_with(b"/") {
        return Err("expected a path that starts with a slash, 'object' or 'snapshot'".to_owned());
    }
    let mut path = unescape(line)?;
    let everything = path.ends_with(b"/");
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    Ok(Some(Line::Path { path, everything }))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let value = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(value.ok_or("\\x needs two hexadecimal digits")?);
                after
            }
            (b'\\', _) => return Err("a backslash is written \\\\, any other byte \\xHH".to_owned()),
            _ => {
                bytes.push(first);
                tail
            }
        };
    }
    Ok(bytes)
}

fn snapshot(words: &[u8]) -> Result<ListedSnapshot, String> {
    let text = std::str::from_utf8(words).map_err(|_| "names of snapshots are ASCII".to_owned())?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (repository, root_hash, revision) = match words[..] {
        [repository, root_hash] => (repository, root_hash, 0),
        [repository, root_hash, revision] => {
            (repository, root_hash, revision.parse().map_err(|_| format!("'{revision}' is no revision"))?)
        }
        _ => return Err("expected 'snapshot REPOSITORY ROOTHASH [REVISION]'".to_owned()),
    };
    Ok(ListedSnapshot {
        repository: Fqrn::new(repository).map_err(|error| error.to_string())?,
        root_hash: ContentHash::parse(root_hash).map_err(|error| error.to_string())?,
        revision,
    })
}

fn object(words: &[u8]) -> Result<ListedObject, String> {
    // Nothing before the path has a slash.
    let (words, path) = match words.windows(2).position(|pair| pair == b" /") {
        Some(space) => (words.get(..space).unwrap_or_default(), words.get(space + 1..)),
        None => (words, None),
    };
    let path = path.map(unescape).transpose()?;
    let text = std::str::from_utf8(words).map_err(|_| "names of objects are ASCII".to_owned())?;
    let mut words = text.split_ascii_whitespace();
    let (Some(repository), Some(name)) = (words.next(), words.next()) else {
        return Err("expected 'object REPOSITORY NAME [SIZE [zlib|none [PATH]]]'".to_owned());
    };
    let size = match words.next() {
        None | Some("-") => None,
        Some(size) => Some(size.parse().map_err(|_| format!("'{size}' is no number of bytes"))?),
    };
    let compression = match words.next() {
        None if path.is_some() => return Err("before the path, size and zlib or none are needed".to_owned()),
        None | Some("zlib") => Compression::Zlib,
        Some("none") => Compression::None,
        Some(other) => return Err(format!("'{other}' is no way of storing objects: expected zlib or none")),
    };
    match words.next() {
        Some(word) => Err(format!("'{word}' is one word too much")),
        None => Ok(ListedObject {
            repository: Fqrn::new(repository).map_err(|error| error.to_string())?,
            name: object_name(name)?,
            size,
            compression,
            path,
        }),
    }
}

/// A name as [`ObjectName`] prints it.
fn object_name(text: &str) -> Result<ObjectName, String> {
    let kinds = [
        ObjectKind::Partial,
        ObjectKind::Catalog,
        ObjectKind::History,
        ObjectKind::Certificate,
        ObjectKind::MetaInfo,
        ObjectKind::File,
    ];
    let kind = kinds.into_iter().find(|kind| text.ends_with(kind.suffix())).unwrap_or(ObjectKind::File);
    let hash = text.strip_suffix(kind.suffix()).unwrap_or(text);
    Ok(ObjectName::new(ContentHash::parse(hash).map_err(|error| error.to_string())?, kind))
}

impl Line {
    /// As it is written, without the end of the line.
    pub fn write(&self) -> Vec<u8> {
        match self {
            Line::Path { path, everything } => {
                let mut line = escape(path);
                line.extend_from_slice(if *everything { b"/" } else { b"" });
                line
            }
            Line::Object(object) => {
                let size = object.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
                let ListedObject { repository, name, compression, .. } = object;
                let mut line = format!("object {repository} {name} {size} {}", compression.name()).into_bytes();
                if let Some(path) = &object.path {
                    line.push(b' ');
                    line.extend_from_slice(&escape(path));
                }
                line
            }
            Line::Snapshot(ListedSnapshot { repository, root_hash, revision }) => {
                format!("snapshot {repository} {root_hash} {revision}").into_bytes()
            }
        }
    }
}

/// A path as a line of a list.
pub fn escape(path: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' | b'\r' => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => line.push(byte),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> Line {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn paths_objects_and_comments_are_told_apart() {
        let list = "# comment\n\n/cvmfs/a.b/c\n/cvmfs/a.b/d//\n/cvmfs/a.b/\\x0a\\\\\n\
                    object a.b 2a695360ba25033e8899486a62c9dc7316650b56C\n";
        let lines = read(list.as_bytes()).unwrap();
        let path = |path: &[u8], everything| Line::Path { path: path.to_vec(), everything };
        assert_eq!(
            lines[..3],
            [path(b"/cvmfs/a.b/c", false), path(b"/cvmfs/a.b/d", true), path(b"/cvmfs/a.b/\n\\", false)]
        );
        let Line::Object(object) = &lines[3] else { panic!("{:?}", lines[3]) };
        assert_eq!(object.name.kind, ObjectKind::Catalog);
        assert_eq!((object.size, object.compression), (None, Compression::Zlib));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn objects_of_every_kind_and_algorithm_are_understood() {
        for suffix in ["", "P", "C", "H", "X", "M"] {
            for hash in ["2a695360ba25033e8899486a62c9dc7316650b56", "c39d29452241b9e1688065b86833c2489b5df41c-rmd160"]
            {
                let Line::Object(object) = line(&format!("object a.b {hash}{suffix} 7 none")) else { panic!("{hash}") };
                assert_eq!(object.name.to_string(), format!("{hash}{suffix}"));
                assert_eq!((object.size, object.compression), (Some(7), Compression::None));
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for wrong in [
            "relative/path",
            "/bad\\escape",
            "/bad\\x0",
            "/bad\\xzz",
            "object a.b",
            "object ab 2a695360ba25033e8899486a62c9dc7316650b56",
            "object a.b 2a69",
            "object a.b 2a695360ba25033e8899486a62c9dc7316650b56 many",
            "object a.b 2a695360ba25033e8899486a62c9dc7316650b56 1 gzip",
            "object a.b 2a695360ba25033e8899486a62c9dc7316650b56 1 zlib more",
            "object a.b 2a695360ba25033e8899486a62c9dc7316650b56 1 zlib more /path",
            "object a.b 2a695360ba25033e8899486a62c9dc7316650b56 1 /path",
            "snapshot a.b",
            "snapshot a.b 2a69",
            "snapshot a.b 2a695360ba25033e8899486a62c9dc7316650b56 newest",
            "snapshot a.b 2a695360ba25033e8899486a62c9dc7316650b56 1 more",
        ] {
            let error = read(format!("/fine\n{wrong}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(path in proptest::collection::vec(1u8.., 0..40), size: Option<u64>, p: bool) {
            let path = p.then(|| [&b"/ "[..], &path, b"x"].concat());
            let Line::Object(object) = line("object a.b 2a695360ba25033e8899486a62c9dc7316650b56C 7 none") else {
                panic!()
            };
            let (repository, root_hash) = (object.repository.clone(), object.name.hash);
            let object = Line::Object(ListedObject { path, size, ..object });
            let snapshot = Line::Snapshot(ListedSnapshot { repository, root_hash, revision: size.unwrap_or(0) });
            for line in [object, snapshot] {
                prop_assert_eq!(read(&line.write()[..]).unwrap(), vec![line]);
            }
        }

        #[test]
        fn every_path_survives(path in proptest::collection::vec(1u8.., 0..40)) {
            let path = [&b"/"[..], &path, b"x"].concat();
            let lines = read(&escape(&path)[..]).unwrap();
            prop_assert_eq!(lines, vec![Line::Path { path, everything: false }]);
        }
    }
}
