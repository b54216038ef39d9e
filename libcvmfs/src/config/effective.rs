//! The configuration of one repository: every value with its source, read through typed parameters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::parameter::{Kind, Parameter};
use super::table;
use crate::fqrn::Fqrn;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A line of a configuration file.
    File {
        /// The file; files of the configuration repository are named by their path below the mount directory.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
    },
    /// The environment of the process.
    Environment,
    /// `-o KEY=VALUE`.
    CommandLine,
    /// Built in, as told.
    BuiltIn(&'static str),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment => f.write_str("environment"),
            Source::CommandLine => f.write_str("command line"),
            Source::BuiltIn(what) => write!(f, "built in: {what}"),
        }
    }
}

/// The text of a parameter and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text after expansion of variables and templates.
    pub text: String,
    /// Where it was set.
    pub source: Source,
    /// The command whose output would be part of the text, with its place.
    pub(super) needs: Option<String>,
}

impl Value {
    pub(super) fn new(text: impl Into<String>, source: Source) -> Value {
        Value { text: text.into(), source, needs: None }
    }
}

/// The configuration of one repository.
///
/// An empty text counts as not set, everywhere.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) fqrn: Fqrn,
    pub(super) values: BTreeMap<String, Value>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) with_default_conf: bool,
    pub(super) roots: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
    /// Configuration repository whose files took part, or would have.
    pub(super) repository: Option<Fqrn>,
    /// Keys and blacklist of the configuration repository: path below the mount directory, content.
    pub(super) repository_files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Config {
    /// The repository this configuration is for.
    pub fn fqrn(&self) -> &Fqrn {
        &self.fqrn
    }

    /// All values that are set, defaults of single parameters left out, in order of their names.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// What was noticed while reading files, each with its place: commands that were not run.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The value of `name` with its source, for parameters that are set and not empty.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|v| !v.text.is_empty() || v.needs.is_some())
    }

    /// The default that applies to `parameter` when nothing sets it.
    pub fn default_of(&self, parameter: &Parameter) -> Option<&'static str> {
        parameter.default_value(self.with_default_conf)
    }

    /// The text of a parameter, its default included.
    pub fn text(&self, parameter: &Parameter) -> Result<Option<&str>, ConfigError> {
        match self.value(parameter.name) {
            None => Ok(self.default_of(parameter)),
            Some(Value { needs: Some(command), source, .. }) => Err(ConfigError::NeedsCommand {
                name: parameter.name.into(),
                command: command.clone(),
                origin: source.clone(),
            }),
            Some(value) => Ok(Some(&value.text)),
        }
    }

    /// The text of a parameter that has to be set; `hint` tells what to do when it is not.
    pub fn require(&self, parameter: &Parameter, hint: &'static str) -> Result<&str, ConfigError> {
        self.text(parameter)?.ok_or_else(|| ConfigError::Missing {
            name: parameter.name,
            fqrn: self.fqrn.to_string(),
            hint,
        })
    }

    /// Whether a yes/no parameter is on; off when it is not set and has no default.
    pub fn on(&self, parameter: &Parameter) -> Result<bool, ConfigError> {
        self.switch(parameter).map(|on| on.unwrap_or(false))
    }

    /// A yes/no parameter, `None` when it is not set and has no default.
    pub fn switch(&self, parameter: &Parameter) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(parameter)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" | "true" => Ok(Some(true)),
            "no" | "off" | "0" | "false" => Ok(Some(false)),
            _ => Err(self.not_of_type(parameter, text, "yes or no".into())),
        }
    }

    /// A number.
    pub fn integer(&self, parameter: &Parameter) -> Result<Option<i64>, ConfigError> {
        let Some(text) = self.text(parameter)? else { return Ok(None) };
        let number = text.trim().parse().map_err(|_| self.not_of_type(parameter, text, "a whole number".into()))?;
        Ok(Some(number))
    }

    /// A span of time in the unit of the parameter (seconds, or minutes for [`Kind::Minutes`]); negative is zero.
    pub fn duration(&self, parameter: &Parameter) -> Result<Option<Duration>, ConfigError> {
        let unit = if parameter.kind == Kind::Minutes { 60 } else { 1 };
        let seconds = self.integer(parameter)?.map(|n| u64::try_from(n).unwrap_or(0).saturating_mul(unit));
        Ok(seconds.map(Duration::from_secs))
    }

    /// A size given in megabytes, in bytes; `None` when not set or not limited (zero or less).
    pub fn bytes(&self, parameter: &Parameter) -> Result<Option<u64>, ConfigError> {
        let megabytes = self.integer(parameter)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        Ok(megabytes.map(|n| n.saturating_mul(1 << 20)))
    }

    /// A path.
    pub fn path(&self, parameter: &Parameter) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.text(parameter)?.map(PathBuf::from))
    }

    /// The elements of a list, empty ones left out. Parameters that are no list have one element.
    pub fn list(&self, parameter: &Parameter) -> Result<Vec<String>, ConfigError> {
        let Some(text) = self.text(parameter)? else { return Ok(Vec::new()) };
        Ok(match parameter.kind {
            Kind::List(separator) => text.split(separator).filter(|e| !e.is_empty()).map(str::to_owned).collect(),
            Kind::Proxies => text.split(';').map(str::to_owned).collect(),
            _ => vec![text.to_owned()],
        })
    }

    /// One of the words of a [`Kind::Choice`].
    pub fn choice(&self, parameter: &Parameter) -> Result<Option<&'static str>, ConfigError> {
        let Some(text) = self.text(parameter)? else { return Ok(None) };
        let Kind::Choice(words) = parameter.kind else { return Ok(None) };
        let word = words.iter().find(|w| w.eq_ignore_ascii_case(text));
        word.copied().map(Some).ok_or_else(|| self.not_of_type(parameter, text, format!("one of {}", words.join(", "))))
    }

    /// Whether the value of `parameter` is of its type.
    pub fn verify(&self, parameter: &Parameter) -> Result<(), ConfigError> {
        match parameter.kind {
            Kind::Bool => self.switch(parameter).map(drop),
            Kind::Integer | Kind::Seconds | Kind::Minutes | Kind::Megabytes => self.integer(parameter).map(drop),
            Kind::Choice(_) => self.choice(parameter).map(drop),
            Kind::Text | Kind::Path | Kind::List(_) | Kind::Proxies => self.text(parameter).map(drop),
        }
    }

    /// Host chain of the repository: base URLs in order.
    ///
    /// Fails when nothing names a server.
    pub fn servers(&self) -> Result<Vec<String>, ConfigError> {
        self.require(
            &table::SERVER_URL,
            "its domain is not built in, so name its servers, for example -o CVMFS_SERVER_URL=http://HOST/cvmfs/@fqrn@",
        )?;
        self.list(&table::SERVER_URL)
    }

    /// Proxy groups in the official grammar.
    ///
    /// Fails when nothing names a proxy: going without one has to be said.
    pub fn proxies(&self) -> Result<&str, ConfigError> {
        self.require(
            &table::HTTP_PROXY,
            "name the proxies of the site (http://HOST:3128), 'auto;DIRECT' to find them, or DIRECT to use none",
        )
    }

    /// The directory that holds the objects: `CVMFS_CACHE_DIR`, or `shared` or the repository's name below `CVMFS_CACHE_BASE`.
    ///
    /// The system-wide directory of a shipped default.conf is replaced by the user's own when this user cannot write there.
    pub fn cache_directory(&self) -> Result<PathBuf, ConfigError> {
        if let Some(directory) = self.path(&table::CACHE_DIR)? {
            return Ok(directory);
        }
        let base = self.cache_base()?;
        let shared = self.switch(&table::CACHE_SHARED)?.map_or_else(|| self.on(&table::SHARED_CACHE), Ok)?;
        Ok(if shared { base.join("shared") } else { base.join(self.fqrn.as_str()) })
    }

    /// The root of the cache: `CVMFS_CACHE_BASE`, or the user's own cache directory.
    pub fn cache_base(&self) -> Result<PathBuf, ConfigError> {
        let shipped = Path::new("/var/lib/cvmfs");
        let own = || user_cache(&self.environment);
        let Some(value) = self.value(table::CACHE_BASE.name) else { return Ok(own()) };
        let base = self.path(&table::CACHE_BASE)?.unwrap_or_else(own);
        let from_file = matches!(value.source, Source::File { .. });
        if from_file && base.starts_with(shipped) && !writable(&base) {
            let below = base.strip_prefix(shipped).unwrap_or(Path::new(""));
            return Ok(if below.as_os_str().is_empty() { own() } else { own().join(below) });
        }
        Ok(base)
    }

    /// The user's own cache directory, whatever is configured.
    pub fn user_cache(&self) -> PathBuf {
        user_cache(&self.environment)
    }

    /// What variables in symbolic links see: the environment, all parameters, and `CVMFS_ARCH`.
    pub fn environment_for_symlinks(&self) -> BTreeMap<String, String> {
        let mut names = self.environment.clone();
        names.entry("CVMFS_ARCH".into()).or_insert_with(|| std::env::consts::ARCH.into());
        names.extend(self.values.iter().map(|(name, value)| (name.clone(), value.text.clone())));
        names
    }

    /// The configuration repository named by this configuration.
    pub fn repository(&self) -> Option<&Fqrn> {
        self.repository.as_ref()
    }

    fn not_of_type(&self, parameter: &Parameter, text: &str, expected: String) -> ConfigError {
        let origin = self.value(parameter.name).map_or(Source::BuiltIn("default"), |v| v.source.clone());
        ConfigError::NotOfType { name: parameter.name.into(), text: text.to_owned(), expected, origin }
    }
}

/// `$XDG_CACHE_HOME/cvmfs`, or `~/.cache/cvmfs`, or a directory below `/tmp` for a user without a home.
pub(super) fn user_cache(environment: &BTreeMap<String, String>) -> PathBuf {
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
        (Some(cache), _) => cache.join("cvmfs"),
        (None, Some(home)) => home.join(".cache/cvmfs"),
        (None, None) => {
            let user = environment.get("USER").map_or("nobody", String::as_str);
            std::env::temp_dir().join(format!("cvmfs-{}", user.replace('/', "_")))
        }
    }
}

/// Whether this process may write to `path`, or to the closest parent that exists.
fn writable(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Some(existing) = path.ancestors().find(|p| p.exists()) else { return false };
    let Ok(name) = std::ffi::CString::new(existing.as_os_str().as_bytes()) else { return false };
    // SAFETY: `name` is a NUL-terminated string that lives over the call.
    unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}
