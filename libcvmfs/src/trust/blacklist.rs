use super::{CertificateIdentity, Fingerprint, TrustError};
use crate::fqrn::Fqrn;
use std::collections::HashMap;
use std::path::Path;

/// What the administrator of this computer refuses although it is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blacklist {
    certificates: Vec<Fingerprint>,
    oldest_revisions: HashMap<String, u64>,
}

impl Blacklist {
    /// Reads all files that exist; what any of them refuses is refused.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Blacklist, TrustError> {
        let mut blacklist = Blacklist::default();
        for path in paths {
            match std::fs::read(path) {
                Ok(bytes) => blacklist.add(&bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(TrustError::BlacklistFile { path: path.as_ref().to_owned(), source }),
            }
        }
        Ok(blacklist)
    }

    /// Reads one file: fingerprints, and lines `<fqrn N` that refuse the revisions below N. Other lines are comments.
    pub fn parse(bytes: &[u8]) -> Blacklist {
        let mut blacklist = Blacklist::default();
        blacklist.add(bytes);
        blacklist
    }

    fn add(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(rule) = line.strip_prefix(b"<") {
                match revision_rule(rule) {
                    Some((name, revision)) => {
                        let oldest = self.oldest_revisions.entry(name.to_owned()).or_default();
                        *oldest = revision.max(*oldest);
                    }
                    None => {
                        log::warn!("blacklist line '{}' is not '<fqrn REVISION'", String::from_utf8_lossy(line));
                    }
                }
            } else if let Some(fingerprint) = Fingerprint::parse(line) {
                self.certificates.push(fingerprint);
            }
        }
    }

    /// Whether the certificate is refused.
    pub fn refuses(&self, certificate: &CertificateIdentity) -> bool {
        self.certificates.iter().any(|listed| certificate.matches(listed))
    }

    /// The oldest revision of a repository that is not refused: 0 if all are welcome. To be asked again for mounted
    /// repositories whenever the blacklist was read anew.
    pub fn oldest_revision(&self, fqrn: &Fqrn) -> u64 {
        self.oldest_revisions.get(fqrn.as_str()).copied().unwrap_or(0)
    }

    /// Refuses a blacklisted revision.
    pub fn check_revision(&self, fqrn: &Fqrn, revision: u64) -> Result<(), TrustError> {
        let minimum = self.oldest_revision(fqrn);
        if revision < minimum {
            return Err(TrustError::RevisionBlacklisted { fqrn: fqrn.clone(), revision, minimum });
        }
        Ok(())
    }
}

fn revision_rule(rule: &[u8]) -> Option<(&str, u64)> {
    let rule = std::str::from_utf8(rule).ok()?;
    let (name, revision) = rule.split_once([' ', '\t'])?;
    let revision = revision.trim_start_matches([' ', '\t']);
    let digits = !name.is_empty() && revision.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| revision.parse().ok())?.map(|revision| (name, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_lines_are_read_and_the_strictest_counts() {
        let text = b"# comment\n<a.b 5\n<a.b \t 7\n<a.b 6\n<c.d x\n<c.d 4 x\n<c.d\n\
            AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA # old key\nnonsense\n";
        let blacklist = Blacklist::parse(text);
        assert_eq!(blacklist.oldest_revision(&Fqrn::new("a.b").unwrap()), 7);
        assert_eq!(blacklist.oldest_revision(&Fqrn::new("c.d").unwrap()), 0);
        assert_eq!(blacklist.certificates.len(), 1);
        assert!(blacklist.check_revision(&Fqrn::new("a.b").unwrap(), 7).is_ok());
    }

    #[test]
    fn a_missing_file_is_no_error_but_an_unreadable_one_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Blacklist::load(&[dir.path().join("none")]).unwrap(), Blacklist::default());
        assert!(matches!(Blacklist::load(&[dir.path()]), Err(TrustError::BlacklistFile { .. })));
    }
}
