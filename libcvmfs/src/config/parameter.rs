//! What a parameter is: its name, its type, its defaults, and what becomes of it here.

/// How the text of a parameter is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// `yes`, `on`, `1`, `true` or `no`, `off`, `0`, `false`, in any case.
    Bool,
    /// A whole number.
    Integer,
    /// A whole number of seconds; negative counts as zero.
    Seconds,
    /// A whole number of minutes; negative counts as zero.
    Minutes,
    /// A whole number of megabytes (2^20 bytes); zero or less means no limit.
    Megabytes,
    /// The path of a file or directory.
    Path,
    /// Elements joined by this character.
    List(char),
    /// Proxy groups joined by `;`, whose members are joined by `|`.
    Proxies,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The word used in the documentation.
    pub fn name(self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Bool => "yes/no".into(),
            Kind::Integer => "number".into(),
            Kind::Seconds => "seconds".into(),
            Kind::Minutes => "minutes".into(),
            Kind::Megabytes => "MB".into(),
            Kind::Path => "path".into(),
            Kind::List(separator) => format!("list joined by '{separator}'"),
            Kind::Proxies => "proxy groups".into(),
            Kind::Choice(words) => words.join("/"),
        }
    }
}

/// What becomes of a parameter in this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It does what it does in the official client.
    Used,
    /// It does its job in a way that differs from the official client, as told.
    Different(&'static str),
    /// Accepted; there is nothing for it to change, for the reason told.
    NoEffect(&'static str),
    /// Accepted, but what it asks for is not done, for the reason told.
    NotSupported(&'static str),
    /// An addition of this client.
    Ours,
}

/// The chapter of the documentation a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Topic {
    /// Servers, keys and the choice of a revision.
    Repository,
    /// Which files are read and what they mean.
    Configuration,
    /// What the tree looks like to programs.
    Mount,
    /// The local cache.
    Cache,
    /// Proxies, hosts, time limits, retries.
    Network,
    /// Data outside the repository's own storage.
    External,
    /// Logs, traces and measurements.
    Logging,
    /// Set by the client itself.
    Internal,
}

impl Topic {
    /// The heading of the chapter.
    pub fn title(self) -> &'static str {
        match self {
            Topic::Repository => "Repository, trust and revision",
            Topic::Configuration => "Configuration",
            Topic::Mount => "Mount behaviour",
            Topic::Cache => "Cache",
            Topic::Network => "Network",
            Topic::External => "External data",
            Topic::Logging => "Logging, tracing and telemetry",
            Topic::Internal => "Set by the client",
        }
    }

    /// All chapters in their order.
    pub const ALL: [Topic; 8] = [
        Topic::Repository,
        Topic::Configuration,
        Topic::Mount,
        Topic::Cache,
        Topic::Network,
        Topic::External,
        Topic::Logging,
        Topic::Internal,
    ];
}

/// One parameter of the configuration. The constants of [`super::table`] are all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The official name; `<instance>` stands for the name of a cache instance.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// The chapter it belongs to.
    pub topic: Topic,
    /// What it does, in one sentence.
    pub meaning: &'static str,
    /// The official value when no file sets it.
    pub code_default: Option<&'static str>,
    /// The value in the official `default.conf`.
    pub file_default: Option<&'static str>,
    /// The value here when no file sets it and there is no `default.conf`; falls back to the official ones.
    pub own_default: Option<&'static str>,
    /// What becomes of it in this client.
    pub status: Status,
}

impl Parameter {
    /// A parameter that is used as in the official client and has no default.
    pub(super) const fn new(name: &'static str, kind: Kind, topic: Topic, meaning: &'static str) -> Parameter {
        Parameter {
            name,
            kind,
            topic,
            meaning,
            code_default: None,
            file_default: None,
            own_default: None,
            status: Status::Used,
        }
    }

    pub(super) const fn code(self, value: &'static str) -> Parameter {
        Parameter { code_default: Some(value), ..self }
    }

    pub(super) const fn file(self, value: &'static str) -> Parameter {
        Parameter { file_default: Some(value), ..self }
    }

    pub(super) const fn own(self, value: &'static str) -> Parameter {
        Parameter { own_default: Some(value), ..self }
    }

    pub(super) const fn is(self, status: Status) -> Parameter {
        Parameter { status, ..self }
    }

    /// The default on a machine with (`true`) or without an official `default.conf`.
    pub fn default_value(&self, with_default_conf: bool) -> Option<&'static str> {
        if with_default_conf { self.code_default } else { self.own_default.or(self.file_default).or(self.code_default) }
    }

    /// Whether `name` is this parameter, instance names included.
    pub fn matches(&self, name: &str) -> bool {
        match self.name.split_once("<instance>") {
            None => self.name == name,
            Some((prefix, suffix)) => {
                name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).is_some_and(is_instance_name)
            }
        }
    }
}

/// Whether `name` may name a cache instance: 1 to 24 characters `[A-Za-z0-9_]`.
pub fn is_instance_name(name: &str) -> bool {
    (1..=24).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
