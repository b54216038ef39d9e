//! `cernvm-update`: what the operating system that runs can ask for. What it wishes is done at the next boot.

use crate::repository::{self, SCRATCH};
use crate::units;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use ucernvm_update::notice;
use ucernvm_update::state::{self, Action, Pin, Wish};
use ucernvm_update::trial::Trial;

pub(crate) mod loader;

/// Where the program is, below `/run` so that each loader brings its own.
const PROGRAM: &str = "/run/initramfs/cernvm-update";
/// Where users find it.
const LINK: &str = "usr/local/sbin/cernvm-update";
const SERVICE: &str = "[Unit]\nDescription=Look for a newer snapshot of the operating system\n\n[Service]\nType=oneshot\n\
ExecStart=/run/initramfs/cernvm-update check --motd\nSuccessExitStatus=100\n";
const TIMER: &str = "[Unit]\nDescription=Look for a newer snapshot of the operating system\n\n[Timer]\nOnBootSec=15min\n\
OnUnitActiveSec=1d\nRandomizedDelaySec=1h\n";
/// Says that the system is up, when it is.
const GOOD: &str = "[Unit]\nDescription=Say that the system has come up with this loader\nAfter=multi-user.target boot-complete.target\n";
/// A check of the tree's own may say that it is not.
const CHECKED: &str = "Requires=boot-complete.target\n";
const GOOD_SERVICE: &str =
    "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/run/initramfs/cernvm-update good\n";
/// The exit status that says that there is a newer snapshot.
const NEWER: u8 = 100;

const HELP: &str = "\
cernvm-update: stay at a snapshot of the operating system, or go to another one

    cernvm-update                        tell which snapshot is pinned, which one is published, what happens at the next boot
    cernvm-update check [--motd]         the same in one line; with --motd also in /etc/motd
    cernvm-update stay                   no change at the next boot; nothing more is said of what is published now
    cernvm-update diverge [--tag TAG]    go to the newest snapshot, or to that of a tag; all that was changed here stays
    cernvm-update rebase [--tag TAG]     the same; programs are the new snapshot's, configuration and accounts are merged
    cernvm-update rebase --previous      back to the snapshot before the last change; also: diverge --previous
    cernvm-update loader                 tell which loader has booted, and which one is staged
    cernvm-update loader PACK            stage another loader, a file or directory of 'ucernvm build': the image's own starts it
    cernvm-update loader --drop          take it back
    cernvm-update good                   the system is up: loader and snapshot work (a unit of systemd says so)

-c, -a, -f TAG and -k PACK are other names of 'check', 'rebase', 'rebase --tag TAG' and 'loader PACK'. It takes root.

A loader that is staged has the master keys and decides as root. It is checked for damage only: take it from a repository, or from
whom you trust as much. When the system has not come up with it three times, the image's own loader goes on. When it has not come up three times
after 'diverge', the snapshot before is booted again; after 'rebase' that is only said.

EXIT STATUS
    0 when it is done and there is nothing newer, 100 when 'check' finds something newer, 1 when it could not be done";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Tell,
    Check { motd: bool },
    Stay,
    Wish { action: Action, to: Target },
    TellLoader,
    Stage(PathBuf),
    DropLoader,
    Good,
    Help,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Newest,
    Tag(String),
    Previous,
}

/// What the servers have.
#[derive(Debug, PartialEq, Eq)]
struct Published {
    root_hash: String,
    name: String,
}

/// Runs the command.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let done = parse(arguments).and_then(|request| run(&request, Path::new(SCRATCH)));
    done.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "cernvm-update: {error:#}");
        ExitCode::FAILURE
    })
}

fn parse(arguments: &[String]) -> Result<Request> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let to = |rest: &[&str]| match rest {
        [] => Ok(Target::Newest),
        ["--previous"] => Ok(Target::Previous),
        ["--tag", tag] if !tag.is_empty() && !tag.contains('\n') => Ok(Target::Tag((*tag).to_owned())),
        _ => bail!("'{}' is not understood; see --help", rest.join(" ")),
    };
    Ok(match words.as_slice() {
        [] => Request::Tell,
        ["check" | "-c"] => Request::Check { motd: false },
        ["check", "--motd"] => Request::Check { motd: true },
        ["stay"] => Request::Stay,
        ["diverge", rest @ ..] => Request::Wish { action: Action::Diverge, to: to(rest)? },
        ["rebase", rest @ ..] | ["-a", rest @ ..] => Request::Wish { action: Action::Rebase, to: to(rest)? },
        ["loader"] => Request::TellLoader,
        ["loader", "--drop"] => Request::DropLoader,
        ["loader" | "-k", pack] if !pack.starts_with('-') => Request::Stage(PathBuf::from(pack)),
        ["good"] => Request::Good,
        ["-f", tag] => Request::Wish { action: Action::Rebase, to: to(&["--tag", *tag])? },
        ["--help" | "-h"] => Request::Help,
        ["--version" | "-v"] => Request::Version,
        _ => bail!("'{}' is not understood; see --help", words.join(" ")),
    })
}

