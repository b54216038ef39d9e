//! What can be asked of a mounted file system: an `ioctl` on its root directory, so that who can reach the mount can ask,
//! in whatever namespace he is.

use crate::tree::Tree;
use libcvmfs::repository::Refreshed;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Bytes of a message, in both directions.
pub(crate) const ROOM: usize = 1024;
/// How long what is being written may take to end.
const WRITING: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Look for a newer revision now.
    Reload,
    /// Give up everything through which the file system below the cache could be changed.
    DropWritable,
    /// Ask these name servers from now on; none: those of the machine.
    NameServers(Vec<SocketAddr>),
    /// How many entries the kernel knows, and which revision is mounted.
    Status,
    /// What the servers publish now: root hash, revision, and a tag if there is one. What is mounted stays.
    Newest,
}

impl Question {
    /// Letter that tells our commands from others'.
    const LETTER: u32 = 0xCF;

    fn number(&self) -> u32 {
        match self {
            Question::Reload => 1,
            Question::DropWritable => 2,
            Question::NameServers(_) => 3,
            Question::Status => 4,
            Question::Newest => 5,
        }
    }

    /// The kernel's form of a command that takes and gives a message: two bits of direction, size, letter, number.
    fn command(&self) -> u32 {
        (3 << 30) | ((ROOM as u32) << 16) | (Question::LETTER << 8) | self.number()
    }

    /// The question behind a command and its message.
    pub(crate) fn parse(command: u32, message: &[u8]) -> Option<Question> {
        let servers = Question::NameServers(Vec::new());
        let all = [Question::Reload, Question::DropWritable, servers, Question::Status, Question::Newest];
        let question = all.into_iter().find(|question| question.command() == command)?;
        match question {
            Question::NameServers(_) => {
                let text = text(message);
                let servers = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>();
                Some(Question::NameServers(servers.ok()?))
            }
            question => Some(question),
        }
    }

    fn text(&self) -> String {
        match self {
            Question::NameServers(servers) => servers.iter().map(|server| format!("{server} ")).collect(),
            _ => String::new(),
        }
    }
}

