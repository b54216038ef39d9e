use super::TrustError;
use crate::hash::{ContentHash, HashError};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// MD5 of the empty path: the only value of the R field.
const ROOT_PATH_HASH: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// The fields of a manifest's text, as they are read and written. They prove nothing: a reader of repositories wants a
/// [`super::VerifiedManifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFields {
    /// C: the root catalog.
    pub root_catalog: ContentHash,
    /// B: size in bytes of the plain root catalog.
    pub catalog_size: Option<u64>,
    /// R: MD5 of the catalog's root path, in hex.
    pub root_path: String,
    /// D: time to live in seconds; for information only, clients follow the root catalog's own.
    pub ttl: u64,
    /// S: the revision.
    pub revision: u64,
    /// G: whether the repository is garbage collected.
    pub garbage_collectable: bool,
    /// A: whether bootstrap objects have alternative paths.
    pub alternative_paths: bool,
    /// L: the micro catalog, never used.
    pub micro_catalog: Option<ContentHash>,
    /// N: the repository's name.
    pub name: Option<String>,
    /// X: the certificate object.
    pub certificate: Option<ContentHash>,
    /// H: the history database.
    pub history: Option<ContentHash>,
    /// T: time of publication, seconds since 1970.
    pub timestamp: Option<u64>,
    /// M: the meta information object.
    pub meta_info: Option<ContentHash>,
    /// Y: the plain reflog.
    pub reflog: Option<ContentHash>,
}

impl ManifestFields {
    /// A manifest with the required fields only, of revision 0.
    pub fn new(root_catalog: ContentHash, ttl: u64) -> ManifestFields {
        ManifestFields {
            root_catalog,
            catalog_size: None,
            root_path: ROOT_PATH_HASH.to_owned(),
            ttl,
            revision: 0,
            garbage_collectable: false,
            alternative_paths: false,
            micro_catalog: None,
            name: None,
            certificate: None,
            history: None,
            timestamp: None,
            meta_info: None,
            reflog: None,
        }
    }

    /// Reads the text part: a letter and its value on each line, the last of equal letters counts, unknown letters do
    /// not. Ends at a `--` line, if there is one.
    pub fn parse(text: &[u8]) -> Result<ManifestFields, TrustError> {
        let lines = text.split(|byte| *byte == b'\n').take_while(|line| *line != b"--");
        let fields: BTreeMap<u8, &[u8]> = lines.filter_map(|line| line.split_first().map(|(k, v)| (*k, v))).collect();
        let fields = Lines(fields);
        Ok(ManifestFields {
            root_catalog: fields.hash('C')?.ok_or(TrustError::IncompleteManifest('C'))?,
            catalog_size: fields.number('B')?,
            root_path: fields.text('R')?.ok_or(TrustError::IncompleteManifest('R'))?.to_owned(),
            ttl: fields.number('D')?.ok_or(TrustError::IncompleteManifest('D'))?,
            revision: fields.number('S')?.ok_or(TrustError::IncompleteManifest('S'))?,
            garbage_collectable: fields.text('G')? == Some("yes"),
            alternative_paths: fields.text('A')? == Some("yes"),
            micro_catalog: fields.hash('L')?,
            name: fields.text('N')?.map(str::to_owned),
            certificate: fields.hash('X')?,
            history: fields.hash('H')?,
            timestamp: fields.number('T')?,
            meta_info: fields.hash('M')?,
            reflog: fields.hash('Y')?,
        })
    }

    /// Whether the R field names the repository's root.
    pub fn is_about_the_root(&self) -> bool {
        self.root_path == ROOT_PATH_HASH
    }

