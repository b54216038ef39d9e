//! Tokens: who may do what. A file holds their hashes; a token itself is seen once, when it is made.

use super::{note, path::RepositoryPath};
use crate::file_identity::FileIdentity;
use anyhow::{Context as _, Result, bail, ensure};
use libcvmfs::fqrn::Fqrn;
use parking_lot::Mutex;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// Begins every token, so that programs that look for secrets in the wrong places find it.
const PREFIX: &str = "cvmfs_";
/// Bytes of the name of a token.
const ID_BYTES: usize = 8;
/// Bytes of its secret: nobody guesses it, so a plain hash of it tells nobody anything.
const SECRET_BYTES: usize = 32;

/// A repository by its name, or all whose names end in something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether this repository is meant.
    pub fn matches(&self, fqrn: &Fqrn) -> bool {
        match self.0.strip_prefix('*') {
            Some(end) => fqrn.as_str().len() > end.len() && fqrn.as_str().ends_with(end),
            None => self.0 == fqrn.as_str(),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Pattern> {
        Fqrn::new(&text.replacen("*.", "x.", usize::from(text.starts_with("*."))))
            .with_context(|| format!("'{text}' is neither a repository nor '*.' with a domain"))?;
        Ok(Pattern(text))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

impl std::str::FromStr for Pattern {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Pattern> {
        Pattern::try_from(text.to_owned())
    }
}

/// Something that a token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "may")]
pub enum Right {
    /// Lease and publish a path and what is below it.
    Publish {
        /// Where.
        repository: Pattern,
        /// The highest path.
        path: RepositoryPath,
    },
    /// Add and remove tags.
    Tag {
        /// Where.
        repository: Pattern,
    },
    /// Collect garbage.
    Collect {
        /// Where.
        repository: Pattern,
    },
    /// Make repositories of these names.
    Create {
        /// Which.
        repository: Pattern,
    },
}

impl Right {
    fn repository(&self) -> &Pattern {
        match self {
            Right::Publish { repository, .. }
            | Right::Tag { repository }
            | Right::Collect { repository }
            | Right::Create { repository } => repository,
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Right::Publish { repository, path } => write!(f, "publish {}:{path}", repository.0),
            Right::Tag { repository } => write!(f, "tag {}", repository.0),
            Right::Collect { repository } => write!(f, "collect {}", repository.0),
            Right::Create { repository } => write!(f, "create {}", repository.0),
        }
    }
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name.
    pub id: String,
    /// On whose behalf it acts. Tokens of one group have leases and jobs in common.
    pub group: String,
    /// The SHA-256 of its secret.
    sha256: String,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// When it ends, seconds since 1970.
    pub expires: Option<u64>,
    /// What it allows.
    pub rights: Vec<Right>,
}

impl Token {
    /// Makes a token, and the text that its holder gets.
    pub fn new(group: &str, rights: Vec<Right>, now: u64, expires: Option<u64>) -> Result<(Token, String)> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        ensure!(
            !group.is_empty() && group.len() <= 64 && group.bytes().all(good),
            "'{}' is no name of a group: letters, digits and - _ . @ are allowed",
            group.escape_debug()
        );
        ensure!(!rights.is_empty(), "a token that allows nothing is of no use");
        let (id, secret) = (random(ID_BYTES)?, random(SECRET_BYTES)?);
        let text = format!("{PREFIX}{id}_{secret}");
        let sha256 = digest(&secret);
        Ok((Token { id, group: group.to_owned(), sha256, created: now, expires, rights }, text))
    }

    /// Whether it allows to publish at `path`.
    pub fn may_publish(&self, fqrn: &Fqrn, path: &RepositoryPath) -> bool {
        self.rights.iter().any(|right| match right {
            Right::Publish { repository, path: above } => repository.matches(fqrn) && above.contains(path),
            _ => false,
        })
    }

    /// Whether it allows to change tags.
    pub fn may_tag(&self, fqrn: &Fqrn) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Tag { repository } if repository.matches(fqrn)))
    }

    /// Whether it allows to collect garbage.
    pub fn may_collect(&self, fqrn: &Fqrn) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Collect { repository } if repository.matches(fqrn)))
    }

    /// Whether it allows to make this repository.
    pub fn may_create(&self, fqrn: &Fqrn) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Create { repository } if repository.matches(fqrn)))
    }

    /// Whether it allows anything with this repository.
    pub fn may_see(&self, fqrn: &Fqrn) -> bool {
        self.rights.iter().any(|right| right.repository().matches(fqrn))
    }
}

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    tokens: Vec<Token>,
}

/// A file of tokens.
pub struct Tokens {
    file: PathBuf,
    kept: Mutex<Option<(FileIdentity, Arc<Kept>)>>,
}

impl Tokens {
    /// The tokens in `file`, which is read when it is needed and when it changed.
    pub fn new(file: &Path) -> Tokens {
        Tokens { file: file.to_owned(), kept: Mutex::default() }
    }

    /// All of them.
    pub fn all(&self) -> Result<Vec<Token>> {
        Ok(self.kept()?.tokens.clone())
    }

