//! Starting an instance, from outside.

use crate::arguments::{Backend, Start};
use crate::child;
use crate::cvmfs;
use crate::description::{Description, Form};
use crate::ids::Ids;
use crate::interposed;
use crate::kept::Kept;
use crate::layout;
use crate::mounted;
use crate::name::Name;
use crate::probe;
use crate::sandbox::laid::Laid;
use crate::sandbox::program::{self, Program};
use crate::sandbox::root::{Layers, Tree};
use crate::sandbox::{ALWAYS, Plan};
use crate::say::say;
use crate::served::{self, Servers};
use crate::store::{Running, Store};
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, waitpid};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Makes a shell begin as at a login.
const LOGIN: &str = "-l";

/// Starts the instance and waits for its program; gives its exit status.
pub(crate) fn start(start: &Start) -> Result<u8> {
    if let Some(why) = start.original.refusal() {
        bail!("{why}");
    }
    if !start.fast && (start.run.is_some() || !start.arguments.is_empty()) {
        bail!("a program is run with --fast; without it the operating system's own init decides what runs");
    }
    refuse_directories()?;
    let name = start.name.as_ref().context("no instance was named")?;
    let store = Store::open()?;
    let begins = begins_with(&store, name, start)?;
    let backend = backend(begins.as_ref(), name, start)?;
    let start = &begins.map_or_else(|| start.clone(), |description| description.kept.below(start));
    if start.new && !start.options.is_empty() && start.cvmfs.is_empty() && start.os.is_none() {
        bail!("-o sets parameters of repositories: name one with --cvmfs or --os");
    }
    if backend == Backend::Interposer {
        interposed::refuse(start)?;
        let (running, description) = open(&store, name, start, Form::Interposed)?;
        let status = interposed::start(&store, name, &description, start);
        return end(&store, running, &description, status);
    }
    let provision = cvmfs::provide(start, backend)?;
    let form = if start.layout.is_some() { Form::Laid } else { Form::Overlay };
    let (running, mut description) = open(&store, name, start, form)?;
    let binds: Vec<_> = provision.binds.into_iter().chain(start.bind.iter().cloned()).collect();
    if description.os.is_none() && description.form == Form::Overlay {
        check_whole(&description.root)?;
    }
    let os = description.os.as_ref().map(|os| (os, description.root_hash.as_deref()));
    let sides = served::both_sides(os, &store.instance(name).join("os"), provision.served, start.options.clone())?;
    let (mounts, servers) = sides.unzip();
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    for bind in binds.iter().filter(|bind| !lies_in_memory(&bind.target)) {
        let found = fs::metadata(&bind.source).with_context(|| format!("--bind {}", bind.source.display()))?;
        if found.is_dir() { &mut directories } else { &mut files }.push(bind.target.clone());
    }
    let tree = tree(&store, name, &description, &directories, &files)?;
    let set = description.layout.iter().flat_map(|layout| layout.variables());
    let set = set.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let more = set.chain(provision.environment).chain(variables(start)).collect();
    let (program_name, arguments) = program_of(start);
    let plan = Plan {
        name: name.as_str().to_owned(),
        backend,
        net: start.net(),
        tree,
        binds,
        repositories: provision.mounted,
        served: mounts,
        can_set_groups: description.ids.can_set_groups(),
        program: Program {
            outside: program_name.as_ref().filter(|_| start.fast).and_then(|name| regular(Path::new(name))),
            name: program_name,
            arguments,
            is_init: !start.fast,
            shown_by: provision.shown_by,
            environment: program::environment(name.as_str(), more),
        },
    };
    if start.verbose {
        say!("backend {}, {} layers over {}", backend.name(), description.layers.len(), description.root.display());
        say!("{} users inside; written to {}", description.ids.users(), plan.tree.written().display());
    }
    let known = description.root_hash.clone();
    let ids = description.ids.clone();
    let note = |snapshot: Option<String>| match snapshot {
        Some(snapshot) if known.is_none() => {
            description.root_hash = Some(snapshot);
            description.write(&store.instance(name))
        }
        _ => Ok(()),
    };
    let status = supervise(&ids, plan, servers, note);
    end(&store, running, &description, status)
}

/// The program has ended.
fn end(store: &Store, running: Running, description: &Description, status: Result<u8>) -> Result<u8> {
    drop(running);
    if description.ephemeral {
        store.lock()?.sweep()?;
        store.delete_gone()?;
    }
    status
}

/// The instance with which this one begins, if there is one: itself, or that on which it will be stacked.
fn begins_with(store: &Store, name: &Name, start: &Start) -> Result<Option<Description>> {
    let locked = store.lock()?;
    let current = start.current().ok().flatten();
    let mut known = [Some(name.clone()), current].into_iter().flatten().filter(|name| locked.has(name));
    Ok(if start.new { None } else { known.find_map(|name| locked.read(&name).ok()) })
}

