//! What the process that serves does: mount, say that it is ready, obey signals until it is unmounted.

use super::arguments::Arguments;
use super::background;
use super::logger::{self, Target};
use crate::Settings;
use anyhow::{Context as _, Result};
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::config::{Config, table};
use libcvmfs::prefetch::RecordFile;
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Resource, Rlimit};
use std::path::Path;
use std::sync::{Arc, Once};

/// Mounts and serves until it is unmounted.
pub(crate) fn run(arguments: &Arguments, fqrn: &str, place: &Path) -> Result<()> {
    let inside = background::is_inside();
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD]);
    // From before there are other threads, so that only one waits for them.
    signals.thread_block().context("blocking signals")?;
    // As the kernel knows it.
    let place = std::fs::canonicalize(place).or_else(|_| std::path::absolute(place));
    let place = place.context("the place to mount on")?;
    let client = client(arguments)?;
    let repository_name = fqrn;
    let config = client.config(repository_name).context("reading the configuration")?;
    // All of it before anything is mounted.
    let survives = arguments.survive || config.on(&table::SYSTEMD_NOKILL)?;
    let priority = config.integer(&table::OOM_SCORE_ADJ)?.unwrap_or(-1000);
    let target = Target::chosen(arguments, &config, inside)?;
    let keeps_errors = target == Target::Stderr;
    logger::start(target, arguments.verbose)?;
    let repository = client.repository(repository_name).with_context(|| fqrn.to_owned())?;
    raise_limit_of_files();
    if inside {
        background::detach()?;
    }
    let list = arguments.record.as_deref().map(RecordFile::new).transpose().context("--record")?.map(Arc::new);
    let write_list = writer(list.clone(), client.clone());
    let settings = settings(arguments, &config, list, write_list.clone())?;
    let mounted = crate::mount(client.namespace().clone(), repository, &place, settings)?;
    let mounted = Arc::new(mounted);
    // Through the kernel, as everybody else will.
    let first = std::fs::read_dir(&place).map(|mut entries| entries.next().transpose());
    if let Err(error) = first.and_then(|entry| entry) {
        let _ = crate::unmount(&place, true);
        return Err(error).with_context(|| format!("the first look at {}", place.display()));
    }
    let device = device_at(&place);
    if survives {
        survive(priority);
    }
    if inside {
        background::ready(keeps_errors)?;
    }
    log::info!("{fqrn} is mounted on {}", place.display());
    obey(&signals, &mounted, &place, device)?;
    write_list();
    Ok(())
}

/// Writes the list of what was opened, once: later its file system may be read-only.
fn writer(list: Option<Arc<RecordFile>>, client: Client) -> impl Fn() + Clone + Send + Sync + 'static {
    let once = Arc::new(Once::new());
    move || {
        once.call_once(|| {
            if let Some(list) = &list
                && let Err(error) = list.write(&client)
            {
                log::error!("{}: {error}", list.path().display());
            }
        });
    }
}

fn client(arguments: &Arguments) -> Result<Client> {
    let mut settings = ClientSettings::from_process();
    settings.options.clone_from(&arguments.options);
    if arguments.pin {
        settings.options.push((table::AUTO_UPDATE.name.to_owned(), "no".to_owned()));
    }
    #[cfg(feature = "pac")]
    {
        settings.pac = Some(Arc::new(cvmfs_pac::PacEngine::default()));
    }
    Client::new(settings).context("reading the configuration")
}

fn settings(
    arguments: &Arguments,
    config: &Config,
    record: Option<Arc<RecordFile>>,
    write_list: impl Fn() + Send + Sync + 'static,
) -> Result<Settings> {
    let is_set = |name: &str| config.value(name).is_some();
    let usual = Settings::default();
    Ok(Settings {
        for_others: usual.for_others || arguments.allow_other,
        checks_permissions: config.on(&table::CHECK_PERMISSIONS)?,
        passthrough: config.switch(&table::FUSE_PASSTHROUGH)? != Some(false),
        kernel_keeps: config.duration(&table::KCACHE_TIMEOUT)?.filter(|_| is_set(table::KCACHE_TIMEOUT.name)),
        record,
        on_drop: Box::new(move || {
            write_list();
            logger::close();
        }),
        ..usual
    })
}

/// Every open file of a program is one here.
fn raise_limit_of_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Is the last to be ended, and never waits for memory that it serves itself.
fn survive(priority: i64) {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", priority.to_string()) {
        log::warn!("the kernel may end this program when memory runs out: {error}");
    }
    /// Only what is really used.
    const FLAGS: libc::c_int = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: it takes no pointer, and changes no content of memory.
    if unsafe { libc::mlockall(FLAGS) } != 0 {
        log::warn!("memory of this program may be paged out: {}", std::io::Error::last_os_error());
    }
}

/// The device that is mounted there, of which nothing is asked: who is dead would not answer.
fn device_at(place: &Path) -> Option<(u32, u32)> {
    let found = statx(CWD, place, AtFlags::STATX_DONT_SYNC, StatxFlags::empty()).ok()?;
    Some((found.stx_dev_major, found.stx_dev_minor))
}

/// Does what signals ask for, until it is unmounted.
fn obey(signals: &SigSet, mounted: &Arc<crate::Mounted>, place: &Path, device: Option<(u32, u32)>) -> Result<()> {
    let waiting = mounted.clone();
    let end = std::thread::spawn(move || {
        let end = waiting.wait();
        // Wakes the loop below.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), Signal::SIGCHLD);
        end
    });
    while !mounted.has_ended() {
        match signals.wait().context("waiting for signals")? {
            Signal::SIGHUP => match mounted.reload() {
                Ok(said) => log::info!("asked to reload: {said}"),
                Err(error) => log::error!("asked to reload: {error}"),
            },
            Signal::SIGTERM | Signal::SIGINT => {
                // Something else may be mounted there since: then this one is only waiting for its last user.
                let is_ours = device_at(place) == device;
                // Whoever uses it goes on with what is open.
                if is_ours && let Err(error) = crate::unmount(place, true) {
                    log::error!("{error}");
                }
            }
            _ => {}
        }
    }
    match end.join() {
        Ok(end) => end.context("serving the kernel"),
        Err(_) => anyhow::bail!("serving the kernel: a mistake in this program"),
    }
}
