//! Instances as a container image: the programs of this project and a configuration, in the layout of the Open Container
//! Initiative. What a container of it runs sees an operating system out of a repository, and repositories below `/cvmfs`.

mod layer;

use crate::arguments::Export;
use crate::cvmfs;
use crate::say::say;
use anyhow::{Context as _, Result, bail};
use layer::Layer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where programs lie in the image.
const PROGRAMS: &str = "usr/bin";
/// Where keys lie in the image.
const KEYS: &str = "etc/cvmfs/keys";
/// What the containers' own instance is called.
const INSTANCE: &str = "os";
const MACHINE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Files of a layout by their paths in it.
type Layout = BTreeMap<String, Vec<u8>>;

/// Writes the image.
pub(crate) fn run(wanted: &Export) -> Result<u8> {
    if fs::symlink_metadata(&wanted.image).is_ok() {
        bail!("{} exists already, and is not written over", wanted.image.display());
    }
    let layer = layer(wanted)?;
    let plain = layer.bytes()?;
    let packed = layer::packed(&plain)?;
    let mut layout = Layout::new();
    let config = json!({
        "architecture": MACHINE,
        "os": "linux",
        "config": { "Entrypoint": entry_point(wanted), "Cmd": ["/bin/sh"], "Env": environment(wanted)?, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [digest(&plain)] },
    });
    let config = blob(&mut layout, "application/vnd.oci.image.config.v1+json", text(&config)?);
    let size = packed.len();
    let layer = blob(&mut layout, "application/vnd.oci.image.layer.v1.tar+gzip", packed);
    // What 'docker load' looked for before version 25, and what 'docker save' still writes beside the rest.
    let place = |blob: &Value| format!("blobs/{}", blob["digest"].as_str().unwrap_or_default().replace(':', "/"));
    let for_older_engines = json!([{ "Config": place(&config), "RepoTags": [wanted.tag], "Layers": [place(&layer)] }]);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let mut manifest = blob(&mut layout, kind, text(&manifest)?);
    manifest["platform"] = json!({ "architecture": MACHINE, "os": "linux" });
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": wanted.tag });
    let index =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest] });
    layout.insert("index.json".to_owned(), text(&index)?);
    layout.insert("oci-layout".to_owned(), text(&json!({ "imageLayoutVersion": "1.0.0" }))?);
    layout.insert("manifest.json".to_owned(), text(&for_older_engines)?);
    write(&layout, &wanted.image)?;
    say!("{}: {} kB packed", wanted.image.display(), size / 1000);
    Ok(0)
}

fn text(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// Puts bytes into the layout, under their digest, and gives what refers to them.
fn blob(layout: &mut Layout, kind: &str, bytes: Vec<u8>) -> Value {
    let (digest, size) = (digest(&bytes), bytes.len());
    layout.insert(format!("blobs/{}", digest.replace(':', "/")), bytes);
    json!({ "mediaType": kind, "digest": digest, "size": size })
}

/// Writes the layout as a new directory, or as an archive if the name ends with `.tar`.
fn write(layout: &Layout, image: &Path) -> Result<()> {
    let context = || format!("writing {}", image.display());
    if image.extension().is_some_and(|extension| extension == "tar") {
        let mut archive = Layer::default();
        for (path, bytes) in layout {
            archive.file(path, 0o644, bytes.clone());
        }
        return fs::write(image, archive.bytes()?).with_context(context);
    }
    fs::create_dir(image).with_context(context)?;
    for (path, bytes) in layout {
        let path = image.join(path);
        fs::create_dir_all(path.parent().unwrap_or(image)).with_context(context)?;
        fs::write(&path, bytes).with_context(context)?;
    }
    Ok(())
}

/// What a container starts; its command is what follows.
fn entry_point(wanted: &Export) -> Vec<String> {
    let mut line: Vec<String> = vec![format!("/{PROGRAMS}/cernvm-fork"), INSTANCE.to_owned()];
    line.extend(["--new", "--fast", "--ephemeral", "--backend=interposer"].map(str::to_owned));
    let os = Path::new(wanted.os.fqrn.as_str()).join(&wanted.os.path);
    line.push(format!("--os={}", os.display()));
    line.extend(wanted.cvmfs.iter().map(|fqrn| format!("--cvmfs={fqrn}")));
    line.push("--".to_owned());
    line
}

/// Parameters are variables: so `-e` of the container's engine can set others.
fn environment(wanted: &Export) -> Result<Vec<String>> {
    let mut lines: BTreeMap<String, String> = [
        ("PATH", "/usr/bin"),
        ("HOME", "/root"),
        ("XDG_STATE_HOME", "/var/lib/cernvm"),
        ("CVMFS_CACHE_BASE", "/var/cache/cvmfs"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if !wanted.keys.is_empty() {
        let keys: Result<Vec<String>> =
            wanted.keys.iter().map(|key| Ok(format!("/{KEYS}/{}", file_name(key)?))).collect();
        lines.insert("CVMFS_PUBLIC_KEY".to_owned(), keys?.join(":"));
    }
    lines.extend(wanted.options.iter().cloned());
    Ok(lines.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).with_context(|| format!("{} has no name of text", path.display()))
}

/// The only layer: programs, keys, and directories that have to be there.
fn layer(wanted: &Export) -> Result<Layer> {
    let mut layer = Layer::default();
    for directory in ["cvmfs", "dev", "etc", "proc", "root", "run", "sys"] {
        layer.directory(directory, 0o755);
    }
    // For whatever user the container runs as.
    for directory in ["tmp", "var/cache/cvmfs", "var/lib/cernvm", "var/tmp"] {
        layer.directory(directory, 0o1777);
    }
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
    layer.file("etc/group", 0o644, b"root:x:0:\n".to_vec());
    for key in &wanted.keys {
        let bytes = fs::read(key).with_context(|| format!("reading the key {}", key.display()))?;
        layer.file(&format!("{KEYS}/{}", file_name(key)?), 0o644, bytes);
    }
    for program in programs(wanted)? {
        let bytes = fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
        for library in layer::libraries(&program, &bytes)? {
            let bytes = fs::read(&library).with_context(|| format!("reading {}", library.display()))?;
            layer.file(library.to_str().context("a library whose name is no text")?, 0o755, bytes);
        }
        layer.file(&format!("{PROGRAMS}/{}", file_name(&program)?), 0o755, bytes);
    }
    Ok(layer)
}

/// This program and `cvmfs-run`, out of the directory that was named, else as they run here.
fn programs(wanted: &Export) -> Result<[PathBuf; 2]> {
    let programs = match &wanted.programs {
        Some(directory) => ["cernvm-fork", "cvmfs-run"].map(|name| directory.join(name)),
        None => [std::env::current_exe().context("finding this program")?, cvmfs::program()?],
    };
    for (program, name) in programs.iter().zip(["cernvm-fork", "cvmfs-run"]) {
        File::open(program).with_context(|| format!("opening {}", program.display()))?;
        if program.file_name().is_none_or(|found| found != name) {
            bail!("{} has to be called {name}", program.display());
        }
    }
    Ok(programs)
}