/// How the instance is isolated: an instance that there is says by what it wrote how that can be.
fn backend(begins: Option<&Description>, name: &Name, start: &Start) -> Result<Backend> {
    match (begins.map(|found| found.form), start.backend) {
        (Some(Form::Interposed), None | Some(Backend::Interposer)) => Ok(Backend::Interposer),
        (Some(Form::Interposed), Some(other)) => bail!(
            "what '{name}' begins with was written with --backend=interposer, and --backend={} cannot read it: commit it, and \
             make a new instance",
            other.name()
        ),
        (Some(Form::Overlay | Form::Laid), Some(Backend::Interposer)) => bail!(
            "what '{name}' begins with was written in namespaces, and --backend=interposer cannot read it: commit it, and make \
             a new instance"
        ),
        (Some(Form::Overlay | Form::Laid), None) => probe::best_in_namespaces(),
        (None, None) if start.layout.is_some() => probe::best_in_namespaces(),
        (None, None) if start.os.is_some() && !served::is_possible() => Ok(Backend::Interposer),
        (None, None) => probe::best(),
        (_, Some(backend)) => Ok(backend),
    }
}

/// Variables that are asked for.
pub(crate) fn variables(start: &Start) -> impl Iterator<Item = (OsString, OsString)> + '_ {
    start.env.iter().filter_map(|variable| {
        let value = variable.value.clone().map(OsString::from).or_else(|| std::env::var_os(&variable.name));
        Some((OsString::from(&variable.name), value?))
    })
}

/// The program, if one is named, and its arguments, else those of a shell.
pub(crate) fn program_of(start: &Start) -> (Option<OsString>, Vec<OsString>) {
    if !start.fast {
        return (Some(start.init.clone().into_os_string()), Vec::new());
    }
    match (&start.run, start.arguments.split_first()) {
        (Some(run), _) => (Some(run.clone().into_os_string()), start.arguments.clone()),
        (None, Some((first, rest))) => (Some(first.clone()), rest.to_vec()),
        (None, None) if start.console => (None, vec![LOGIN.into()]),
        (None, None) => (None, Vec::new()),
    }
}

fn regular(path: &Path) -> Option<File> {
    fs::metadata(path).is_ok_and(|found| found.is_file()).then(|| File::open(path).ok()).flatten()
}

/// Whether a place inside is made anew in memory at each start.
fn lies_in_memory(place: &Path) -> bool {
    ALWAYS.iter().any(|directory| place.starts_with(Path::new("/").join(directory)))
}

/// Whoever has a descriptor of a directory can go there, whatever root he has.
pub(crate) fn refuse_directories() -> Result<()> {
    for number in 0..=2 {
        if fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|found| found.is_dir()) {
            bail!("descriptor {number} is a directory, through which programs could leave the instance");
        }
    }
    Ok(())
}

/// Finds the instance or makes it.
fn open(store: &Store, name: &Name, start: &Start, form: Form) -> Result<(Running, Description)> {
    let locked = store.lock()?;
    locked.sweep()?;
    let root = start.root.as_deref().map(root_of).transpose()?;
    let layout = start.layout.as_deref().map(layout::read).transpose()?;
    let running = match (locked.has(name), start.new) {
        (true, true) => bail!("there is an instance '{name}' already: destroy it, or start it without --new"),
        (true, false) => {
            let description = locked.read(name)?;
            let (known, is_other) = (description.root, start.os.is_some() && start.os != description.os);
            if is_other || root.is_some_and(|root| root != known) {
                bail!("'{name}' is an instance over {}; another tree needs a new instance", known.display());
            }
            locked.claim(name)?
        }
        (false, true) => {
            let ids = || if form == Form::Interposed { Ok(Ids::own()) } else { usable_ids() };
            let description = match (start.os.clone(), root) {
                (Some(os), _) => Description::over(os, form, ids()?, start.ephemeral),
                (None, None) => {
                    bail!("a new instance needs an operating system's tree: --root DIR or --os REPO[/PATH]")
                }
                (None, Some(root)) => {
                    if form == Form::Overlay {
                        check_apart(store, &root)?;
                        check_whole(&root)?;
                    }
                    Description::new(root, form, ids()?, start.ephemeral)
                }
            };
            locked.make(name, Description { kept: Kept::of(start), layout, ..description })?
        }
        (false, false) => {
            let current = start.current().map_err(anyhow::Error::msg).context("CERNVM_FORK")?;
            let parent = current.as_ref().with_context(|| {
                format!("there is no instance '{name}', and no current one: --new makes one, --from NAME stacks it on another")
            })?;
            if root.is_some() || start.os.is_some() {
                bail!("'{name}' gets the tree of '{parent}'; --root is for --new");
            }
            locked.fork(name, parent, Kept::of(start), start.ephemeral)?
        }
    };
    Ok((running, locked.read(name)?))
}

fn root_of(path: &Path) -> Result<PathBuf> {
    let root = fs::canonicalize(path).with_context(|| format!("--root {}", path.display()))?;
    if !root.is_dir() || root.to_str().is_none() {
        bail!("--root {} must be a directory whose name is UTF-8 text", root.display());
    }
    Ok(root)
}

