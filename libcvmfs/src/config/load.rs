//! Files, environment and command line into one configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::effective::{Config, Source, Value};
use super::error::ConfigError;
use super::shell::{self, Facts, Files, MAX_FILE, Surroundings, Variable};
use super::{domains, table};
use crate::fqrn::Fqrn;

/// Version of the official client whose behaviour configuration files are told about.
const OFFICIAL_VERSION: &str = "2.12.0";
const OFFICIAL_VERSION_NUMERIC: &str = "21200";
const DEFAULT_MOUNT_DIR: &str = "/cvmfs";

/// Everything a configuration is made from. Nothing else is looked at.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Directories laid out as `/etc/cvmfs`; of the same file in several, the later ones are read later.
    pub roots: Vec<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// `-o KEY=VALUE`, in order.
    pub options: Vec<(String, String)>,
    /// Decides `$RANDOM` and the order of equals.
    pub random: u32,
}

impl Sources {
    /// `/etc/cvmfs`, `$XDG_CONFIG_HOME/cvmfs` (`~/.config/cvmfs`), the environment of this process, and `options`.
    pub fn system(options: Vec<(String, String)>) -> Sources {
        let environment: BTreeMap<String, String> =
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))).collect();
        let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let user = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let roots = [Some(PathBuf::from("/etc/cvmfs")), user.map(|u| u.join("cvmfs"))].into_iter().flatten().collect();
        Sources { roots, environment, options, random: std::process::id() }
    }

    /// Splits `KEY=VALUE`.
    pub fn option(text: &str) -> Result<(String, String), ConfigError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(ConfigError::NotAnOption(text.to_owned())),
        }
    }
}

/// The configuration repository, as far as configuration needs it. Paths start with `/`.
pub trait ConfigRepository {
    /// Content of a file; `None` when there is none.
    fn read(&self, path: &str) -> std::io::Result<Option<Vec<u8>>>;
    /// Names in a directory; empty when there is none.
    fn list(&self, directory: &str) -> std::io::Result<Vec<String>>;
}

/// A configuration repository to mount before the configuration of another repository is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedRepository {
    /// Its name. Its own configuration comes from [`Loader::load`] without a repository.
    pub fqrn: Fqrn,
    /// Whether nothing can be mounted without it.
    pub required: bool,
}

/// Loads configurations from [`Sources`].
///
/// In two steps where a configuration repository is involved: ask [`Loader::config_repository`], mount that one, and
/// hand it to [`Loader::load`]. When it cannot be mounted and is not required, `None` gives what is known without it.
#[derive(Debug, Clone)]
pub struct Loader {
    sources: Sources,
}

impl Loader {
    /// A loader of `sources`.
    pub fn new(sources: Sources) -> Loader {
        Loader { sources }
    }

    /// What it loads from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The repository `name` stands for: a name without a dot gets `CVMFS_DEFAULT_DOMAIN`.
    pub fn name(&self, name: &str) -> Result<Fqrn, ConfigError> {
        if name.contains('.') || name.is_empty() {
            return Ok(Fqrn::new(name)?);
        }
        let config = self.common_for(&Fqrn::new(&format!("{name}.invalid"))?)?;
        let domain = config.text(&table::DEFAULT_DOMAIN)?.ok_or_else(|| ConfigError::NoDomain(name.to_owned()))?;
        Ok(Fqrn::new(&format!("{name}.{domain}"))?)
    }

    /// What holds for all repositories: mount directory, default domain, the list of repositories.
    pub fn common(&self) -> Result<Config, ConfigError> {
        self.common_for(&Fqrn::new("all.invalid")?)
    }

    fn common_for(&self, fqrn: &Fqrn) -> Result<Config, ConfigError> {
        let mut state = State::new(self, fqrn, None);
        state.evaluate_roots(&Step::defaults())?;
        state.evaluate_roots(&[Step::File("default.local".into())])?;
        state.finish()
    }

