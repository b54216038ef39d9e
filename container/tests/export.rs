//! Container images: their structure, and that what is in them runs.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod common;

use common::{User, output, text};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Read as _;
use std::path::Path;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// The bytes that a descriptor refers to; they are what it says.
fn blob(image: &Path, descriptor: &Value) -> Vec<u8> {
    let name = descriptor["digest"].as_str().unwrap();
    let bytes = fs::read(image.join("blobs").join(name.replace(':', "/"))).unwrap();
    assert_eq!((digest(&bytes), bytes.len() as u64), (name.to_owned(), descriptor["size"].as_u64().unwrap()));
    bytes
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// "`export-oci` writes a container image: a layout of the Open Container Initiative, as a directory or as an archive of it. The same programs
/// and options make the same bytes."
#[test]
fn an_image_is_complete_and_always_the_same() {
    let Some(user) = User::with_interposer() else { return };
    fs::write(user.home.path().join("master.pub"), "a key").unwrap();
    user.give(user.home.path());
    let path = |name: &str| user.home.path().join(name);
    let export = |image: &Path| {
        let (image, key) = (image.display().to_string(), path("master.pub").display().to_string());
        let line = ["export-oci", &image, "--os=os.test.example/debian", "--cvmfs=sw.test.example", "--key", &key];
        output(user.fork(&line).args(["-o", "CVMFS_HTTP_PROXY=DIRECT", "--tag", "localhost/x:1"]));
    };
    let (image, archive) = (path("image"), path("image.tar"));
    export(&image);
    export(&archive);
    let mut packed = tar::Archive::new(fs::File::open(&archive).unwrap());
    let mut files = 0;
    for mut entry in packed.entries().unwrap().map(|entry| entry.unwrap()) {
        let path = image.join(entry.path().unwrap());
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            assert!(bytes == fs::read(&path).unwrap(), "{}", path.display());
            files += 1;
        }
    }
    assert_eq!(files, 6, "index, layout, manifest, configuration, layer, and the manifest of older engines");

    assert_eq!(json(&fs::read(image.join("oci-layout")).unwrap())["imageLayoutVersion"], "1.0.0");
    let index = json(&fs::read(image.join("index.json")).unwrap());
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "localhost/x:1");
    let manifest = json(&blob(&image, &index["manifests"][0]));
    let older = json(&fs::read(image.join("manifest.json")).unwrap());
    let place = |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    assert_eq!(older[0]["Config"], place(&manifest["config"]));
    assert_eq!(older[0]["Layers"], serde_json::json!([place(&manifest["layers"][0])]));
    assert_eq!(older[0]["RepoTags"], serde_json::json!(["localhost/x:1"]));
    let config = json(&blob(&image, &manifest["config"]));
    let mut plain = Vec::new();
    GzDecoder::new(blob(&image, &manifest["layers"][0]).as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], digest(&plain));
    let line: Vec<&str> =
        config["config"]["Entrypoint"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
    assert_eq!((line[0], *line.last().unwrap()), ("/usr/bin/cernvm-fork", "--"));
    assert!(line.contains(&"--os=os.test.example/debian") && line.contains(&"--cvmfs=sw.test.example"), "{line:?}");
    let set = config["config"]["Env"].as_array().unwrap();
    for variable in ["CVMFS_HTTP_PROXY=DIRECT", "CVMFS_PUBLIC_KEY=/etc/cvmfs/keys/master.pub"] {
        assert!(set.contains(&variable.into()), "{set:?}");
    }

    // What is in it runs where nothing else is.
    let root = path("unpacked");
    tar::Archive::new(plain.as_slice()).unpack(&root).unwrap();
    assert_eq!(fs::read(root.join("etc/cvmfs/keys/master.pub")).unwrap(), b"a key");
    user.give(&root);
    for program in ["cernvm-fork", "cvmfs-run"] {
        let mut inside = user.command("unshare");
        inside
            .arg("-r")
            .arg("chroot")
            .arg(&root)
            .args([program, "--version"])
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
        assert!(text(&mut inside).starts_with(program));
    }
}

/// "What is there is not written over, and what is missing is named."
#[test]
fn what_cannot_be_exported() {
    let Some(user) = User::with_interposer() else { return };
    let image = user.home.path().join("there");
    fs::create_dir(&image).unwrap();
    let there = image.display().to_string();
    assert!(user.refused(&["export-oci", &there, "--os=os.test.example"]).contains("exists"));
    let elsewhere = format!("{there}/new");
    let said = user.refused(&["export-oci", &elsewhere, "--os=os.test.example", "--programs=/nowhere"]);
    assert!(said.contains("/nowhere/cernvm-fork"), "{said}");
    assert!(user.refused(&["export-oci", &elsewhere, "--os=os.test.example", "--key=/nowhere"]).contains("/nowhere"));
    user.refused(&["export-oci", &elsewhere]);
}
