//! What a dynamic linker sees of the library.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use object::elf;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, SectionHeader as _};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, SegmentFlags};
use std::collections::BTreeSet;

type File = ElfFile64<'static>;

fn file() -> File {
    // In memory of its own, which is aligned.
    File::parse(&*Vec::leak(cvmfs_shim_embed::LIBRARY.to_vec())).unwrap()
}

fn dynamic(file: &File) -> Vec<(u32, u64)> {
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, file.data()).unwrap();
    let (entries, _) = sections.iter().find_map(|section| section.dynamic(endian, file.data()).unwrap()).unwrap();
    entries.iter().map(|entry| (entry.tag32(endian).unwrap(), entry.d_val(endian))).collect()
}

/// "It needs no other library": it loads into programs of every C library, and before any of them has started.
#[test]
fn it_needs_nothing() {
    let file = file();
    let dynamic = dynamic(&file);
    assert!(dynamic.iter().all(|(tag, _)| *tag != elf::DT_NEEDED && *tag != elf::DT_TEXTREL));
    for symbol in file.dynamic_symbols().filter(|symbol| symbol.is_undefined()) {
        assert!(symbol.is_weak(), "{} is needed", symbol.name().unwrap());
    }
    for segment in file.segments() {
        let SegmentFlags::Elf { p_flags } = segment.flags() else { panic!() };
        assert_ne!(p_flags & (elf::PF_W | elf::PF_X), elf::PF_W | elf::PF_X, "writable code");
    }
    let endian = file.endian();
    let tls = file.elf_program_headers().iter().any(|header| header.p_type.get(endian) == elf::PT_TLS);
    assert!(!tls, "thread-local storage");
    assert!(cvmfs_shim_embed::LIBRARY.len() < 100_000, "{}", cvmfs_shim_embed::LIBRARY.len());
}

const EXPORTED: &str = "
    access canonicalize_file_name chdir closedir creat creat64 dirfd faccessat fdopendir fopen fopen64 fstat fstat64 fstatat fstatat64 getcwd __getcwd_chk
    fgetxattr flistxattr __fxstat __fxstat64 __fxstatat __fxstatat64 getxattr lgetxattr listxattr llistxattr
    lstat lstat64 __lxstat __lxstat64 open open64 __open_2 __open64_2 openat
    openat64 __openat_2 __openat64_2 opendir readdir readdir64 readdir_r readdir64_r readlink readlinkat realpath __realpath_chk __readlink_chk
    __readlinkat_chk rewinddir seekdir stat stat64 statx telldir __xstat __xstat64
";

/// "It takes exactly these names": any other would change what the program's own libraries find.
#[test]
fn it_exports_its_hooks_and_nothing_else() {
    let exported: BTreeSet<String> = file()
        .dynamic_symbols()
        .filter(|symbol| !symbol.is_undefined())
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect();
    let expected: BTreeSet<String> = EXPORTED.split_whitespace().map(str::to_owned).collect();
    assert_eq!(exported, expected);
}