    /// The configuration repository to mount before `fqrn`, if any.
    ///
    /// It is the one that `default.conf`, `default.d`, environment or command line name. None of them naming one, and
    /// without any `default.conf`, it is the public one, but only for a repository that nothing else describes.
    pub fn config_repository(&self, fqrn: &Fqrn) -> Result<Option<RequestedRepository>, ConfigError> {
        let mut state = State::new(self, fqrn, None);
        state.evaluate_roots(&Step::defaults())?;
        let requested = state.requested()?;
        let complete = |state: &State| {
            let set = |name: &str| state.values.get(name).is_some_and(|v| !v.text.is_empty());
            set(table::SERVER_URL.name) && (set(table::PUBLIC_KEY.name) || set(table::KEYS_DIR.name))
        };
        if let Some(name) = requested {
            let required = state.switch(&table::CONFIG_REPO_REQUIRED)?;
            let described_by_user = complete(&State::new(self, fqrn, None));
            return Ok((name != *fqrn && (required || !described_by_user))
                .then_some(RequestedRepository { fqrn: name, required }));
        }
        if state.with_default_conf
            || state.values.contains_key(table::CONFIG_REPOSITORY.name)
            || domains::find(fqrn).is_some()
        {
            return Ok(None);
        }
        state.evaluate_roots(&Step::of_repository(fqrn))?;
        if state.values.get(table::SERVER_URL.name).is_some_and(|v| !v.text.is_empty()) {
            return Ok(None);
        }
        Ok(Some(RequestedRepository { fqrn: Fqrn::new(domains::config_repository())?, required: false }))
    }

    /// The configuration of `fqrn`, with the files of the configuration repository where one is given.
    pub fn load(&self, fqrn: &Fqrn, repository: Option<&dyn ConfigRepository>) -> Result<Config, ConfigError> {
        let requested = self.config_repository(fqrn)?;
        match (&requested, repository) {
            (Some(RequestedRepository { fqrn: name, required: true }), None) => {
                return Err(ConfigError::RepositoryRequired(name.to_string()));
            }
            (Some(requested), Some(_)) => log::debug!("{fqrn}: configuration repository {}", requested.fqrn),
            _ => {}
        }
        let name = requested.map(|r| r.fqrn);
        let mut state = State::new(self, fqrn, name.zip(repository));
        state.evaluate_roots(&Step::defaults())?;
        // From here on the choice of the configuration repository is settled.
        state.fixed.insert(table::CONFIG_REPOSITORY.name.into());
        state.evaluate_repository("default.conf")?;
        state.evaluate_roots(&[Step::File("default.local".into())])?;
        let [domain_conf, domain_local] = ["conf", "local"].map(|end| format!("domain.d/{}.{end}", fqrn.domain()));
        state.evaluate_repository(&domain_conf)?;
        state.evaluate_roots(&[Step::File(domain_conf), Step::File(domain_local)])?;
        let [own_conf, own_local] = ["conf", "local"].map(|end| format!("config.d/{fqrn}.{end}"));
        state.evaluate_repository(&own_conf)?;
        state.evaluate_roots(&[Step::File(own_conf), Step::File(own_local)])?;
        state.finish()
    }
}

/// Files that are read one after the other in each root.
enum Step {
    File(String),
    /// All `*.conf` of a directory, by name.
    Directory(&'static str),
}

impl Step {
    fn defaults() -> [Step; 2] {
        [Step::File("default.conf".into()), Step::Directory("default.d")]
    }

    fn of_repository(fqrn: &Fqrn) -> Vec<Step> {
        let (domain, file) = (fqrn.domain(), |name: String| Step::File(name));
        vec![
            file("default.local".into()),
            file(format!("domain.d/{domain}.conf")),
            file(format!("domain.d/{domain}.local")),
            file(format!("config.d/{fqrn}.conf")),
            file(format!("config.d/{fqrn}.local")),
        ]
    }
}

/// A configuration in the making.
struct State<'a> {
    sources: &'a Sources,
    fqrn: Fqrn,
    files: Tree<'a>,
    values: BTreeMap<String, Value>,
    fixed: BTreeSet<String>,
    warnings: Vec<String>,
    with_default_conf: bool,
}

