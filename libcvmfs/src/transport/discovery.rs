//! Finding proxies: the group `auto`, `CVMFS_PAC_URLS`, WPAD.
//!
//! The script of a PAC file is JavaScript; whoever wants it evaluated brings an engine as a [`PacEvaluator`].

use super::proxy_list::{ProxyGroup, ProxyList, ProxyListError, ProxySpec};
use super::request::Request;
use super::settings::Settings;
use super::{Transport, TransportError, host_chain::Host};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where `auto` inside `CVMFS_PAC_URLS` points.
const WPAD_URL: &str = "http://wpad/wpad.dat";
/// A longer script is refused.
const MAX_PAC_BYTES: u64 = 1024 * 1024;

/// Why no proxies could be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Nothing was found, nothing is remembered, and nothing else is configured.
    #[error("proxy auto-discovery failed: {0}")]
    NothingFound(String),
    /// What was found is no list of proxies.
    #[error("proxy auto-discovery: {0}")]
    Malformed(#[from] ProxyListError),
}

/// Evaluates PAC scripts.
pub trait PacEvaluator {
    /// Calls `FindProxyForURL(url, host)` of a script and returns its text, such as `PROXY a:3128; DIRECT`.
    fn find_proxy(&self, script: &str, url: &str, host: &str) -> Result<String, String>;
}

/// What discovery starts from.
#[derive(Debug, Clone, Default)]
pub struct DiscoverySettings {
    /// Environment variable `http_proxy`.
    pub http_proxy: Option<String>,
    /// `CVMFS_PAC_URLS`.
    pub pac_urls: Option<String>,
    /// File that remembers the last successful outcome (`proxies.<repository>` in the workspace).
    pub memory: Option<PathBuf>,
}

/// Replaces every `auto` of both proxy lists of the settings by what can be found out now. Settings without `auto`
/// are left alone. `evaluator` is needed only if there are `pac_urls` and no `http_proxy`.
pub fn discover(
    settings: &mut Settings,
    discovery: &DiscoverySettings,
    evaluator: Option<&dyn PacEvaluator>,
) -> Result<(), DiscoveryError> {
    if !settings.proxies.has_auto() && !settings.fallback_proxies.has_auto() {
        return Ok(());
    }
    let found = find(settings, discovery, evaluator);
    if settings.proxies.has_auto() {
        let remembered = discovery.memory.as_deref();
        settings.proxies = match &found {
            Ok(groups) => {
                let list = replace_auto(&settings.proxies, groups);
                if let Some(path) = remembered
                    && let Err(error) = store(path, &list)
                {
                    log::warn!("remembering the discovered proxies in {}: {error}", path.display());
                }
                list
            }
            Err(reason) => match remembered.map(load) {
                Some(Ok(list)) => {
                    log::warn!("proxy auto-discovery failed ({reason}); using the remembered proxies {list}");
                    list
                }
                _ => {
                    log::warn!("proxy auto-discovery failed ({reason}); the group 'auto' is dropped");
                    replace_auto(&settings.proxies, &[])
                }
            },
        };
        if settings.proxies.groups.is_empty() {
            let reason = found.err().unwrap_or_else(|| "nothing was found".to_owned());
            return Err(DiscoveryError::NothingFound(reason));
        }
    }
    if settings.fallback_proxies.has_auto() {
        let groups = found_groups(settings, discovery, evaluator);
        settings.fallback_proxies = replace_auto(&settings.fallback_proxies, &groups);
    }
    Ok(())
}

fn found_groups(
    settings: &Settings,
    discovery: &DiscoverySettings,
    evaluator: Option<&dyn PacEvaluator>,
) -> Vec<ProxyGroup> {
    find(settings, discovery, evaluator).unwrap_or_default()
}

fn replace_auto(list: &ProxyList, found: &[ProxyGroup]) -> ProxyList {
    let mut groups = Vec::new();
    for group in &list.groups {
        match group {
            ProxyGroup::Auto => groups.extend_from_slice(found),
            ProxyGroup::Members(_) => groups.push(group.clone()),
        }
    }
    ProxyList { groups }
}

