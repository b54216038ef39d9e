//! The seccomp filter: which system calls come to the supervisor.

use super::calls::{self, ARCHITECTURE};
use libc::sock_filter;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(number: u32) -> u32 {
    16 + 8 * number
}

/// System call numbers of the x32 interface begin here.
const X32: u32 = 0x4000_0000;

/// Standard input, output and error are hardly ever ours: asking about them costs nothing.
const STANDARD_DESCRIPTORS: u32 = 2;

/// Requests by which a descriptor that can only be read changes what it leads to: `FS_IOC_SETFLAGS`, its sister for small
/// machine words, `FS_IOC_FSSETXATTR`, `FS_IOC_SETVERSION`, `FS_IOC_ENABLE_VERITY`. All other requests pass.
const CHANGING_REQUESTS: [u32; 5] = [0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4008_7602, 0x4080_6685];

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Jumps over `yes` or `no` instructions.
fn jump(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | code | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn give(action: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

/// What a filter is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// A call that carries this as its sixth argument is one of the shim's own and passes.
    pub(super) cookie: u64,
    /// The program has a root of its own, in which it is root.
    pub(super) rooted: bool,
}

/// The program.
pub(super) fn program(purpose: Purpose, action: u32) -> Vec<sock_filter> {
    let Purpose { cookie, rooted } = purpose;
    let (low, high) = (cookie as u32, (cookie >> 32) as u32);
    let allow = || give(libc::SECCOMP_RET_ALLOW);
    let mut program = vec![
        load(ARCH),
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        allow(),
        load(NUMBER),
        jump(libc::BPF_JGE, X32, 0, 1),
        allow(),
    ];
    // A comparison and an answer for each number, so that no jump is ever too long. What is decided by the number
    // alone the kernel remembers, and does not run the program for it again.
    let numbers = calls::numbers(rooted);
    for number in &numbers {
        program.push(jump(libc::BPF_JEQ, *number, 0, 1));
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, 0));
    }
    for number in calls::IDENTITY.iter().filter(|_| rooted) {
        program.push(jump(libc::BPF_JEQ, *number as u32, 0, 1));
        // An error number of 0 is success.
        program.push(give(libc::SECCOMP_RET_ERRNO));
    }
    program.push(allow());
    let decide = program.len();
    for (at, instruction) in program.iter_mut().enumerate() {
        if instruction.code == (libc::BPF_JMP | libc::BPF_JA) as u16 {
            instruction.k = (decide - at - 1) as u32;
        }
    }
    const REQUESTS: u8 = CHANGING_REQUESTS.len() as u8;
    program.extend([
        // fstat of a standard descriptor.
        jump(libc::BPF_JEQ, libc::SYS_fstat as u32, 0, 3),
        load(argument(0)),
        jump(libc::BPF_JGT, STANDARD_DESCRIPTORS, REQUESTS + 4, 0),
        allow(),
        jump(libc::BPF_JEQ, libc::SYS_ioctl as u32, 0, REQUESTS + 2),
        load(argument(1)),
    ]);
    program.extend((0..).zip(CHANGING_REQUESTS).map(|(at, request)| jump(libc::BPF_JEQ, request, REQUESTS - at, 0)));
    program.extend([
        allow(),
        load(argument(5)),
        jump(libc::BPF_JEQ, low, 0, 3),
        load(argument(5) + 4),
        jump(libc::BPF_JEQ, high, 0, 1),
        allow(),
        give(action),
    ]);
    program
}

/// Installs the filter for this thread and what it will start; its calls come to whoever traces them.
pub(super) fn install_traced(purpose: Purpose) -> io::Result<()> {
    const PLAIN: libc::c_ulong = 0;
    install_one(purpose, libc::SECCOMP_RET_TRACE, &[libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, PLAIN]).map(drop)
}

