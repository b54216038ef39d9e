//! `generate` of a program: manual pages and shell completions, for packagers.

use anyhow::{Context as _, Result};
use clap::{Args, Command, ValueEnum as _};
use std::path::{Path, PathBuf};

/// What `generate` takes.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// What to write
    #[arg(value_enum)]
    pub what: What,
    /// Where to write it; made if absent
    pub directory: PathBuf,
}

/// What can be generated.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum What {
    /// One manual page for each command
    Man,
    /// Completions for bash, zsh, fish and elvish
    Completions,
}

/// Writes what is wanted about the program `command`.
pub fn run(args: &GenerateArgs, command: Command) -> Result<()> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let written = match args.what {
        What::Man => manual(directory, command),
        What::Completions => completions(directory, command),
    };
    written.with_context(|| format!("writing into {}", directory.display()))
}

fn manual(directory: &Path, command: Command) -> Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let source = format!("{} {}", command.get_name(), env!("CARGO_PKG_VERSION"));
    page(directory, &source, &command)?;
    let mut subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    subcommands.try_for_each(|subcommand| page(directory, &source, subcommand))
}

fn page(directory: &Path, source: &str, command: &Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    // Without a date, so that the same command line always gives the same page.
    let manual = clap_mangen::Man::new(command.clone()).section("1").manual("CernVM-FS").source(source).date("");
    manual.render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    Ok(())
}

fn completions(directory: &Path, command: Command) -> Result<()> {
    let name = command.get_name().to_owned();
    for shell in clap_complete::Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut command.clone(), &name, directory)?;
    }
    Ok(())
}
