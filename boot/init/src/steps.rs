//! The boot, as a list that can be read from top to bottom.

use crate::clock;
use crate::console::Console;
use crate::contextualize::{self, Kept};
use crate::disks::plan::{self, Disk, Plan};
use crate::network::{self, Network};
use crate::repository::{self, REPOSITORY, SCRATCH, Snapshot};
use crate::{cluster, core_files, disks, inject, modules, rescue, roles, scratch, switch};
use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount, mount_bind};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use ucernvm_context::cluster::Cluster;
use ucernvm_context::opennebula::Context as OpenNebula;
use ucernvm_context::settings::TimeSource;
use ucernvm_context::{About, CommandLine, Interface, Section, Settings, UserData};
use ucernvm_update::contract::{self, OURS, Verdict};
use ucernvm_update::state::{Action, Pin};
use ucernvm_update::trial;

mod loader;
mod snapshot;

/// On the scratch: the files that were to be fetched before the system starts are in the cache.
const PREPARED: &str = "cache/pinned";

/// A step of the boot.
struct Step {
    /// Its name in the log.
    name: &'static str,
    run: fn(&mut Boot) -> Result<()>,
}

/// All steps, in order.
const STEPS: [Step; 20] = [
    Step { name: "modules", run: load_modules },
    Step { name: "disks", run: look_at_disks },
    Step { name: "scratch", run: open_scratch },
    Step { name: "loader", run: loader::start_staged },
    Step { name: "network", run: start_network },
    Step { name: "context", run: contextualize },
    // User data may say whom to ask.
    Step { name: "time", run: ask_for_the_time },
    Step { name: "cluster", run: join_cluster },
    Step { name: "new scratch", run: make_scratch },
    Step { name: "keep context", run: keep_context },
    Step { name: "finish update", run: snapshot::finish_update },
    Step { name: "repository", run: snapshot::mount_repository },
    Step { name: "rebase", run: snapshot::rebase },
    Step { name: "overlay", run: mount_overlay },
    Step { name: "prefetch", run: prefetch },
    Step { name: "kernel modules", run: post_modules },
    Step { name: "hand over", run: hand_over },
    Step { name: "core files", run: fetch_core_files },
    Step { name: "pin", run: write_pin },
    Step { name: "debug", run: debug_shell },
];

/// What is known so far.
pub(crate) struct Boot {
    console: Console,
    release: String,
    built: u64,
    line: CommandLine,
    settings: Settings,
    /// Names of disks and partitions when they were looked at.
    present: Vec<String>,
    disks: Vec<Disk>,
    told: Option<OpenNebula>,
    network: Option<Network>,
    plan: Option<Plan>,
    mounted: bool,
    context: Option<UserData>,
    pickup: Option<Vec<u8>>,
    section: Option<Section>,
    snapshot: Option<Snapshot>,
    root_hash: String,
    /// Somebody wishes another snapshot.
    wished: bool,
    /// What became of the overlay, if this is the first boot of another snapshot that somebody wished.
    changed: Option<Action>,
    begun: Instant,
    log: String,
}

/// Boots. Comes back only to replace this process, or not at all.
pub(crate) fn boot() -> ! {
    let mut boot = match Boot::begin() {
        Ok(boot) => boot,
        Err(error) => rescue::give_up(&Console::open(), &error, ucernvm_context::settings::Rescue::Shell),
    };
    for step in &STEPS {
        let result = (step.run)(&mut boot).with_context(|| format!("step '{}'", step.name));
        boot.note(step.name);
        if let Err(error) = result {
            rescue::give_up(&boot.console, &error, boot.settings.rescue);
        }
    }
    boot.keep_logs();
    boot.console.result_line(format_args!("[INF] Booting CERN Virtual Machine {}", boot.release));
    let Err(error) = switch::switch();
    rescue::give_up(&boot.console, &error, boot.settings.rescue)
}