/// Installs the filter for this thread and what it will start, and gives the listener.
pub(super) fn install(purpose: Purpose) -> io::Result<OwnedFd> {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    /// Linux 5.19.
    const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
    let wanted = [
        listener | WAIT_KILLABLE_RECV | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        listener | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        listener,
    ];
    // A call that a signal interrupts while it is answered is made once more; what changes something must not be.
    let known = if purpose.rooted { &wanted[..1] } else { &wanted };
    let fd = install_one(purpose, libc::SECCOMP_RET_USER_NOTIF, known)?;
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Installs it with the first of these flags that the kernel knows.
fn install_one(purpose: Purpose, action: u32, wanted: &[libc::c_ulong]) -> io::Result<i32> {
    let mut program = program(purpose, action);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let mut error = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in wanted {
        for _ in 0..2 {
            // SAFETY: a program with its length, which the kernel copies.
            let fd = unsafe {
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, *flags, std::ptr::from_ref(&filter))
            };
            if fd >= 0 {
                return Ok(fd as i32);
            }
            error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EACCES) {
                break;
            }
            // With CAP_SYS_ADMIN it works without, and set-user-ID programs keep working.
            // SAFETY: plain numbers.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        }
        if error.raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers to a call; a small interpreter of the instructions used.
    fn judge(program: &[sock_filter], number: u32, arguments: [u64; 6], architecture: u32) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(architecture.to_le_bytes());
        data.extend(0u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|a| a.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let i = &program[at];
            at += 1;
            let code = u32::from(i.code);
            if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                accumulator = u32::from_le_bytes(data[i.k as usize..][..4].try_into().unwrap());
            } else if code == libc::BPF_RET | libc::BPF_K {
                return i.k;
            } else if code == libc::BPF_JMP | libc::BPF_JA {
                at += i.k as usize;
            } else {
                let holds = match code & 0xf0 {
                    libc::BPF_JEQ => accumulator == i.k,
                    libc::BPF_JGT => accumulator > i.k,
                    libc::BPF_JGE => accumulator >= i.k,
                    _ => panic!("unknown code {code}"),
                };
                at += usize::from(if holds { i.jt } else { i.jf });
            }
        }
    }

    #[test]
    fn only_calls_with_paths_and_without_the_cookie_come_to_us() {
        const COOKIE: u64 = 0x1234_5678_9abc_def0;
        let program = program(Purpose { cookie: COOKIE, rooted: false }, libc::SECCOMP_RET_USER_NOTIF);
        assert!(program.len() < 4096);
        let judge = |number: libc::c_long, arguments| judge(&program, number as u32, arguments, ARCHITECTURE);
        let (ours, allowed) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        for number in calls::numbers(false) {
            if [libc::SYS_fstat, libc::SYS_ioctl].contains(&number.into()) {
                continue;
            }
            assert_eq!(judge(number.into(), [1, 2, 3, 4, 5, 0]), ours);
            assert_eq!(judge(number.into(), [1, 2, 3, 4, 5, COOKIE]), allowed);
            assert_eq!(judge(number.into(), [1, 2, 3, 4, 5, COOKIE ^ 1]), ours);
            assert_eq!(judge(number.into(), [1, 2, 3, 4, 5, COOKIE ^ 1 << 63]), ours);
        }
        for number in [libc::SYS_read, libc::SYS_write, libc::SYS_mmap, libc::SYS_getdents64, libc::SYS_fchdir] {
            assert_eq!(judge(number, [0; 6]), allowed);
        }
        assert_eq!(judge(libc::SYS_fstat, [2, 0, 0, 0, 0, 0]), allowed);
        assert_eq!(judge(libc::SYS_fstat, [3, 0, 0, 0, 0, 0]), ours);
        for request in CHANGING_REQUESTS {
            assert_eq!(judge(libc::SYS_ioctl, [3, request.into(), 0, 0, 0, 0]), ours);
            assert_eq!(judge(libc::SYS_ioctl, [3, u64::from(request) ^ 1, 0, 0, 0, 0]), allowed);
        }
        assert_eq!(judge(libc::SYS_ioctl, [0, libc::TCGETS, 0, 0, 0, 0]), allowed);
        assert_eq!(judge(libc::SYS_openat + i64::from(X32), [0; 6]), allowed);
    }

    #[test]
    fn in_a_root_of_its_own_the_program_is_root() {
        let program = |rooted| program(Purpose { cookie: 7, rooted }, libc::SECCOMP_RET_USER_NOTIF);
        for number in calls::IDENTITY {
            assert_eq!(judge(&program(true), number as u32, [0; 6], ARCHITECTURE), libc::SECCOMP_RET_ERRNO);
            assert_eq!(judge(&program(false), number as u32, [0; 6], ARCHITECTURE), libc::SECCOMP_RET_ALLOW);
        }
        let all = libc::SYS_getresuid as u32;
        assert_eq!(judge(&program(true), all, [0; 6], ARCHITECTURE), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(judge(&program(false), all, [0; 6], ARCHITECTURE), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn other_architectures_pass() {
        let program = program(Purpose { cookie: 7, rooted: false }, libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(judge(&program, libc::SYS_openat as u32, [0; 6], ARCHITECTURE ^ 1), libc::SECCOMP_RET_ALLOW);
    }
}