fn run(request: &Request, scratch: &Path) -> Result<ExitCode> {
    let pin = || Pin::read(scratch, state::PIN).context("no snapshot is pinned: this is no µCernVM");
    match request {
        Request::Help => say(HELP),
        Request::Version => say(env!("CARGO_PKG_VERSION")),
        Request::Tell => {
            say(&told(&pin()?, published().as_ref(), Wish::read(scratch).as_ref()));
            say(&loader::told(scratch));
            if let Some(trial) =
                Trial::read(scratch).filter(|trial| pin().is_ok_and(|pin| pin.root_hash == trial.root_hash))
            {
                say(&format!("on trial:  {}, {} more boots", trial.root_hash, trial.tries));
            }
        }
        Request::Check { motd } => {
            let (pin, published) = (pin()?, published()?);
            let newer = published.root_hash != pin.root_hash;
            let is_unwanted =
                fs::read_to_string(scratch.join(state::STAY)).is_ok_and(|hash| hash.trim() == published.root_hash);
            if *motd {
                announce(Path::new("/etc/motd"), (newer && !is_unwanted).then_some(published.name.as_str()))?;
            }
            say(&if newer { format!("{} is available", published.name) } else { "up to date".to_owned() });
            return Ok(if newer { ExitCode::from(NEWER) } else { ExitCode::SUCCESS });
        }
        Request::Stay => {
            Wish::forget(scratch)?;
            // Without a network there is nothing that could be kept silent about.
            if let Ok(published) = published() {
                state::replace(&scratch.join(state::STAY), published.root_hash.as_bytes())?;
            }
            announce(Path::new("/etc/motd"), None)?;
        }
        Request::TellLoader => say(&loader::told(scratch)),
        Request::Stage(pack) => loader::stage(pack, scratch)?,
        Request::DropLoader => loader::forget(scratch)?,
        Request::Good => loader::approve(scratch)?,
        Request::Wish { action, to } => {
            wish(*action, to, scratch)?.write(scratch)?;
            announce(Path::new("/etc/motd"), None)?;
            say("it is done at the next boot");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wish(action: Action, to: &Target, scratch: &Path) -> Result<Wish> {
    let nothing = Wish { action, root_hash: None, tag: None };
    Ok(match to {
        Target::Newest => nothing,
        Target::Tag(tag) => Wish { tag: Some(tag.clone()), ..nothing },
        Target::Previous => {
            let pin = Pin::read(scratch, state::PREVIOUS).context("this machine has had one snapshot only")?;
            Wish { root_hash: Some(pin.root_hash), tag: pin.tag, ..nothing }
        }
    })
}

fn published() -> Result<Published> {
    Published::parse(&repository::newest()?).context("the program that serves the system said something else")
}

impl Published {
    /// Root hash, revision, and a tag if there is one.
    fn parse(text: &str) -> Option<Published> {
        let mut words = text.splitn(3, ' ');
        let (root_hash, revision) = (words.next()?.to_owned(), words.next()?);
        let name = words.next().map_or_else(|| format!("revision {revision}"), str::to_owned);
        Some(Published { root_hash, name })
    }
}

fn told(pin: &Pin, published: Result<&Published, &anyhow::Error>, wish: Option<&Wish>) -> String {
    let mut text =
        format!("pinned:    {} {}", pin.root_hash, pin.tag.as_deref().unwrap_or_default()).trim_end().to_owned();
    text.push_str("\npublished: ");
    match published {
        Ok(published) if published.root_hash == pin.root_hash => text.push_str("the same"),
        Ok(published) => text.push_str(&format!("{} {}", published.root_hash, published.name)),
        Err(error) => text.push_str(&format!("not known: {error:#}")),
    }
    text.push_str("\nnext boot: ");
    match wish {
        None => text.push_str("the same"),
        Some(wish) => {
            let to = wish.tag.as_ref().or(wish.root_hash.as_ref()).map_or("the newest", String::as_str);
            text.push_str(&format!("{} to {to}", wish.action.name()));
        }
    }
    text
}

/// Writes or takes away the line that users read when they log in.
fn announce(motd: &Path, snapshot: Option<&str>) -> Result<()> {
    let described = || motd.display().to_string();
    let text = match fs::read_to_string(motd) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        // What cannot be read is not written over.
        text => text.with_context(described)?,
    };
    if let Some(text) = notice::with_notice(&text, snapshot) {
        fs::write(motd, text).with_context(described)?;
    }
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Whether the system below `root` will say that it is up.
pub(crate) fn says_good(root: &Path) -> bool {
    units::has(root, "multi-user.target")
}

/// Gives the command to the system below `root`, a timer that looks once a day, and a unit that says when the system is up.
pub(crate) fn offer(root: &Path) -> Result<()> {
    units::link(Path::new("shutdown"), Path::new(PROGRAM))?;
    units::link(Path::new(PROGRAM), &root.join(LINK))?;
    // Older ones of systemd have no such target.
    let may_check = units::has(root, "boot-complete.target");
    let good = [GOOD, if may_check { CHECKED } else { "" }, GOOD_SERVICE].concat();
    units::add("cernvm-update.service", SERVICE, None)?;
    units::add("cernvm-update.timer", TIMER, Some("timers.target"))?;
    units::add("cernvm-update-good.service", &good, Some("multi-user.target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Request> {
        parse(&line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line() {
        let wish = |action, to| Request::Wish { action, to };
        for (line, request) in [
            ("", Request::Tell),
            ("-c", Request::Check { motd: false }),
            ("check --motd", Request::Check { motd: true }),
            ("stay", Request::Stay),
            ("diverge", wish(Action::Diverge, Target::Newest)),
            ("rebase --tag v1", wish(Action::Rebase, Target::Tag("v1".to_owned()))),
            ("-f v1", wish(Action::Rebase, Target::Tag("v1".to_owned()))),
            ("rebase --previous", wish(Action::Rebase, Target::Previous)),
            ("loader", Request::TellLoader),
            ("loader --drop", Request::DropLoader),
            ("loader /cvmfs/a/new.pack", Request::Stage(PathBuf::from("/cvmfs/a/new.pack"))),
            ("-k new.pack", Request::Stage(PathBuf::from("new.pack"))),
            ("good", Request::Good),
        ] {
            assert_eq!(asked(line).expect("a request"), request, "{line}");
        }
        for line in
            ["explode", "rebase v1", "rebase --tag", "check --mail", "stay now", "loader --explode", "loader a b", "-k"]
        {
            assert!(asked(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_wished_lies_on_the_scratch() {
        let scratch = tempfile::tempdir().expect("a directory");
        let scratch = scratch.path();
        fs::create_dir(scratch.join("aux")).expect("a directory");
        assert!(wish(Action::Rebase, &Target::Previous, scratch).is_err(), "there is none");
        let pin = |hash: &str| Pin { root_hash: hash.to_owned(), tag: Some("t".to_owned()) };
        pin("a").write(scratch).expect("a pin");
        pin("b").write(scratch).expect("a pin");
        let wish = wish(Action::Rebase, &Target::Previous, scratch).expect("a wish");
        assert_eq!((wish.root_hash.as_deref(), wish.tag.as_deref()), (Some("a"), Some("t")));
    }

    #[test]
    fn what_is_told() {
        let pin = Pin { root_hash: "aaa".to_owned(), tag: Some("v1".to_owned()) };
        let published = Published::parse("bbb 7 v 2").expect("a snapshot");
        assert_eq!(published.name, "v 2");
        let wish = Wish { action: Action::Rebase, root_hash: None, tag: None };
        assert_eq!(
            told(&pin, Ok(&published), Some(&wish)),
            "pinned:    aaa v1\npublished: bbb v 2\nnext boot: rebase to the newest"
        );
        let same = Published::parse("aaa 7").expect("a snapshot");
        assert_eq!(same.name, "revision 7");
        assert!(told(&pin, Ok(&same), None).ends_with("published: the same\nnext boot: the same"));
    }

    #[test]
    fn the_line_in_motd_comes_and_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let motd = directory.path().join("motd");
        announce(&motd, None).expect("nothing");
        assert!(!motd.exists(), "no file is made for nothing");
        announce(&motd, Some("v2")).expect("a line");
        assert!(fs::read_to_string(&motd).expect("a line").contains("(v2)"));
        announce(&motd, None).expect("no line");
        assert_eq!(fs::read_to_string(&motd).expect("a file"), "");
        fs::write(&motd, b"Gr\xfc\xdfe\n").expect("a file of another time");
        announce(&motd, Some("v2")).expect_err("it is no text");
        assert_eq!(fs::read(&motd).expect("a file"), b"Gr\xfc\xdfe\n", "and stays what it is");
    }
}
