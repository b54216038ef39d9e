//! The directory with the keys of repositories, under the official names: `FQRN.masterkey` and `FQRN.pub` for
//! whitelists, `FQRN.key` and `FQRN.crt` for manifests.

use anyhow::{Context as _, Result, bail};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::trust::{Certificate, MasterKeys, PrivateKey};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Days for which a certificate is made; clients do not look.
const CERTIFICATE_DAYS: u64 = 3650;

/// Where the keys of one repository are.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    /// The private master key; needed for whitelists only, and best kept elsewhere.
    pub master: PathBuf,
    /// The public master key, which clients are configured with.
    pub public: PathBuf,
    /// The private key that signs manifests.
    pub signer: PathBuf,
    /// Its certificate.
    pub certificate: PathBuf,
}

impl KeyFiles {
    /// The files in `directory`; the master key may be somewhere else.
    pub fn new(fqrn: &Fqrn, directory: &Path, master: Option<&Path>) -> KeyFiles {
        let file = |suffix: &str| directory.join(format!("{fqrn}.{suffix}"));
        KeyFiles {
            master: master.map_or_else(|| file("masterkey"), Path::to_owned),
            public: file("pub"),
            signer: file("key"),
            certificate: file("crt"),
        }
    }

    /// Makes what is missing. A master key that is there is used again: several repositories may share one.
    pub fn make(&self, fqrn: &Fqrn, now: u64) -> Result<()> {
        let master = match exists(&self.master) {
            true => self.master()?,
            false => {
                let key = PrivateKey::generate()?;
                write_new(&self.master, key.to_pem()?.as_bytes(), 0o600)?;
                key
            }
        };
        let public = master.public_pem()?;
        if exists(&self.public) {
            let known = fs::read_to_string(&self.public).with_context(|| self.public.display().to_string())?;
            if known.trim() != public.trim() {
                bail!("{} is not the public half of {}", self.public.display(), self.master.display());
            }
        } else {
            write_new(&self.public, public.as_bytes(), 0o644)?;
        }
        match (exists(&self.signer), exists(&self.certificate)) {
            (true, true) => {
                self.signer()?;
            }
            (false, true) => {
                bail!("{} is there, but its key {} is not", self.certificate.display(), self.signer.display())
            }
            (has_key, false) => {
                let key = if has_key { read_key(&self.signer)? } else { PrivateKey::generate()? };
                if !has_key {
                    write_new(&self.signer, key.to_pem()?.as_bytes(), 0o600)?;
                }
                write_new(&self.certificate, key.certify(fqrn, now, CERTIFICATE_DAYS)?.as_bytes(), 0o644)?;
            }
        }
        Ok(())
    }

    /// The private master key.
    pub fn master(&self) -> Result<PrivateKey> {
        read_key(&self.master)
    }

    /// The public master key, as clients have it.
    pub fn public(&self) -> Result<MasterKeys> {
        Ok(MasterKeys::load(&[&self.public])?)
    }

    /// The signing key with its certificate, which are checked to belong together.
    pub fn signer(&self) -> Result<(PrivateKey, Certificate)> {
        let key = read_key(&self.signer)?;
        let bytes = fs::read(&self.certificate).with_context(|| self.certificate.display().to_string())?;
        let certificate = Certificate::parse(&bytes).with_context(|| self.certificate.display().to_string())?;
        if !key.is_of(&certificate) {
            bail!("{} is not the certificate of {}", self.certificate.display(), self.signer.display());
        }
        Ok((key, certificate))
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn read_key(path: &Path) -> Result<PrivateKey> {
    let bytes = fs::read(path).with_context(|| format!("private key {}", path.display()))?;
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        log::warn!("{} can be read by others (mode {:03o}): chmod 600", path.display(), mode & 0o777);
    }
    PrivateKey::from_pem(&bytes).with_context(|| path.display().to_string())
}

/// Never replaces a key, and is never readable by others in between.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}
