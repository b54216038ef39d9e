//! Puts the preload library into the program where one is given: then a single file is all that a node needs.

/// The path of the finished library.
const LIBRARY: &str = "CVMFS_PRELOAD_LIBRARY";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={LIBRARY}");
    println!("cargo:rustc-check-cfg=cfg(library_inside)");
    if let Some(library) = std::env::var_os(LIBRARY) {
        println!("cargo:rerun-if-changed={}", library.display());
        println!("cargo:rustc-cfg=library_inside");
    }
}
