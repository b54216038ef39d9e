//! Mistakes in a configuration, found before they hurt.

use super::effective::{Config, Source, Value};
use super::parameter::Status;
use super::table;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Works, though perhaps not as meant.
    Warning,
    /// The repository cannot be used like this.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, with its place.
    pub what: String,
}

/// Looks for mistakes; the worst first.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, what: String| findings.push(Finding { severity, what });
    for warning in config.warnings() {
        add(Severity::Warning, warning.clone());
    }
    for (name, value) in config.values() {
        of_value(config, name, value, &mut add);
    }
    let needed =
        [config.servers().err(), config.proxies().err(), config.master_keys().err(), config.cache_directory().err()];
    for error in needed.into_iter().flatten() {
        add(Severity::Error, error.to_string());
    }
    of_cache(config, &mut add);
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    findings.dedup();
    findings
}

fn of_value(config: &Config, name: &str, value: &Value, add: &mut dyn FnMut(Severity, String)) {
    let source = &value.source;
    let Some(parameter) = table::find(name) else {
        if name.starts_with("CVMFS_") {
            let severity = if *source == Source::Environment { Severity::Note } else { Severity::Warning };
            let like = similar(name).map_or(String::new(), |known| format!("; is {known} meant?"));
            add(severity, format!("{name} ({source}) is not a known parameter{like}"));
        }
        return;
    };
    if config.value(name).is_none() {
        return;
    }
    if let Err(error) = config.verify(parameter) {
        add(Severity::Error, error.to_string());
    }
    match parameter.status {
        Status::NoEffect(why) | Status::NotSupported(why) if !matches!(source, Source::BuiltIn(_)) => {
            add(Severity::Note, format!("{name} ({source}) has no effect: {why}"));
        }
        _ => {}
    }
    if value.text.trim() != value.text {
        add(Severity::Warning, format!("{name} ({source}) starts or ends with a blank or carriage return"));
    }
    if matches!(parameter.kind, super::parameter::Kind::Proxies) && value.text.contains([' ', '\t', ',']) {
        add(
            Severity::Warning,
            format!("{name} ({source}): proxies are joined by '|' and groups by ';', without blanks"),
        );
    }
}

fn of_cache(config: &Config, add: &mut dyn FnMut(Severity, String)) {
    let set = |p: &super::Parameter| config.value(p.name).filter(|v| !matches!(v.source, Source::BuiltIn(_)));
    if let (Some(directory), Some(base)) = (set(&table::CACHE_DIR), set(&table::CACHE_BASE)) {
        let (a, b) = (&directory.source, &base.source);
        add(
            Severity::Warning,
            format!("CVMFS_CACHE_DIR ({a}) and CVMFS_CACHE_BASE ({b}) exclude each other; the directory wins"),
        );
    }
    let Some(alien) = set(&table::ALIEN_CACHE).or_else(|| set(&table::CACHE_ALIEN)) else { return };
    let alien = &alien.source;
    for shared in [&table::SHARED_CACHE, &table::CACHE_SHARED] {
        if let Some(value) = set(shared).filter(|_| config.on(shared).unwrap_or(false)) {
            add(
                Severity::Warning,
                format!("an alien cache ({alien}) excludes {} ({}); the alien cache wins", shared.name, value.source),
            );
        }
    }
    for quota in [&table::QUOTA_LIMIT, &table::CACHE_QUOTA_LIMIT] {
        if let Some(value) = set(quota).filter(|_| matches!(config.bytes(quota), Ok(Some(_)))) {
            add(
                Severity::Warning,
                format!("an alien cache ({alien}) has no quota; {} ({}) is ignored", quota.name, value.source),
            );
        }
    }
}

/// The known parameter that differs in up to two letters.
fn similar(name: &str) -> Option<&'static str> {
    let known = table::all().map(|p| (distance(name.as_bytes(), p.name.as_bytes()), p.name)).min()?;
    (known.0 <= 2).then_some(known.1)
}

fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