fn find(
    settings: &Settings,
    discovery: &DiscoverySettings,
    evaluator: Option<&dyn PacEvaluator>,
) -> Result<Vec<ProxyGroup>, String> {
    if let Some(environment) = discovery.http_proxy.as_deref().filter(|value| !value.trim().is_empty()) {
        let list = ProxyList::parse_named(environment, "http_proxy").map_err(|error| error.to_string())?;
        if list.has_auto() {
            return Err("http_proxy cannot be auto".to_owned());
        }
        return Ok(list.groups);
    }
    let urls = discovery.pac_urls.as_deref().unwrap_or_default();
    let mut reason = "neither http_proxy nor CVMFS_PAC_URLS is set".to_owned();
    for url in urls.split(';').map(str::trim).filter(|url| !url.is_empty()) {
        let url = if url == "auto" { WPAD_URL } else { url };
        let Some(evaluator) = evaluator else {
            return Err("PAC files cannot be evaluated by this program".to_owned());
        };
        match download(settings, url).and_then(|script| evaluate(&script, &settings.hosts, evaluator)) {
            Ok(groups) => {
                log::info!("proxies from {url}: {}", ProxyList { groups: groups.clone() });
                return Ok(groups);
            }
            Err(error) => {
                log::warn!("PAC file {url}: {error}");
                reason = format!("{url}: {error}");
            }
        }
    }
    Err(reason)
}

/// The proxies for every host of the chain, in order, each once.
fn evaluate(script: &str, hosts: &[String], evaluator: &dyn PacEvaluator) -> Result<Vec<ProxyGroup>, String> {
    let mut groups: Vec<ProxyGroup> = Vec::new();
    for url in hosts {
        let host = Host::parse(url).map_err(|error| error.to_string())?;
        let Some(authority) = &host.authority else { continue };
        let answer = evaluator.find_proxy(script, &format!("{}/.cvmfspublished", host.url), &authority.name)?;
        for group in convert(&answer)? {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
    }
    // "Without proxy" for one host must not come before the proxies of another.
    let direct = ProxyGroup::Members(vec![ProxySpec::Direct]);
    if let Some(position) = groups.iter().position(|group| *group == direct) {
        let last = groups.remove(position);
        groups.push(last);
    }
    if groups.is_empty() { Err("the script names no proxy that can be used".to_owned()) } else { Ok(groups) }
}

/// `PROXY a:1; PROXY b:2; DIRECT` to groups of one member each.
fn convert(answer: &str) -> Result<Vec<ProxyGroup>, String> {
    let mut groups = Vec::new();
    for entry in answer.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (kind, address) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        match kind.to_ascii_uppercase().as_str() {
            "DIRECT" => groups.push(ProxyGroup::Members(vec![ProxySpec::Direct])),
            "PROXY" | "HTTP" => {
                let list = ProxyList::parse_named(address.trim(), "PAC file").map_err(|error| error.to_string())?;
                let is_one_proxy = matches!(&list.groups[..], [ProxyGroup::Members(members)]
                    if matches!(members[..], [ProxySpec::Http(_)]));
                if !is_one_proxy {
                    return Err(format!("'{}' is not one proxy", entry.escape_debug()));
                }
                groups.extend(list.groups);
            }
            "SOCKS" | "SOCKS4" | "SOCKS5" | "HTTPS" => log::info!("PAC file: skipping '{entry}'"),
            _ => return Err(format!("'{}' is not understood", entry.escape_debug())),
        }
    }
    Ok(groups)
}

fn download(settings: &Settings, url: &str) -> Result<String, String> {
    let host = Host::parse(url).map_err(|error| error.to_string())?;
    let base = match &host.authority {
        Some(authority) => format!("{}://{authority}", host.scheme.name()),
        None => "file:///".to_owned(),
    };
    let direct = Settings {
        hosts: vec![base],
        proxies: ProxyList::direct(),
        fallback_proxies: ProxyList::default(),
        follow_redirects: true,
        failover_indefinitely: false,
        ..settings.clone()
    };
    let path = if host.base_path.is_empty() { "/" } else { &host.base_path };
    let mut script = Vec::new();
    Transport::new(direct)
        .and_then(|transport| transport.fetch(&Request::new(path, MAX_PAC_BYTES), &mut script))
        .map_err(|error: TransportError| error.to_string())?;
    String::from_utf8(script).map_err(|_| "not a text".to_owned())
}

