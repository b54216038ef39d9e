use super::{CertificateIdentity, Fingerprint, Letter, LetterKind, MasterKeys, TrustError};
use crate::fqrn::Fqrn;

/// A whitelist nobody has vouched for yet.
#[derive(Debug, Clone)]
pub struct Whitelist {
    letter: Letter,
    expires: u64,
    name: String,
    fingerprints: Vec<Fingerprint>,
}

/// A whitelist that a master key signed for one repository and that had not expired when it was verified.
#[derive(Debug, Clone)]
pub struct VerifiedWhitelist {
    fqrn: Fqrn,
    content: Whitelist,
    signer: String,
}

impl Whitelist {
    /// Reads the content of `.cvmfswhitelist`.
    pub fn parse(bytes: &[u8]) -> Result<Whitelist, TrustError> {
        refuse_other_schemes(bytes)?;
        let letter = Letter::parse(LetterKind::Whitelist, bytes)?;
        let mut lines = letter.text().split(|byte| *byte == b'\n');
        let malformed = |line, expected| TrustError::WhitelistLine { line, expected };
        let created = lines.next().unwrap_or_default();
        if created.len() != 14 {
            return Err(malformed(1, "14 digits of the time of creation"));
        }
        let expires = lines.next().and_then(|line| line.strip_prefix(b"E")).and_then(hour_of);
        let expires = expires.ok_or(malformed(2, "E and 14 digits of the time of expiry"))?;
        let name = lines.next().and_then(|line| line.strip_prefix(b"N"));
        let name = String::from_utf8_lossy(name.ok_or(malformed(3, "N and the repository name"))?).into_owned();
        let fingerprints = lines.filter_map(Fingerprint::parse).collect();
        Ok(Whitelist { expires, name, fingerprints, letter })
    }

    /// Checks signature, name and expiry, in this order, so that what is reported about name and expiry is true.
    /// `now` is in seconds since 1970.
    pub fn verify(self, fqrn: &Fqrn, keys: &MasterKeys, now: u64) -> Result<VerifiedWhitelist, TrustError> {
        if keys.is_empty() {
            return Err(TrustError::NoMasterKey(fqrn.clone()));
        }
        let Some(signer) = keys.signer(&self.letter) else {
            return Err(TrustError::WhitelistSignature { fqrn: fqrn.clone(), keys: keys.len(), names: keys.names() });
        };
        if self.name != fqrn.as_str() {
            let found = self.name.escape_debug().take(255).collect();
            return Err(TrustError::WhitelistName { expected: fqrn.clone(), found });
        }
        let verified = VerifiedWhitelist { fqrn: fqrn.clone(), signer: signer.to_owned(), content: self };
        verified.check_expiry(now)?;
        Ok(verified)
    }
}

impl VerifiedWhitelist {
    /// The repository it is for.
    pub fn fqrn(&self) -> &Fqrn {
        &self.fqrn
    }

    /// The first second since 1970 at which it is not valid any more; always a full hour.
    pub fn expires(&self) -> u64 {
        self.content.expires
    }

    /// The master key (its file) that signed it.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// The certificates it allows to sign.
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.content.fingerprints
    }

    /// Whether it allows the certificate to sign.
    pub fn lists(&self, certificate: &CertificateIdentity) -> bool {
        self.content.fingerprints.iter().any(|listed| certificate.matches(listed))
    }

    /// The original file.
    pub fn as_bytes(&self) -> &[u8] {
        self.content.letter.as_bytes()
    }

    /// Refuses once `now` (seconds since 1970) has reached the expiry.
    pub fn check_expiry(&self, now: u64) -> Result<(), TrustError> {
        let expires = self.content.expires;
        if now >= expires {
            return Err(TrustError::WhitelistExpired { fqrn: self.fqrn.clone(), expires, now });
        }
        Ok(())
    }
}

/// Lines 4 and 5 may ask for verification by other means than a master key. Looked for before anything else because
/// such a whitelist need not have an RSA signature at all.
fn refuse_other_schemes(bytes: &[u8]) -> Result<(), TrustError> {
    let lines = bytes.split(|byte| *byte == b'\n').take_while(|line| *line != b"--");
    match lines.skip(3).take(2).find(|line| matches!(*line, b"Vpkcs7" | b"Wcachain")) {
        Some(scheme) => Err(TrustError::WhitelistUnsupported(String::from_utf8_lossy(scheme).into_owned())),
        None => Ok(()),
    }
}

/// Seconds since 1970 of the full hour in `YYYYMMDDhhmmss` (UTC): minutes and seconds do not count.
fn hour_of(text: &[u8]) -> Option<u64> {
    if text.len() != 14 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
    let (year, month, day, hour) = (number(0, 4), number(4, 6), number(6, 8), number(8, 10));
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 {
        return None;
    }
    // Years start in March here, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    /// Days from 1 March of the year 0 to 1 January 1970.
    const EPOCH: u64 = 719_468;
    Some(((days - EPOCH) * 24 + hour) * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expiry_is_a_full_hour_of_utc() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("19700101015959", 3600),
            ("20000229235959", 951_865_200),
            ("20240301000000", 1_709_251_200),
            ("20461116115821", 2_425_978_800),
        ] {
            assert_eq!(hour_of(text.as_bytes()), Some(seconds), "{text}");
        }
    }

    #[test]
    fn malformed_times_are_refused() {
        for bad in [
            "",
            "2046111611582",
            "204611161158211",
            "2046-1-16 1158",
            "20461316115821",
            "20460016115821",
            "20461132115821",
            "20461116245821",
            "19691231235959",
        ] {
            assert_eq!(hour_of(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Whitelist::parse(&bytes).is_err());
        }
    }
}