/// Asks the file system mounted at `place`; gives what it says.
///
/// # Errors
/// `ENOTTY` where no file system of this program is mounted, `EPERM` for whoever is neither root nor its owner, and
/// what it could not do.
pub fn ask(place: &Path, question: &Question) -> io::Result<String> {
    let mut message = filled(&question.text());
    let root = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(place)?;
    // SAFETY: the command says how many bytes are read and written, and the message has that many.
    let done = unsafe { libc::ioctl(root.as_raw_fd(), question.command() as libc::Ioctl, message.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    match text(&message).split_once(' ') {
        Some(("ok", said)) => Ok(said.to_owned()),
        Some((_, said)) => Err(io::Error::other(said.to_owned())),
        None => Err(io::Error::other("it said nothing")),
    }
}

/// An answer as a message: `ok` or `failed`, and a text.
pub(crate) fn message(answer: &Result<String, String>) -> [u8; ROOM] {
    match answer {
        Ok(said) => filled(&format!("ok {said}")),
        Err(said) => filled(&format!("failed {said}")),
    }
}

/// A message of fixed size that ends with zeros.
fn filled(text: &str) -> [u8; ROOM] {
    let mut message = [0; ROOM];
    let bytes = text.bytes().take(ROOM - 1);
    message.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    message
}

fn text(message: &[u8]) -> String {
    let end = message.iter().position(|&byte| byte == 0).unwrap_or(message.len());
    String::from_utf8_lossy(&message[..end]).into_owned()
}

/// What answers.
pub(crate) struct Control {
    kernel: Mutex<Option<Kernel>>,
    /// What else is to be given up with the cache's descriptors: the file that is logged to.
    pub(crate) on_drop: Box<dyn Fn() + Send + Sync>,
}

/// The way to tell the kernel something unasked.
pub(crate) struct Kernel {
    pub(crate) device: OwnedFd,
    pub(crate) notifier: fuser::Notifier,
}

impl Control {
    pub(crate) fn new(on_drop: Box<dyn Fn() + Send + Sync>) -> Control {
        Control { kernel: Mutex::new(None), on_drop }
    }

    pub(crate) fn connect(&self, kernel: Option<Kernel>) {
        *self.kernel.lock() = kernel;
    }

    pub(crate) fn answer(&self, tree: &Tree, question: &Question) -> Result<String, String> {
        match question {
            Question::Reload => self.reload(tree),
            Question::DropWritable => {
                let stopped = tree.repository().stop_writing(WRITING);
                (self.on_drop)();
                stopped.map(|()| "nothing is written any more".to_owned()).map_err(|error| error.to_string())
            }
            Question::NameServers(servers) => {
                tree.repository().set_name_servers(servers);
                log::info!("name servers are {servers:?} from now on");
                Ok("set".to_owned())
            }
            Question::Newest => {
                let (identity, tag) = tree.repository().newest().map_err(|error| error.to_string())?;
                let tag = tag.map(|tag| format!(" {tag}")).unwrap_or_default();
                Ok(format!("{} {}{tag}", identity.root_hash, identity.revision))
            }
            Question::Status => {
                let state = tree.repository().state();
                let Some(offline) = state.offline else {
                    return Ok(format!("revision {}, {} entries known", state.identity.revision, tree.known()));
                };
                Ok(format!("revision {}, {} entries known, offline: {offline}", state.identity.revision, tree.known()))
            }
        }
    }

    /// Looks for a newer revision, and tells the kernel if there is one.
    pub(crate) fn reload(&self, tree: &Tree) -> Result<String, String> {
        match tree.refresh().map_err(|error| error.to_string())? {
            Refreshed::Newer { revision } => {
                self.tell_kernel(tree);
                Ok(format!("revision {revision}"))
            }
            Refreshed::UpToDate => Ok(format!("still revision {}", tree.repository().state().identity.revision)),
            Refreshed::Offline { reason } => Err(reason),
        }
    }

    /// Makes the kernel ask again for everything that it knows, without taking anything away from who uses it.
    pub(crate) fn tell_kernel(&self, tree: &Tree) {
        let kernel = self.kernel.lock();
        let Some(kernel) = &*kernel else { return };
        for id in tree.directories() {
            let _ = kernel.notifier.inval_inode(fuser::INodeNo(id), -1, 0);
        }
        if let Err(error) = new_epoch(&kernel.device) {
            log::debug!("the kernel keeps names until their time is over: {error}");
        }
    }
}

/// Tells the kernel that all names it knows are to be looked up again (Linux 6.16).
fn new_epoch(device: &OwnedFd) -> io::Result<()> {
    /// `FUSE_NOTIFY_INC_EPOCH`.
    const EPOCH: i32 = 8;
    // Length, what it is about, and 0: not the answer to a question.
    let header = [16u32.to_ne_bytes(), EPOCH.to_ne_bytes(), [0; 4], [0; 4]].concat();
    let mut device = File::from(device.try_clone()?);
    io::Write::write_all(&mut device, &header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        let servers = vec!["10.0.0.1:53".parse().unwrap(), "[fe80::1]:5353".parse().unwrap()];
        for question in [
            Question::Reload,
            Question::DropWritable,
            Question::Status,
            Question::Newest,
            Question::NameServers(servers),
            Question::NameServers(vec![]),
        ] {
            assert_eq!(Question::parse(question.command(), &filled(&question.text())), Some(question));
        }
        assert_eq!(Question::parse(Question::Reload.command() ^ 0x80, &[0; ROOM]), None);
        assert_eq!(Question::parse(Question::NameServers(vec![]).command(), b"nonsense"), None);
    }

    #[test]
    fn a_long_answer_is_cut() {
        assert_eq!(text(&message(&Ok("x".repeat(5000)))).len(), ROOM - 1);
        assert_eq!(text(&message(&Err("why".into()))), "failed why");
    }
}