fn store(path: &Path, list: &ProxyList) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // Passwords are left out of the text form; such a list is not remembered at all.
    if list.to_string().parse_back().as_ref() != Some(list) {
        return Ok(());
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o660).open(&temporary)?;
    file.write_all(list.to_string().as_bytes())?;
    std::fs::rename(&temporary, path)
}

fn load(path: &Path) -> Result<ProxyList, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.trim_end().to_owned().parse_back().ok_or_else(|| "unusable".to_owned())
}

trait ParseBack {
    fn parse_back(&self) -> Option<ProxyList>;
}

impl ParseBack for String {
    fn parse_back(&self) -> Option<ProxyList> {
        ProxyList::parse_named(self, "remembered proxies").ok().filter(|list| !list.has_auto())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl PacEvaluator for Fake {
        fn find_proxy(&self, script: &str, url: &str, host: &str) -> Result<String, String> {
            assert!(url.starts_with("http://") && url.ends_with("/.cvmfspublished") && url.contains(host), "{url}");
            Ok(script.replace("HOST", host))
        }
    }

    fn settings(proxies: &str) -> Settings {
        Settings {
            hosts: vec!["http://s1.example/cvmfs/x".into(), "http://s2.example/cvmfs/x".into()],
            proxies: ProxyList::parse(proxies).expect("a list"),
            ..Settings::default()
        }
    }

    fn pac(dir: &Path, script: &str) -> DiscoverySettings {
        let file = dir.join("proxy.pac");
        std::fs::write(&file, script).expect("writable");
        let memory = Some(dir.join("proxies.x"));
        DiscoverySettings { pac_urls: Some(format!("file://{}", file.display())), memory, ..Default::default() }
    }

    #[test]
    fn answers_become_groups() {
        let text = |answer| convert(answer).map(|groups| ProxyList { groups }.to_string());
        assert_eq!(text("PROXY a:1; PROXY b:2; DIRECT"), Ok("http://a:1;http://b:2;DIRECT".to_owned()));
        assert_eq!(text("SOCKS s:1;proxy a:1;"), Ok("http://a:1".to_owned()));
        assert_eq!(text("SOCKS5 s:1"), Ok(String::new()));
        for bad in ["PROXY", "PROXY a:x", "PROXY a:1|b:2", "PROXY DIRECT", "PROXY auto", "undefined", "a:1"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_comes_first() {
        let mut s = settings("auto;http://b:2");
        let discovery = DiscoverySettings {
            http_proxy: Some("http://env:3128/".into()),
            pac_urls: Some("http://unused.invalid/x".into()),
            ..Default::default()
        };
        discover(&mut s, &discovery, None).expect("found");
        assert_eq!(s.proxies.to_string(), "http://env:3128;http://b:2");
    }

    #[test]
    fn a_script_is_asked_for_every_host_and_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let discovery = pac(dir.path(), "PROXY HOST:3128; DIRECT");
        let mut s = settings("auto;http://b:2");
        discover(&mut s, &discovery, Some(&Fake)).expect("found");
        let expected = "http://s1.example:3128;http://s2.example:3128;DIRECT;http://b:2";
        assert_eq!(s.proxies.to_string(), expected);

        std::fs::write(dir.path().join("proxy.pac"), "nonsense").expect("writable");
        let mut s = settings("http://c:1;auto");
        discover(&mut s, &discovery, Some(&Fake)).expect("remembered");
        assert_eq!(s.proxies.to_string(), expected, "the remembered string replaces the whole value");
    }

    #[test]
    fn without_a_result_auto_is_dropped_and_alone_it_is_an_error() {
        let nothing = DiscoverySettings::default();
        let mut s = settings("auto;http://b:2");
        discover(&mut s, &nothing, Some(&Fake)).expect("another group is left");
        assert_eq!(s.proxies.to_string(), "http://b:2");
        assert!(matches!(discover(&mut settings("auto"), &nothing, None), Err(DiscoveryError::NothingFound(_))));
        let dir = tempfile::tempdir().expect("a directory");
        assert!(discover(&mut settings("auto"), &pac(dir.path(), "SOCKS s:1"), Some(&Fake)).is_err());
        assert!(Transport::new(settings("auto")).is_err(), "auto is never silently DIRECT");
    }
}