impl Boot {
    /// What all else needs: the kernel's file systems, and what the image says about itself.
    fn begin() -> Result<Boot> {
        let begun = Instant::now();
        let usual = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        for (kind, place, flags, options) in [
            ("proc", "/proc", usual, c""),
            ("sysfs", "/sys", usual, c""),
            ("devtmpfs", "/dev", MountFlags::NOSUID, c"mode=755"),
            ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755"),
        ] {
            fs::create_dir_all(place)?;
            if let Err(error) = mount(kind, place, kind, flags, Some(options))
                && error != rustix::io::Errno::BUSY
            {
                bail!("{place}: {error}");
            }
        }
        let version = fs::read_to_string("/version").unwrap_or_default();
        let mut lines = version.lines();
        let release = lines.next().unwrap_or("unknown").to_owned();
        let built = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
        clock::set_floor(built);
        let line = CommandLine::parse(&fs::read_to_string("/proc/cmdline")?);
        let console = Console::open();
        console.welcome(&release);
        Ok(Boot {
            settings: Settings::from_command_line(&line),
            console,
            release,
            built,
            line,
            present: Vec::new(),
            disks: Vec::new(),
            told: None,
            network: None,
            plan: None,
            mounted: false,
            context: None,
            pickup: None,
            section: None,
            snapshot: None,
            root_hash: String::new(),
            wished: false,
            changed: None,
            begun,
            log: String::new(),
        })
    }

    /// Files below the scratch.
    fn scratch(&self, name: &str) -> std::path::PathBuf {
        Path::new(SCRATCH).join(name)
    }

    /// Whether an earlier boot of this snapshot has filled the cache.
    fn is_prepared(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.fresh) && self.scratch(PREPARED).exists()
    }

    /// Does what is done to the system once in its life, and remembers that by a file on the scratch. The system is complete
    /// without, so a failure is only said.
    fn once(&self, marker: &str, what: Option<&str>, run: impl FnOnce(&Settings) -> Result<Vec<String>>) -> Result<()> {
        let marker = self.scratch(marker);
        if marker.exists() {
            return Ok(());
        }
        let result = match what {
            Some(what) => self.checked(what, || run(&self.settings)),
            None => run(&self.settings),
        };
        match result {
            Ok(remarks) => {
                remarks.iter().for_each(|remark| self.console.warn(format_args!("user data: {remark}")));
                fs::write(marker, "")?;
            }
            Err(error) => self.console.warn(format_args!("{error:#}")),
        }
        Ok(())
    }

    /// Puts down when something was done.
    fn note(&mut self, what: &str) {
        self.log.push_str(&format!("{:>7} ms {what}\n", self.begun.elapsed().as_millis()));
    }

    fn keep_logs(&self) {
        let network = self.network.as_ref().map(|network| network.log.as_str()).unwrap_or_default();
        for (name, text) in [("steps.log", self.log.as_str()), ("network.log", network)] {
            let _ = fs::write(self.scratch("ulogs").join(name), text);
        }
    }

    /// Tells what begins, does it, and tells how it ended.
    fn checked<T>(&self, what: impl std::fmt::Display, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.console.begin(what);
        let result = run();
        match &result {
            Ok(_) => self.console.check(),
            Err(_) => self.console.failed(),
        }
        result
    }
}

fn load_modules(boot: &mut Boot) -> Result<()> {
    let failed = boot.checked("Loading predefined modules", modules::load)?;
    if !failed.is_empty() {
        boot.console.warn(format_args!("not loaded: {}", failed.join(" ")));
    }
    Ok(())
}