    /// The text part in the official order of fields, ready to be sealed.
    pub fn to_text(&self) -> String {
        let yes_no = |yes| if yes { "yes" } else { "no" };
        let mut text = String::new();
        let mut line = |letter: char, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{letter}{value}");
        };
        line('C', &self.root_catalog);
        if let Some(size) = self.catalog_size {
            line('B', &size);
        }
        line('R', &self.root_path);
        line('D', &self.ttl);
        line('S', &self.revision);
        line('G', &yes_no(self.garbage_collectable));
        line('A', &yes_no(self.alternative_paths));
        let hash = |hash: &Option<ContentHash>| hash.map(|hash| hash.to_string());
        let optional = [
            ('L', hash(&self.micro_catalog)),
            ('N', self.name.clone()),
            ('X', hash(&self.certificate)),
            ('H', hash(&self.history)),
            ('T', self.timestamp.map(|seconds| seconds.to_string())),
            ('M', hash(&self.meta_info)),
            ('Y', hash(&self.reflog)),
        ];
        for (letter, value) in optional {
            if let Some(value) = value {
                line(letter, &value);
            }
        }
        text
    }
}

struct Lines<'a>(BTreeMap<u8, &'a [u8]>);

impl Lines<'_> {
    fn text(&self, field: char) -> Result<Option<&str>, TrustError> {
        let Some(value) = self.0.get(&(field as u8)) else { return Ok(None) };
        let malformed = |_| TrustError::ManifestField { field, reason: "it is not text".to_owned() };
        std::str::from_utf8(value).map(Some).map_err(malformed)
    }

    fn number(&self, field: char) -> Result<Option<u64>, TrustError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => {
                let shown: String = text.escape_debug().take(40).collect();
                Err(TrustError::ManifestField { field, reason: format!("'{shown}' is no decimal number below 2^64") })
            }
        }
    }

    fn hash(&self, field: char) -> Result<Option<ContentHash>, TrustError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        match ContentHash::parse(text) {
            Ok(hash) => Ok(Some(hash)),
            Err(HashError::Null) => Ok(None),
            Err(reason) => Err(TrustError::ManifestField { field, reason: reason.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: &str = "C0123456789abcdef0123456789abcdef01234567\nB1064960\nRd41d8cd98f00b204e9800998ecf8427e\nD240\n\
        S4711\nGyes\nAno\nL1123456789abcdef0123456789abcdef01234567\nNexample.cern.ch\n\
        X89abcdef0123456789abcdef0123456789abcdef-rmd160\nHfedcba9876543210fedcba9876543210fedcba98-shake128\n\
        T1700000000\nM2123456789abcdef0123456789abcdef01234567\nY3123456789abcdef0123456789abcdef01234567\n";

    #[test]
    fn text_survives_a_round_trip_byte_for_byte() {
        assert_eq!(ManifestFields::parse(FULL.as_bytes()).unwrap().to_text(), FULL);
        let short = "C0123456789abcdef0123456789abcdef01234567\nRd41d8cd98f00b204e9800998ecf8427e\nD1\nS2\nGno\nAno\n";
        assert_eq!(ManifestFields::parse(short.as_bytes()).unwrap().to_text(), short);
    }

    #[test]
    fn a_missing_required_field_is_named() {
        for field in ['C', 'R', 'D', 'S'] {
            let text: String = FULL.lines().filter(|line| !line.starts_with(field)).map(|l| format!("{l}\n")).collect();
            let result = ManifestFields::parse(text.as_bytes());
            assert!(matches!(result, Err(TrustError::IncompleteManifest(f)) if f == field), "{field}: {result:?}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        for bad in ["", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "1\r"] {
            for field in ['S', 'T', 'D', 'B'] {
                let text = format!("{FULL}{field}{bad}\n");
                let result = ManifestFields::parse(text.as_bytes());
                assert!(
                    matches!(result, Err(TrustError::ManifestField { field: f, .. }) if f == field),
                    "{field}{bad}"
                );
            }
        }
        let text = format!("{FULL}S18446744073709551615\n");
        assert_eq!(ManifestFields::parse(text.as_bytes()).unwrap().revision, u64::MAX);
    }

    #[test]
    fn the_last_of_equal_fields_counts_and_unknown_ones_do_not() {
        let fields = ManifestFields::parse(format!("{FULL}Zabc\nQxyz 1\n\nS5\n--\nS6\n").as_bytes()).unwrap();
        assert_eq!(fields.revision, 5);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
            let _ = ManifestFields::parse(&bytes);
            let mut text = FULL.as_bytes().to_vec();
            text.splice(at.min(text.len())..at.min(text.len()), bytes);
            let _ = ManifestFields::parse(&text);
        }
    }
}
