//! `cvmfs config`: what is configured, where that was said, and what is wrong with it.

use crate::output::{FAILED, Output};
use crate::session::Session;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use libcvmfs::config::check::{Severity, check};
use libcvmfs::config::{Config, table};
use serde::Serialize;
use std::io::Write as _;

/// What `cvmfs config` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cvmfs config show sft.cern.ch
  cvmfs config check sft.cern.ch
  cvmfs config explain CVMFS_HTTP_PROXY")]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be asked about the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigAction {
    /// Print the values in force, each with the place where it was set
    Show {
        /// Repositories
        repositories: Vec<String>,
        /// Also parameters that nothing sets, with their defaults
        #[arg(short, long)]
        all: bool,
    },
    /// Look for mistakes; fails if a repository cannot work like this
    Check {
        /// Repositories
        repositories: Vec<String>,
    },
    /// Tell what parameters mean
    Explain {
        /// Parameters; all if none is given
        parameters: Vec<String>,
    },
}

/// Runs `cvmfs config`.
pub fn run(args: &ConfigArgs, session: &Session, output: &mut Output) -> Result<()> {
    match &args.action {
        ConfigAction::Explain { parameters } => explain(parameters, output),
        ConfigAction::Show { repositories, all } => {
            each(repositories, session, output, |name, config, output| show(name, config, *all, output))
        }
        ConfigAction::Check { repositories } => each(repositories, session, output, report),
    }
}

fn each(
    repositories: &[String],
    session: &Session,
    output: &mut Output,
    act: impl Fn(&str, &Config, &mut Output) -> Result<()>,
) -> Result<()> {
    for name in session.repository_names(repositories)? {
        match session.client().config(&name).context("reading the configuration") {
            Ok(config) => act(&name, &config, output)?,
            Err(error) => output.complain(name.as_bytes(), &error),
        }
    }
    Ok(())
}

fn show(repository: &str, config: &Config, all: bool, output: &mut Output) -> Result<()> {
    #[derive(Serialize)]
    struct Fact<'a> {
        repository: &'a str,
        name: &'a str,
        value: &'a str,
        source: String,
    }
    let mut facts: Vec<(&str, &str, String)> =
        config.values().map(|(name, value)| (name, value.text.as_str(), value.source.to_string())).collect();
    if all {
        let unset = table::all().filter(|parameter| config.value(parameter.name).is_none());
        let defaults = unset.filter_map(|parameter| Some((parameter.name, config.default_of(parameter)?)));
        facts.extend(defaults.map(|(name, text)| (name, text, "default".to_owned())));
        facts.sort();
    }
    for (name, value, source) in facts {
        match output.json() {
            true => output.print_json(&Fact { repository, name, value, source })?,
            false => writeln!(output, "{name}={value}    # {source}")?,
        }
    }
    Ok(())
}

fn report(repository: &str, config: &Config, output: &mut Output) -> Result<()> {
    #[derive(Serialize)]
    struct Fact<'a> {
        repository: &'a str,
        severity: &'static str,
        finding: &'a str,
    }
    let findings = check(config);
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        if finding.severity == Severity::Error {
            output.fail(FAILED);
        }
        match output.json() {
            true => output.print_json(&Fact { repository, severity, finding: &finding.what })?,
            false => writeln!(output, "{repository}: {severity}: {}", finding.what)?,
        }
    }
    if findings.is_empty() && !output.json() && !output.quiet() {
        writeln!(output, "{repository}: no mistakes found")?;
    }
    Ok(())
}

fn explain(names: &[String], output: &mut Output) -> Result<()> {
    #[derive(Serialize)]
    struct Fact<'a> {
        name: &'a str,
        kind: String,
        default: Option<&'a str>,
        meaning: &'a str,
    }
    let known = table::all().filter(|parameter| names.is_empty() || names.iter().any(|name| parameter.matches(name)));
    for parameter in known {
        let (name, kind, meaning) = (parameter.name, parameter.kind.name(), parameter.meaning);
        let default = parameter.default_value(false);
        match output.json() {
            true => output.print_json(&Fact { name, kind, default, meaning })?,
            false => {
                writeln!(output, "{name} ({kind}; default: {})\n    {meaning}", default.unwrap_or("none"))?;
            }
        }
    }
    for name in names {
        if table::find(name).is_none() {
            output.complain(name.as_bytes(), &anyhow::anyhow!("not a known parameter"));
        }
    }
    Ok(())
}