/// A layer cannot lie in the tree over which it is laid.
fn check_apart(store: &Store, root: &Path) -> Result<()> {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    if store.base().starts_with(root) && device(store.base()) == device(root) {
        bail!(
            "instances are kept in {}, which lies in the tree {} itself: the kernel lays no layer over what contains it. \
             Let XDG_STATE_HOME name a directory of another file system, or use another tree",
            store.base().display(),
            root.display()
        );
    }
    Ok(())
}

/// The kernel shows an ordinary user no directory without what is mounted upon its parts.
fn check_whole(root: &Path) -> Result<()> {
    if let Some(place) = mounted::below(root) {
        bail!(
            "{} is mounted below the tree {}: the kernel takes only a tree without mounts below it for an ordinary user's \
             layers. Use a copy, or a directory below it",
            place.display(),
            root.display()
        );
    }
    Ok(())
}

/// The users there can be here; only the caller where the node's programs for more do not work.
fn usable_ids() -> Result<Ids> {
    let best = Ids::best()?;
    match child::start(&best, 0, || Ok(0)).and_then(child::end_of) {
        Err(error) if best.has_others() && !rustix::process::getuid().is_root() => {
            say!("only your own user is there inside: {error:#}");
            Ok(Ids::own())
        }
        tried => tried.map(|_| best),
    }
}

/// What the tree of an instance is made of; with layers, these places to mount upon are made.
fn tree(
    store: &Store,
    name: &Name,
    description: &Description,
    directories: &[PathBuf],
    files: &[PathBuf],
) -> Result<Tree> {
    let directory = store.layers();
    let (written, below) = description.layers.split_first().context("an instance without a layer")?;
    let instance = store.instance(name);
    let system = match &description.os {
        Some(os) => (instance.join("os"), Path::new(".").join(&os.path)),
        None => (description.root.clone(), PathBuf::from(".")),
    };
    let read = below.iter().map(|layer| layer.files(&directory)).collect();
    let (written, work) = (written.files(&directory), written.work(&directory));
    let place = instance.join("root");
    if let Some(layout) = description.layout.clone() {
        return Ok(Tree::Laid(Laid { place, written, work, system, layout }));
    }
    let layers = Layers { place, written, work, read, system, places: instance.join("places") };
    layers.make_places(directories, files)?;
    Ok(Tree::Layered(layers))
}

/// Runs the plan in a child: signals go there, its exit status comes back.
fn supervise(
    ids: &Ids,
    plan: Plan,
    servers: Option<Servers>,
    note: impl FnOnce(Option<String>) -> Result<()>,
) -> Result<u8> {
    let signals = Signals::block()?;
    let child = child::start(ids, plan.namespaces(), || plan.carry_out())?;
    if let Some(servers) = servers
        && let Err(error) = servers.start(&signals).and_then(note)
    {
        let _ = kill_process(child, rustix::process::Signal::KILL);
        let _ = child::end_of(child);
        return Err(error);
    }
    signals.accompany(child).map(child::code)
}

/// Signals that go on to a child.
pub(crate) struct Signals {
    news: SignalFd,
}

impl Signals {
    /// From before there is a child, so that none is lost: it inherits the mask.
    pub(crate) fn block() -> Result<Signals> {
        use Signal::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
        let mut signals = SigSet::empty();
        signals.extend([SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH]);
        signals.thread_block().context("blocking signals")?;
        let news = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).context("waiting for signals")?;
        Ok(Signals { news })
    }

    /// Waits until something can be read.
    ///
    /// # Errors
    /// If one of them asks this process to end before.
    pub(crate) fn readable(&self, source: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut both = [PollFd::from_borrowed_fd(source, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                found => found.context("waiting")?,
            };
            let news = !both[1].revents().is_empty();
            if !both[0].revents().is_empty() {
                return Ok(());
            }
            if news && let Ok(Some(signal)) = self.news.read_signal() {
                let number = signal.ssi_signo.cast_signed();
                if [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM].contains(&number) {
                    bail!("ended by signal {number} before the instance had started");
                }
            }
        }
    }

    /// Passes them on to a program until it ends; gives its exit status.
    pub(crate) fn accompany_program(&self, program: &std::process::Child) -> Result<u8> {
        let process = i32::try_from(program.id()).ok().and_then(Pid::from_raw).context("process number")?;
        self.accompany(process).map(child::code)
    }

    /// Passes them on until the child ends.
    pub(crate) fn accompany(&self, child: Pid) -> Result<WaitStatus> {
        loop {
            if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).context("waiting for the instance")? {
                return Ok(status);
            }
            if let Ok(Some(signal)) = self.news.read_signal() {
                // What the terminal sends, everybody on it gets by himself.
                if signal.ssi_signo != libc::SIGCHLD.cast_unsigned() && signal.ssi_code <= 0 {
                    pass_on(child, signal.ssi_signo);
                }
            }
        }
    }
}

fn pass_on(child: Pid, number: u32) {
    let number = i32::try_from(number).unwrap_or(0);
    if let Some(signal) = rustix::process::Signal::from_named_raw(number) {
        let _ = kill_process(child, signal);
    }
}
