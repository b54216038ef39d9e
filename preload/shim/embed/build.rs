//! Makes the shim's shared object by a cargo call of its own: the profile of the crates around it unwinds and needs the
//! standard library, the shim can do neither.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../../..");
    for source in
        ["preload/shim/src", "preload/shim/Cargo.toml", "preload/control/src", "preload/hooks/src", "Cargo.toml"]
    {
        println!("cargo:rerun-if-changed={}", workspace.join(source).display());
    }
    println!("cargo:rerun-if-changed={}", workspace.join("libcvmfs/index/src").display());

    let target = variable("TARGET");
    let mut cargo = Command::new(variable("CARGO"));
    // Flags and wrappers (clippy, coverage) are meant for the crates around.
    for inherited in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(inherited);
    }
    cargo
        .current_dir(&workspace)
        .args(["rustc", "--quiet", "--offline", "--package", "cvmfs-shim", "--lib", "--crate-type", "cdylib"])
        .args(["--profile", "shim", "--target", &target])
        .arg("--target-dir")
        .arg(out.join("target"))
        .args(["--", "-C", "link-arg=-nostdlib", "-C", "link-arg=-nostartfiles"]);
    if target.contains("musl") {
        cargo.args(["-C", "target-feature=-crt-static"]);
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("running cargo: {error}"));
    assert!(status.success(), "the shim does not build: {status}");
    let library = out.join("target").join(&target).join("shim/libcvmfs_shim.so");
    println!("cargo:rustc-env=CVMFS_SHIM_LIBRARY={}", library.display());
    // Beside the programs, for who wants to preload it by hand. OUT_DIR is <profile>/build/<package>/out.
    if let Some(profile) = out.ancestors().nth(3)
        && let Err(error) = copy(&library, &profile.join("libcvmfs_shim.so"))
    {
        println!("cargo:warning=copying the shim to {}: {error}", profile.display());
    }
}

/// Copies in one step: programs may have the old one mapped.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = to.with_extension(format!("new-{}", std::process::id()));
    fs::copy(from, &temporary)?;
    fs::rename(&temporary, to)
}
