use crate::hash::ContentHash;

/// The hash of a certificate's DER encoding, as whitelists and blacklists list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub ContentHash);

impl Fingerprint {
    /// Reads the fingerprint at the start of a line: hex digits with or without colons, in either case, ended by a
    /// blank, a tab or `#`. A line that holds none is `None`.
    pub fn parse(line: &[u8]) -> Option<Fingerprint> {
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'#')).unwrap_or(line.len());
        let digits: Vec<u8> = line[..end].iter().filter(|byte| **byte != b':').map(u8::to_ascii_lowercase).collect();
        let text = std::str::from_utf8(&digits).ok()?;
        ContentHash::parse(text).ok().map(Fingerprint)
    }
}

/// The canonical form: upper-case pairs joined by colons, then the upper-case algorithm id.
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, byte) in self.0.digest.iter().enumerate() {
            let separator = if position == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        f.write_str(&self.0.algorithm.id().to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_form_are_read() {
        let canonical = "71:BD:B0:D8:A3:D5:3F:C1:B3:C9:DA:A5:1A:09:F7:B8:02:71:0D:67-RMD160";
        let plain = "71bdb0d8a3d53fc1b3c9daa51a09f7b802710d67-rmd160";
        for line in
            [canonical, plain, &format!("{canonical} # maintainer"), &format!("{plain}\tx"), &format!("{plain}#x")]
        {
            assert_eq!(Fingerprint::parse(line.as_bytes()).unwrap().to_string(), canonical, "{line}");
        }
    }

    #[test]
    fn what_holds_no_fingerprint_is_none() {
        for line in
            ["", "# comment", " 71bdb0d8a3d53fc1b3c9daa51a09f7b802710d67", "71:BD", "d41d8cd98f00b204e9800998ecf8427e"]
        {
            assert_eq!(Fingerprint::parse(line.as_bytes()), None, "{line}");
        }
    }
}
