//! Libraries that a program in the tree needs: the loader opens them by itself, where it meets no hook, so they are
//! brought into the view before it looks.
//!
//! What is found is what `DT_RPATH` and `DT_RUNPATH` name relative to `$ORIGIN` or below the mount directory, and
//! `LD_LIBRARY_PATH`. Reading ends at the first thing that is not as it should be: then the loader says what it misses.

use crate::namespace::{self, FileKind, LastLink, Node, Resolved};
use crate::{place, view};
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, StringTable};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

/// More libraries than any program has.
const MOST: usize = 4096;

/// Brings the libraries that `node` needs, and those that they need.
pub(crate) fn bring_libraries(node: &Node) {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(node.clone(), Vec::new())];
    while let Some((node, inherited)) = waiting.pop() {
        let Some(needs) = read(&node) else { continue };
        let directory = node.path();
        let origin = directory.get(..directory.iter().rposition(|&b| b == b'/').unwrap_or(0)).unwrap_or_default();
        // As the loader: RPATH is inherited unless there is a RUNPATH.
        let own: Vec<Vec<u8>> = needs.search.iter().filter_map(|entry| expand(entry, origin)).collect();
        let mut search = own.clone();
        if !needs.search_is_runpath {
            search.extend(inherited.iter().cloned());
        }
        search.extend(library_path());
        for name in &needs.names {
            let found = if name.contains(&b'/') {
                expand(name, origin).and_then(|path| regular(&path))
            } else {
                search.iter().find_map(|directory| regular(&place::join(directory, name)))
            };
            let Some(library) = found else { continue };
            if seen.len() < MOST && seen.insert(library.path()) {
                let passed = if needs.search_is_runpath { Vec::new() } else { search.clone() };
                waiting.push((library, passed));
            }
        }
    }
}

/// The library at a virtual path, put into the view under the name that the loader will ask for.
fn regular(path: &[u8]) -> Option<Node> {
    place::spelled_absolute(path)?;
    // The loader goes over the same links, in the view.
    for (at, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').chain([(path.len(), &0)]) {
        let Some(prefix) = path.get(..at) else { continue };
        if let Ok(Resolved::Node(node)) = namespace::resolve(prefix, LastLink::Keep)
            && node.kind() == FileKind::Symlink
        {
            view::materialise(&node).ok()?;
        }
    }
    match namespace::resolve(path, LastLink::Follow).ok()? {
        Resolved::Node(node) if node.kind() == FileKind::Regular => view::materialise(&node).ok().map(|_| node),
        _ => None,
    }
}

fn expand(entry: &[u8], origin: &[u8]) -> Option<Vec<u8>> {
    let expanded = match entry.strip_prefix(b"$ORIGIN").or_else(|| entry.strip_prefix(b"${ORIGIN}")) {
        Some(rest) => [origin, rest].concat(),
        None => entry.to_vec(),
    };
    place::spelled_absolute(&expanded).is_some().then_some(expanded)
}

fn library_path() -> Vec<Vec<u8>> {
    let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    path.as_bytes().split(|b| matches!(b, b':' | b';')).map(<[u8]>::to_vec).filter(|p| !p.is_empty()).collect()
}

struct Needs {
    names: Vec<Vec<u8>>,
    search: Vec<Vec<u8>>,
    search_is_runpath: bool,
}

/// Reads the dynamic section of a 64-bit ELF file.
fn read(node: &Node) -> Option<Needs> {
    let mut file = node.open().ok()?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic).ok()?;
    if magic != elf::ELFMAG {
        return None;
    }
    let data = object::read::ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(&data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &data).ok()?;
    let entries = segments.iter().find_map(|segment| segment.dynamic(endian, &data).ok().flatten())?;
    let value = |tag: u32| entries.iter().find(|e| e.tag32(endian) == Some(tag)).map(|e| e.d_val(endian));
    let (address, size) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let segment = segments.iter().find(|segment| {
        let start = segment.p_vaddr(endian);
        segment.p_type(endian) == elf::PT_LOAD
            && (start..start.saturating_add(segment.p_filesz(endian))).contains(&address)
    })?;
    let offset = address - segment.p_vaddr(endian) + segment.p_offset(endian);
    let strings = StringTable::new(&data, offset, offset.checked_add(size)?);
    let all = |tag: u32| -> Vec<Vec<u8>> {
        let wanted = entries.iter().filter(|e| e.tag32(endian) == Some(tag));
        wanted.filter_map(|e| strings.get(e.val32(endian)?).ok().map(<[u8]>::to_vec)).collect()
    };
    let (runpath, rpath) = (all(elf::DT_RUNPATH), all(elf::DT_RPATH));
    let search_is_runpath = !runpath.is_empty();
    let search = if search_is_runpath { runpath } else { rpath };
    let split = |list: &Vec<u8>| list.split(|&b| b == b':').map(<[u8]>::to_vec).collect::<Vec<_>>();
    Some(Needs { names: all(elf::DT_NEEDED), search: search.iter().flat_map(split).collect(), search_is_runpath })
}
