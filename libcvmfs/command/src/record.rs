//! One entry as a JSON object.

use crate::json::Text;
use crate::tree::{Entry as _, Facts, Kind, KindText as _, MountedEntry};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use libcvmfs::namespace::Node;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

/// What `--json` tells of an entry.
#[derive(Debug, Serialize)]
pub struct Record {
    path: Text,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Octal digits.
    mode: String,
    uid: u32,
    gid: u32,
    nlink: u64,
    size: u64,
    mtime_ns: i128,
    /// Major and minor number.
    #[serde(skip_serializing_if = "Option::is_none")]
    rdev: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, Attribute>,
}

/// The value of an extended attribute.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Attribute {
    Text(String),
    Binary { b64: String },
}

impl Attribute {
    fn binary(bytes: &[u8]) -> Attribute {
        Attribute::Binary { b64: base64::engine::general_purpose::STANDARD.encode(bytes) }
    }
}

impl Record {
    /// Describes `entry` under the name `path`. `sha256`: reads the content of regular files.
    pub fn new(path: &[u8], entry: &MountedEntry, sha256: bool) -> Result<Record> {
        let facts: Facts = entry.facts()?;
        let node = entry.node()?;
        let kind = facts.kind();
        Ok(Record {
            path: Text::new(path),
            kind: kind.word(),
            mode: format!("{:o}", facts.mode & 0o7777),
            uid: facts.uid,
            gid: facts.gid,
            nlink: facts.nlink,
            size: facts.size,
            mtime_ns: facts.mtime.as_nanoseconds(),
            rdev: kind.is_device().then(|| facts.rdev_numbers()),
            target: (kind == Kind::Symlink).then(|| entry.target()).transpose()?.map(Text::new),
            sha256: (sha256 && kind == Kind::Regular).then(|| digest(&node)).transpose()?,
            xattrs: attributes(&node)?,
        })
    }
}

fn attributes(node: &Node) -> Result<BTreeMap<String, Attribute>> {
    let mut attributes = BTreeMap::new();
    for name in node.list_xattrs()? {
        let value = match String::from_utf8(node.get_xattr(&name)?) {
            Ok(text) if text.chars().all(is_printable) => Attribute::Text(text),
            Ok(binary) => Attribute::binary(binary.as_bytes()),
            Err(binary) => Attribute::binary(binary.as_bytes()),
        };
        attributes.insert(String::from_utf8_lossy(&name).into_owned(), value);
    }
    Ok(attributes)
}

fn is_printable(c: char) -> bool {
    !c.is_control() || matches!(c, '\t' | '\n' | '\r')
}

fn digest(node: &Node) -> Result<String> {
    let mut file = node.open()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer).context("reading the cached content")? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