/// Drivers find their disks a moment after they were loaded, one after the other. No disk at all is possible, too.
fn look_at_disks(boot: &mut Boot) -> Result<()> {
    const QUIET: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(5);
    let (begun, mut changed) = (Instant::now(), Instant::now());
    loop {
        if scan_again(boot) {
            changed = Instant::now();
        }
        let is_known = matches!(plan::plan(&boot.disks, boot.settings.scratch_device.as_deref()), Ok(Plan::Use(_)));
        if is_known || changed.elapsed() >= QUIET || begun.elapsed() >= PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    boot.told = contextualize::told_network(&boot.disks);
    Ok(())
}

/// Looks at all disks if there are others than before.
fn scan_again(boot: &mut Boot) -> bool {
    let names = disks::present();
    let is_new = names != boot.present;
    if is_new {
        boot.disks = disks::scan();
        boot.present = names;
    }
    is_new
}

/// Without a network a machine may still boot from what is in its cache; later steps notice.
fn start_network(boot: &mut Boot) -> Result<()> {
    let mut told = Interface::all_from(&boot.line);
    if told.is_empty() {
        told = boot.told.as_ref().map(OpenNebula::interfaces).unwrap_or_default();
    }
    boot.console.begin(format_args!(
        "Starting networking{}",
        if told.is_empty() { "" } else { " (using static network settings)" }
    ));
    match network::start(&told) {
        Ok(network) => {
            boot.console.check();
            fs::create_dir_all("/etc")?;
            fs::write("/etc/resolv.conf", network.resolver())?;
            boot.network = Some(network);
        }
        Err(error) => {
            boot.console.failed();
            boot.console.warn(format_args!("{error:#}"));
        }
    }
    Ok(())
}

fn ask_for_the_time(boot: &mut Boot) -> Result<()> {
    let Some(network) = &boot.network else { return Ok(()) };
    let server = match &boot.settings.time {
        TimeSource::Nobody => return Ok(()),
        TimeSource::Server(server) => server.clone(),
        // The network's own server is nearer.
        TimeSource::Usual => network.time_servers.first().map_or(clock::USUAL.to_owned(), IpAddr::to_string),
    };
    boot.console.begin(format_args!("Getting time from {server}"));
    match clock::ask(&server, boot.built) {
        Ok(()) => boot.console.check(),
        Err(_) => boot.console.failed(),
    }
    Ok(())
}

/// A scratch that exists is mounted first: it knows whether this is the first boot, and which loader is wanted.
fn open_scratch(boot: &mut Boot) -> Result<()> {
    fs::create_dir_all(repository::JAIL)?;
    if let Ok(found @ Plan::Use(_)) = plan::plan(&boot.disks, boot.settings.scratch_device.as_deref()) {
        mount_scratch(boot, found)?;
    }
    Ok(())
}

fn mount_scratch(boot: &mut Boot, plan: Plan) -> Result<()> {
    boot.checked("Mounting root filesystem", || {
        scratch::mount_checked(&plan, Path::new(SCRATCH))?;
        scratch::furnish(Path::new(SCRATCH), plan != Plan::Memory)
    })?;
    agree_on_scratch(Path::new(SCRATCH))?;
    (boot.plan, boot.mounted) = (Some(plan), true);
    Ok(())
}

fn contextualize(boot: &mut Boot) -> Result<()> {
    let kept = Kept::on(Path::new(SCRATCH));
    if boot.mounted && kept.exists() {
        boot.section = kept.section();
        if let Some(section) = &boot.section {
            boot.settings.apply(section);
        }
        return Ok(());
    }
    boot.console.begin("Contextualizing VM");
    let server = boot.network.as_ref().and_then(|network| network.dhcp_server);
    let told = boot.line.value("ds").map(str::to_owned).or_else(contextualize::told_by_firmware);
    boot.context = contextualize::fetch(&boot.disks, boot.network.is_some(), told.as_deref(), server);
    boot.console.result(boot.context.as_ref().map_or("(none)", |data| data.source));
    let extra = contextualize::extra(&boot.disks);
    if !extra.found.is_empty() {
        boot.console.begin("Extra user data");
        boot.console.result(extra.found.join(" "));
    }
    boot.pickup = extra.pickup;
    for document in &extra.documents {
        let nothing = UserData { source: "extra-user-data", bytes: Vec::new(), about: About::default() };
        boot.context = Some(boot.context.take().unwrap_or(nothing).with(document));
    }
    let (section, mut remarks) = boot.context.as_ref().map(UserData::section).unwrap_or_default();
    if let Some(section) = &section {
        remarks.extend(boot.settings.apply(section));
    }
    remarks.iter().for_each(|remark| boot.console.warn(format_args!("user data: {remark}")));
    boot.section = section;
    Ok(())
}

/// Once: what was found out is written into the user data that are kept.
fn join_cluster(boot: &mut Boot) -> Result<()> {
    let Some(data) = &boot.context else { return Ok(()) };
    let joined = match Cluster::of(&boot.settings) {
        Ok(None) => return Ok(()),
        Ok(Some(cluster)) => {
            let role = if cluster.is_head { "Master" } else { "Slave" };
            boot.console.begin(format_args!("{role} cluster contextualization"));
            let joined = cluster::join(&cluster, data);
            match &joined {
                Ok(_) => boot.console.check(),
                Err(_) => boot.console.failed(),
            }
            joined
        }
        Err(reason) => Err(anyhow::Error::msg(reason)),
    };
    match joined {
        Ok(None) => {}
        Ok(Some(data)) => {
            // The address may be part of what this loader is told.
            boot.section = data.section().0;
            if let Some(section) = &boot.section {
                boot.settings.apply(section);
            }
            boot.context = Some(data);
        }
        Err(error) => boot.console.warn(format_args!("{error:#}")),
    }
    Ok(())
}

fn make_scratch(boot: &mut Boot) -> Result<()> {
    if boot.mounted {
        return Ok(());
    }
    // One may have come late, with a scratch on it.
    scan_again(boot);
    let mut plan = plan::plan(&boot.disks, boot.settings.scratch_device.as_deref())
        .map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    if let Plan::Partition(disk) = &plan {
        let whole = boot.settings.whole_disk;
        plan =
            Plan::Format(boot.checked(format_args!("Partitioning /dev/{disk}"), || scratch::partition(disk, whole))?);
    }
    if let Plan::Format(partition) = &plan {
        boot.checked(format_args!("Formatting /dev/{partition}"), || scratch::format(partition))?;
    }
    if plan == Plan::Memory {
        boot.console.warn("no disk: what is written is lost when the machine ends");
    }
    mount_scratch(boot, plan)
}

/// That there is none is believed when all else has worked.
fn keep_context(boot: &mut Boot) -> Result<()> {
    let kept = Kept::on(Path::new(SCRATCH));
    if let Some(archive) = boot.pickup.take() {
        kept.keep_pickup(&archive)?;
    }
    match &boot.context {
        Some(data) if !kept.exists() => kept.keep(Some(data), boot.section.as_ref()),
        _ => Ok(()),
    }
}

/// What is on the scratch may be of another loader.
fn agree_on_scratch(scratch: &Path) -> Result<()> {
    let file = scratch.join(contract::OF_SCRATCH);
    match contract::judge(fs::read_to_string(&file).ok().as_deref(), OURS) {
        Verdict::Foreign(theirs) => {
            bail!("the scratch is of contract {theirs}, this loader of {OURS}: it takes another image")
        }
        Verdict::Lacks(_) => Ok(()),
        Verdict::Fits => Ok(ucernvm_update::state::replace(&file, OURS.to_text().as_bytes())?),
    }
}

fn mount_overlay(boot: &mut Boot) -> Result<()> {
    let Some(tree) = boot.settings.tree() else {
        bail!("cernvm_path={} leads out of the repository", boot.settings.path)
    };
    repository::unfurnish();
    switch::overlay(tree)?;
    // What users of the system read from other repositories lies on the scratch, too.
    let resolver = boot.network.as_ref().map(Network::resolver).unwrap_or_default();
    switch::prepare(&resolver)?;
    mount_bind(boot.scratch("cvmfs"), Path::new(switch::ROOT).join("cvmfs"))?;
    Ok(())
}

fn post_modules(boot: &mut Boot) -> Result<()> {
    boot.checked("Posting kernel modules", || modules::post(Path::new(switch::ROOT))).map(|_| ())
}

fn hand_over(boot: &mut Boot) -> Result<()> {
    for remark in Kept::on(Path::new(SCRATCH)).hand_over(Path::new(switch::ROOT))? {
        boot.console.warn(format_args!("user data: {remark}"));
    }
    let release = boot.scratch(crate::update::loader::RELEASE);
    ucernvm_update::state::replace(&release, format!("{}\n", boot.release).as_bytes())?;
    crate::update::offer(Path::new(switch::ROOT))?;
    let root = Path::new(switch::ROOT);
    if boot.settings.is_cluster_head && boot.settings.cluster_pin.is_some() {
        cluster::offer_ready()?;
    }
    let pickup = Kept::on(Path::new(SCRATCH)).pickup();
    if pickup.exists() {
        boot.once("context/picked-up", Some("Unpacking pickup.tar.gz"), |_| {
            inject::unpack_file(&pickup, root).map(|()| Vec::new())
        })?;
    }
    if boot.settings.inject.is_some() {
        boot.once("context/injected", Some("Injecting files"), |settings| {
            inject::unpack(settings.inject.as_deref().unwrap_or_default(), root).map(|()| Vec::new())
        })?;
    }
    // What was just brought along may be a unit.
    boot.once("context/role", None, |settings| roles::assign(root, settings.target.as_deref(), &settings.units))
}

/// What the system is known to read is fetched at once, instead of one after the other when it is wanted.
fn prefetch(boot: &mut Boot) -> Result<()> {
    let lower = Path::new(REPOSITORY);
    let (Some(tree), Some(fqrn)) = (boot.settings.tree(), &boot.settings.repository) else { return Ok(()) };
    let Ok(list) = fs::read_to_string(lower.join(tree).join(core_files::RECORDED)) else { return Ok(()) };
    // A later boot has it in its cache, and asking for each takes time.
    if boot.is_prepared() {
        return Ok(());
    }
    boot.console.begin("Fetching recorded files");
    match core_files::fetch_all(&list, fqrn, lower) {
        0 => boot.console.check(),
        failed => {
            boot.console.failed();
            boot.console.warn(format_args!("{failed} recorded files could not be fetched"));
        }
    }
    Ok(())
}

/// What has to work without a network lies in the cache before the system starts.
fn fetch_core_files(boot: &mut Boot) -> Result<()> {
    let root = Path::new(switch::ROOT);
    let Ok(list) = fs::read_to_string(root.join(core_files::LIST)) else { return Ok(()) };
    if boot.is_prepared() {
        return Ok(());
    }
    boot.console.begin("Pinning core file set");
    match core_files::read_all(&list, root) {
        0 => {
            boot.console.check();
            fs::write(boot.scratch(PREPARED), "")?;
        }
        failed => {
            boot.console.failed();
            boot.console.warn(format_args!("{failed} core files could not be read"));
        }
    }
    Ok(())
}

fn write_pin(boot: &mut Boot) -> Result<()> {
    let kept = Kept::on(Path::new(SCRATCH));
    if boot.network.is_some() && !kept.exists() {
        kept.keep(None, None)?;
    }
    let (scratch, root_hash) = (Path::new(SCRATCH), &boot.root_hash);
    let noted = match boot.changed {
        // Where nothing will say that the system is up, it would be left though it is.
        _ if !crate::update::says_good(Path::new(switch::ROOT)) => trial::approve(scratch, root_hash).map(|_| ()),
        Some(action) => trial::begin(scratch, root_hash, action),
        None => trial::count(scratch, root_hash),
    };
    if let Err(error) = noted {
        boot.console.warn(format_args!("whether the system comes up is not noted: {error}"));
    }
    match &boot.snapshot {
        Some(snapshot) if snapshot.fresh => {
            let pin = Pin { root_hash: boot.root_hash.clone(), tag: snapshot.tag.clone() };
            Ok(pin.write(Path::new(SCRATCH))?)
        }
        _ => Ok(()),
    }
}

fn debug_shell(boot: &mut Boot) -> Result<()> {
    if boot.settings.debug {
        boot.console.line("* cvmdebug: the system starts when this shell ends");
        rescue::shell(&boot.console);
    }
    Ok(())
}
