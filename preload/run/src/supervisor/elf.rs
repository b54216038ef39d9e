//! Executable files: which loader they ask for, and a copy that asks for another.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_INTERP: u32 = 3;
/// Offsets in a program header.
const OFFSET: usize = 8;
const FILE_SIZE: usize = 32;
const MEMORY_SIZE: usize = 40;

/// What the kernel would do with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Image {
    /// A 64-bit ELF file, and its loader if it has one.
    Elf(Option<Loader>),
    /// An ELF file of 32 bits.
    Elf32,
    /// `#!`: the interpreter and its argument.
    Script(Vec<u8>, Option<Vec<u8>>),
    Other,
}

/// The request for a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loader {
    pub(super) path: Vec<u8>,
    /// Where in the file its program header is.
    header: u64,
}

/// Bytes that the kernel looks at for `#!`.
const LINE: usize = 256;
/// Longest path of a loader.
const PATH_MAX: u64 = 4096;

/// Looks at the beginning of a file.
pub(super) fn inspect(file: &File) -> io::Result<Image> {
    let mut head = [0; LINE];
    let mut length = 0;
    while length < LINE {
        match file.read_at(&mut head[length..], length as u64)? {
            0 => break,
            n => length += n,
        }
    }
    let head = &head[..length];
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(script(line));
    }
    match head.get(..6) {
        Some([0x7f, b'E', b'L', b'F', 2, 1]) if length >= HEADER => Ok(Image::Elf(loader(file, head)?)),
        Some([0x7f, b'E', b'L', b'F', 1, _]) => Ok(Image::Elf32),
        _ => Ok(Image::Other),
    }
}

/// As the kernel reads the line: one interpreter, and all that follows is one argument.
fn script(line: &[u8]) -> Image {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let end = line.iter().position(|&b| matches!(b, b'\n' | 0));
    let truncated = end.is_none() && line.len() == LINE - 2;
    let line = &line[..end.unwrap_or(line.len())];
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let stop = line.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    let line = line.get(start..stop).unwrap_or_default();
    let split = line.iter().position(blank);
    let (interpreter, rest) = line.split_at(split.unwrap_or(line.len()));
    // A name that was cut off must not run something else.
    if interpreter.is_empty() || truncated && split.is_none() {
        return Image::Other;
    }
    let rest = rest.get(rest.iter().position(|b| !blank(b)).unwrap_or(rest.len())..).unwrap_or_default();
    Image::Script(interpreter.to_vec(), (!rest.is_empty()).then(|| rest.to_vec()))
}

/// The first line of a script that has another interpreter; none if it would be too long for the kernel.
pub(super) fn script_line(interpreter: &[u8], argument: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut line = [b"#!", interpreter].concat();
    if let Some(argument) = argument {
        line.push(b' ');
        line.extend_from_slice(argument);
    }
    line.push(b'\n');
    let kernel_reads_it = line.len() < LINE && !interpreter.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    kernel_reads_it.then_some(line)
}

/// Writes a copy of a script with another first line.
pub(super) fn copy_with_line(file: &mut File, line: &[u8], to: &mut File) -> io::Result<()> {
    file.rewind()?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    let first = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |end| end + 1);
    to.write_all(line)?;
    to.write_all(rest.get(first..).unwrap_or_default())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn loader(file: &File, head: &[u8]) -> io::Result<Option<Loader>> {
    let (Some(table), Some(size), Some(count)) = (number(head, 32), number(head, 54), number(head, 56)) else {
        return Ok(None);
    };
    let (table, size, count) = (u64::from_le_bytes(table), u16::from_le_bytes(size), u16::from_le_bytes(count));
    if usize::from(size) != PROGRAM_HEADER {
        return Ok(None);
    }
    for n in 0..u64::from(count) {
        let at = table.saturating_add(n * PROGRAM_HEADER as u64);
        let mut header = [0; PROGRAM_HEADER];
        if file.read_exact_at(&mut header, at).is_err() {
            return Ok(None);
        }
        if number(&header, 0).map(u32::from_le_bytes) != Some(PT_INTERP) {
            continue;
        }
        let word = |at| number(&header, at).map(u64::from_le_bytes).unwrap_or_default();
        let (offset, length) = (word(OFFSET), word(FILE_SIZE));
        if length == 0 || length > PATH_MAX {
            return Ok(None);
        }
        let mut path = vec![0; length as usize];
        if file.read_exact_at(&mut path, offset).is_err() {
            return Ok(None);
        }
        path.truncate(path.iter().position(|&b| b == 0).unwrap_or(path.len()));
        return Ok(Some(Loader { path, header: at }));
    }
    Ok(None)
}