impl<'a> State<'a> {
    fn new(loader: &'a Loader, fqrn: &Fqrn, repository: Option<(Fqrn, &'a dyn ConfigRepository)>) -> State<'a> {
        let sources = &loader.sources;
        let mut values = BTreeMap::new();
        let client = |text: &str| Value::new(text, Source::BuiltIn("client"));
        values.insert(table::MOUNT_DIR.name.to_owned(), client(DEFAULT_MOUNT_DIR));
        let from_environment =
            |name: &str| name.starts_with("CVMFS_") || name.starts_with("X509_CERT_") || name.starts_with("_CVMFS_");
        for (name, text) in sources.environment.iter().filter(|(name, _)| from_environment(name)) {
            values.insert(name.clone(), Value::new(text, Source::Environment));
        }
        for (name, text) in &sources.options {
            values.insert(name.clone(), Value::new(text, Source::CommandLine));
        }
        values.insert(table::FQRN.name.to_owned(), client(fqrn.as_str()));
        values.insert(table::VERSION.name.to_owned(), client(OFFICIAL_VERSION));
        values.insert(table::VERSION_NUMERIC.name.to_owned(), client(OFFICIAL_VERSION_NUMERIC));
        let fixed =
            values.iter().filter(|(_, v)| !matches!(v.source, Source::BuiltIn(_))).map(|(n, _)| n.clone()).collect();
        let mount_dir = values[table::MOUNT_DIR.name].text.clone();
        let repository = repository.map(|(name, files)| {
            let root = Path::new(&mount_dir).join(name.as_str());
            Mounted { name, root, files }
        });
        State {
            sources,
            fqrn: fqrn.clone(),
            files: Tree { repository },
            values,
            fixed,
            warnings: Vec::new(),
            with_default_conf: false,
        }
    }

    fn evaluate_roots(&mut self, steps: &[Step]) -> Result<(), ConfigError> {
        for step in steps {
            for root in &self.sources.roots {
                match step {
                    Step::File(name) => {
                        let found = self.evaluate(&root.join(name))?;
                        self.with_default_conf |= found && name == "default.conf";
                    }
                    Step::Directory(name) => {
                        for file in conf_files(&root.join(name))? {
                            self.evaluate(&file)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate_repository(&mut self, name: &str) -> Result<(), ConfigError> {
        let Some(file) = self.files.repository.as_ref().map(|r| r.root.join("etc/cvmfs").join(name)) else {
            return Ok(());
        };
        self.evaluate(&file).map(drop)
    }

    /// Evaluates one file; false when there is none.
    fn evaluate(&mut self, file: &Path) -> Result<bool, ConfigError> {
        let content =
            self.files.read(file).map_err(|cause| ConfigError::Unreadable { path: file.to_owned(), cause })?;
        let Some(content) = content else { return Ok(false) };
        let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
        for (name, text) in &self.sources.environment {
            variables.insert(name.clone(), Variable { text: text.clone(), ..Variable::default() });
        }
        for (name, value) in &self.values {
            let needs = value.needs.clone();
            variables.insert(name.clone(), Variable { text: value.text.clone(), assigned: None, needs });
        }
        let start = Surroundings { variables, fixed: self.fixed.clone(), random: self.sources.random };
        let mut outcome = shell::evaluate(file, &content, start, &self.files)?;
        for name in outcome.parameters {
            if let Some(Variable { text, assigned: Some((path, line)), needs }) = outcome.variables.remove(&name) {
                self.values.insert(name, Value { text, source: Source::File { path, line }, needs });
            }
        }
        self.warnings.append(&mut outcome.warnings);
        Ok(true)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|v| v.text.as_str()).filter(|t| !t.is_empty())
    }

    fn requested(&self) -> Result<Option<Fqrn>, ConfigError> {
        Ok(self.text(table::CONFIG_REPOSITORY.name).map(Fqrn::new).transpose()?)
    }

    fn switch(&self, parameter: &super::Parameter) -> Result<bool, ConfigError> {
        let mut config = self.config();
        config.values.clone_from(&self.values);
        config.on(parameter)
    }

    fn config(&self) -> Config {
        Config {
            fqrn: self.fqrn.clone(),
            values: BTreeMap::new(),
            environment: self.sources.environment.clone(),
            with_default_conf: self.with_default_conf,
            roots: self.sources.roots.clone(),
            warnings: Vec::new(),
            repository: None,
            repository_files: BTreeMap::new(),
        }
    }

    /// Fills in what is built in, expands templates, and fetches keys and blacklist of the configuration repository.
    fn finish(mut self) -> Result<Config, ConfigError> {
        self.fill_in_domain()?;
        for value in self.values.values_mut() {
            value.text = value.text.replace("@fqrn@", self.fqrn.as_str()).replace("@org@", self.fqrn.org());
        }
        let mut config = self.config();
        if let Some(repository) = &self.files.repository {
            config.repository = Some(repository.name.clone());
            let mut wanted = vec![repository.root.join("etc/cvmfs/blacklist")];
            wanted.extend(self.text(table::PUBLIC_KEY.name).unwrap_or_default().split(':').map(PathBuf::from));
            if let Some(directory) = self.text(table::KEYS_DIR.name) {
                let directory = Path::new(directory);
                if let Some(inside) = repository.inside(directory) {
                    let names = repository
                        .files
                        .list(&inside)
                        .map_err(|cause| ConfigError::KeyUnreadable { path: directory.to_owned(), cause })?;
                    wanted.extend(names.iter().filter(|n| n.ends_with(".pub")).map(|n| directory.join(n)));
                }
            }
            for path in wanted {
                let Some(inside) = repository.inside(&path) else { continue };
                let content = repository
                    .files
                    .read(&inside)
                    .map_err(|cause| ConfigError::KeyUnreadable { path: path.clone(), cause })?;
                if let Some(content) = content {
                    config.repository_files.insert(path, content);
                }
            }
        }
        config.values = self.values;
        config.warnings = self.warnings;
        Ok(config)
    }

    /// Servers, proxies and the like that nothing sets, as the public configuration would set them.
    fn fill_in_domain(&mut self) -> Result<(), ConfigError> {
        let domain = domains::find(&self.fqrn);
        let profile = match self.text(table::CLIENT_PROFILE.name) {
            Some(profile) => profile.to_owned(),
            None if !self.with_default_conf && domain.is_some() => "single".to_owned(),
            None => String::new(),
        };
        if self.text(table::HTTP_PROXY.name).is_none() {
            let of_repository = self.requested()?.as_ref() == Some(&self.fqrn);
            if of_repository {
                self.built_in(&table::HTTP_PROXY, "configuration repository", "DIRECT".into());
            } else if profile == "single" {
                self.built_in(&table::HTTP_PROXY, "client profile single", "auto;DIRECT".into());
            }
        }
        let proxies = self.text(table::HTTP_PROXY.name).unwrap_or_default().to_owned();
        if proxies.split(';').any(|group| group == "auto") && self.text(table::PAC_URLS.name).is_none() {
            self.built_in(&table::PAC_URLS, "public PAC files", domains::pac_urls(self.sources.random));
        }
        let Some(domain) = domain.filter(|_| self.text(table::SERVER_URL.name).is_none()) else { return Ok(()) };
        let cdn = match self.text(table::USE_CDN.name) {
            Some(_) => self.switch(&table::USE_CDN)?,
            None => matches!(proxies.as_str(), "DIRECT" | "auto;DIRECT"),
        };
        const ORIGIN: &str = "public domain";
        self.built_in(&table::SERVER_URL, ORIGIN, domain.server_url(cdn));
        if self.text(table::USE_GEOAPI.name).is_none() && domain.geo_api() {
            self.built_in(&table::USE_GEOAPI, ORIGIN, "yes".into());
        }
        // An empty list on the command line or in the environment means none.
        let open = !self.fixed.contains(table::FALLBACK_PROXY.name) && self.text(table::FALLBACK_PROXY.name).is_none();
        if let Some(fallback) = domain.fallback_proxies().filter(|_| open && !cdn && profile != "custom") {
            self.built_in(&table::FALLBACK_PROXY, ORIGIN, fallback);
        }
        Ok(())
    }

    fn built_in(&mut self, parameter: &super::Parameter, what: &'static str, text: String) {
        self.values.insert(parameter.name.to_owned(), Value::new(text, Source::BuiltIn(what)));
    }
}

/// The local file system with the configuration repository in its place below the mount directory.
struct Tree<'a> {
    repository: Option<Mounted<'a>>,
}

struct Mounted<'a> {
    name: Fqrn,
    root: PathBuf,
    files: &'a dyn ConfigRepository,
}

impl Mounted<'_> {
    /// The path inside the repository of a path below the mount directory.
    fn inside(&self, path: &Path) -> Option<String> {
        let inside = lexical(path).strip_prefix(&self.root).ok()?.to_str()?.to_owned();
        Some(format!("/{inside}"))
    }
}

impl Files for Tree<'_> {
    fn read(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
        match self.repository.as_ref().and_then(|r| Some((r, r.inside(path)?))) {
            Some((repository, inside)) => repository.files.read(&inside),
            None => read_bounded(path),
        }
    }

    fn facts(&self, path: &Path) -> Option<Facts> {
        if let Some((repository, inside)) = self.repository.as_ref().and_then(|r| Some((r, r.inside(path)?))) {
            if let Ok(Some(content)) = repository.files.read(&inside) {
                return Some(Facts { directory: false, regular: true, size: content.len() as u64, mode: 0o444 });
            }
            let names = repository.files.list(&inside).unwrap_or_default();
            return (!names.is_empty()).then_some(Facts { directory: true, regular: false, size: 0, mode: 0o555 });
        }
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Facts {
            directory: metadata.is_dir(),
            regular: metadata.is_file(),
            size: metadata.len(),
            mode: metadata.permissions().mode() & 0o7777,
        })
    }
}

/// Content of a file up to just above the limit that the evaluator refuses.
pub(super) fn read_bounded(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut content)?;
    Ok(Some(content))
}

fn conf_files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { path: directory.to_owned(), cause };
    let mut files = Vec::new();
    match std::fs::read_dir(directory) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
        Err(cause) => return Err(unreadable(cause)),
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(unreadable)?.path();
                let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
                if !hidden && path.extension().is_some_and(|e| e == "conf") {
                    files.push(path);
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `path` without `.` and `..`, by its text alone.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