    /// The token of this text, if it is valid at `now`.
    pub fn find(&self, text: &str, now: u64) -> Result<Option<Token>> {
        let kept = self.kept()?;
        let Some((id, secret)) = text.strip_prefix(PREFIX).and_then(|text| text.split_once('_')) else {
            return Ok(None);
        };
        let known = kept.tokens.iter().find(|token| token.id == id);
        // The name is no secret; the hashes are compared in the same time wherever they differ.
        let same = known.map(|token| bool::from(token.sha256.as_bytes().ct_eq(digest(secret).as_bytes())));
        let is_valid = |token: &&Token| token.expires.is_none_or(|end| now < end);
        Ok(known.filter(|_| same == Some(true)).filter(is_valid).cloned())
    }

    /// Adds a token.
    pub fn add(&self, token: Token) -> Result<()> {
        self.change(|tokens| {
            tokens.push(token);
            Ok(())
        })
    }

    /// Removes a token.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.id != id);
            ensure!(tokens.len() < before, "there is no token '{id}'");
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<()>) -> Result<()> {
        let _others = note::lock(&self.file)?;
        let mut tokens = if self.file.exists() { self.all()? } else { Vec::new() };
        change(&mut tokens)?;
        note::write(&self.file, &Kept { tokens })
    }

    fn kept(&self) -> Result<Arc<Kept>> {
        let context = || format!("the tokens in {}", self.file.display());
        let metadata = std::fs::metadata(&self.file).with_context(context)?;
        let identity = FileIdentity::from(&metadata);
        let mut kept = self.kept.lock();
        if let Some((known, kept)) = &*kept
            && *known == identity
        {
            return Ok(Arc::clone(kept));
        }
        if metadata.mode() & 0o077 != 0 {
            bail!("{} must be readable by its owner only: chmod 600", self.file.display());
        }
        let read = Arc::new(note::read::<Kept>(&self.file).with_context(context)?.unwrap_or_default());
        *kept = Some((identity, Arc::clone(&read)));
        Ok(read)
    }
}

/// So many random bytes, written as digits.
pub fn random(bytes: usize) -> Result<String> {
    let mut buffer = vec![0_u8; bytes];
    let filled = getrandom(&mut buffer, GetRandomFlags::empty()).context("random numbers")?;
    ensure!(filled == bytes, "there are not enough random numbers");
    Ok(hex(&buffer))
}

fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret))
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fqrn(name: &str) -> Fqrn {
        Fqrn::new(name).unwrap()
    }

    fn publish(repository: &str, path: &str) -> Right {
        Right::Publish { repository: repository.parse().unwrap(), path: path.parse().unwrap() }
    }

    #[test]
    fn rights_end_at_names() {
        let (token, _) = Token::new("g", vec![publish("a.example", "/sw/g")], 0, None).unwrap();
        let may = |name: &str, path: &str| token.may_publish(&fqrn(name), &path.parse().unwrap());
        assert!(may("a.example", "/sw/g") && may("a.example", "/sw/g/x/y"));
        for (name, path) in [("a.example", "/sw"), ("a.example", "/"), ("a.example", "/sw/gg"), ("b.example", "/sw/g")]
        {
            assert!(!may(name, path), "{name} {path}");
        }
        assert!(!token.may_tag(&fqrn("a.example")) && !token.may_collect(&fqrn("a.example")));
        assert!(token.may_see(&fqrn("a.example")) && !token.may_see(&fqrn("b.example")));
    }

    #[test]
    fn stars_stand_for_whole_labels() {
        let pattern: Pattern = "*.g.example".parse().unwrap();
        assert!(pattern.matches(&fqrn("a.g.example")) && pattern.matches(&fqrn("a.b.g.example")));
        assert!(!pattern.matches(&fqrn("ag.example")) && !pattern.matches(&fqrn("g.example")));
        for wrong in ["*", "*a.example", "a.*.example", "a", "", "a.example/x"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_whole_secret_of_a_valid_token_opens() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(&directory.path().join("tokens"));
        let (token, text) = Token::new("g", vec![publish("a.example", "/")], 5, Some(10)).unwrap();
        tokens.add(token.clone()).unwrap();
        assert_eq!(tokens.find(&text, 9).unwrap().as_ref(), Some(&token));
        assert_eq!(tokens.find(&text, 10).unwrap(), None);
        let (_, other) = Token::new("g", vec![publish("a.example", "/")], 5, None).unwrap();
        let swapped = format!("{PREFIX}{}_{}", token.id, other.rsplit('_').next().unwrap());
        for wrong in [&text[..text.len() - 1], &other, &swapped, "", "cvmfs_", "cvmfs__", &text[6..]] {
            assert_eq!(tokens.find(wrong, 9).unwrap(), None, "{wrong}");
        }
        let kept = std::fs::read_to_string(directory.path().join("tokens")).unwrap();
        assert!(!kept.contains(text.rsplit('_').next().unwrap()), "{kept}");
        tokens.remove(&token.id).unwrap();
        assert_eq!(tokens.find(&text, 9).unwrap(), None);
        assert!(tokens.remove(&token.id).is_err());
    }

    #[test]
    fn tokens_that_are_added_at_the_same_moment_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let (token, _) = Token::new("g", vec![publish("a.example", "/")], 5, None).unwrap();
                        Tokens::new(&file).add(token).unwrap();
                    }
                });
            }
        });
        assert_eq!(Tokens::new(&file).all().unwrap().len(), 40);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        let tokens = Tokens::new(&file);
        assert!(tokens.all().is_err(), "there is none");
        let (token, _) = Token::new("g", vec![publish("a.example", "/")], 5, None).unwrap();
        tokens.add(token).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Tokens::new(&file).all().unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