/// Writes a copy of `file` that asks the kernel for the loader `path`. The address at which the program itself finds
/// the name of its loader stays what it was.
pub(super) fn copy_with_loader(file: &mut File, loader: &Loader, path: &[u8], to: &mut File) -> io::Result<()> {
    file.rewind()?;
    let end = io::copy(file, to)?;
    to.write_all(&tail(path, file)?)?;
    let mut header = [0; PROGRAM_HEADER];
    file.read_exact_at(&mut header, loader.header)?;
    let length = (path.len() as u64 + 1).to_le_bytes();
    header[OFFSET..OFFSET + 8].copy_from_slice(&end.to_le_bytes());
    header[FILE_SIZE..FILE_SIZE + 8].copy_from_slice(&length);
    header[MEMORY_SIZE..MEMORY_SIZE + 8].copy_from_slice(&length);
    to.seek(SeekFrom::Start(loader.header))?;
    to.write_all(&header)
}

/// What such a copy has at its end: the path of the loader, and which state of which file it is a copy of.
fn tail(path: &[u8], file: &File) -> io::Result<Vec<u8>> {
    let about = file.metadata()?;
    let state = [about.dev(), about.ino(), about.ctime() as u64, about.ctime_nsec() as u64];
    let state = state.iter().flat_map(|number| number.to_ne_bytes());
    Ok(path.iter().copied().chain([0]).chain(state).collect())
}

/// Whether the file named `copy` is such a copy of `file` as it is now.
pub(super) fn is_copy_with_loader(copy: &Path, file: &File, path: &[u8]) -> io::Result<bool> {
    let Ok(copy) = File::open(copy) else { return Ok(false) };
    let (wanted, length) = (tail(path, file)?, file.metadata()?.len());
    if copy.metadata()?.len() != length + wanted.len() as u64 {
        return Ok(false);
    }
    let mut found = vec![0; wanted.len()];
    copy.read_exact_at(&mut found, length)?;
    Ok(found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Image {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file).unwrap()
    }

    #[test]
    fn the_first_line_of_a_script_is_read_as_the_kernel_reads_it() {
        let script = |interpreter: &str, argument: Option<&str>| {
            Image::Script(interpreter.into(), argument.map(|argument| argument.into()))
        };
        assert_eq!(of(b"#!/bin/sh\nfoo"), script("/bin/sh", None));
        assert_eq!(of(b"#! \t/bin/sh -e  -u \nfoo"), script("/bin/sh", Some("-e  -u")));
        assert_eq!(of(b"#!/bin/sh"), script("/bin/sh", None));
        assert_eq!(of(b"#!\n"), Image::Other);
        assert_eq!(of(&[b"#!/".as_slice(), &[b'x'; 300]].concat()), Image::Other);
        assert_eq!(of(b""), Image::Other);
    }

    #[test]
    fn a_copy_of_a_script_has_another_interpreter_and_the_same_rest() {
        let line = script_line(b"/some/where/sh", Some(b"-e")).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"#!/cvmfs/x/sh -e\necho $0\n").unwrap();
        let mut copy = tempfile::tempfile().unwrap();
        copy_with_line(&mut file, &line, &mut copy).unwrap();
        let mut content = String::new();
        copy.rewind().unwrap();
        copy.read_to_string(&mut content).unwrap();
        assert_eq!(content, "#!/some/where/sh -e\necho $0\n");
        let script = |interpreter: &[u8], argument: Option<&[u8]>| script_line(interpreter, argument).is_some();
        assert!(script(&[b'x'; 252], None) && !script(&[b'x'; 253], None), "the kernel reads no more");
        assert!(!script(b"/a path/sh", None));
    }

    #[test]
    fn a_copy_asks_for_another_loader_and_still_runs() {
        let program = std::path::Path::new("/bin/true");
        let mut file = File::open(program).unwrap();
        let Image::Elf(Some(loader)) = inspect(&file).unwrap() else { return };
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("a-loader-with-a-rather-long-name");
        std::os::unix::fs::symlink(std::ffi::OsStr::new(std::str::from_utf8(&loader.path).unwrap()), &other).unwrap();
        let copy = dir.path().join("copy");
        let mut to = File::create(&copy).unwrap();
        let path = other.to_str().unwrap().as_bytes();
        copy_with_loader(&mut file, &loader, path, &mut to).unwrap();
        drop(to);
        let Image::Elf(Some(changed)) = inspect(&File::open(&copy).unwrap()).unwrap() else { panic!() };
        assert_eq!(changed.path, path);
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(std::process::Command::new(&copy).status().unwrap().success());
        std::fs::remove_file(&other).unwrap();
        assert!(std::process::Command::new(&copy).status().is_err(), "it was that loader");
    }
}
