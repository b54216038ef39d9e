//! What the program may not do, though it is root of its namespaces.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use std::io;

/// What root needs to look after files, users and processes of its own, and nothing more: no mounts, no network
/// settings, no tracing of others, no devices.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETFCAP);

/// Gives up everything that the program does not need, for this process and all that it starts.
pub(crate) fn give_up() -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !KEPT.intersects(one) {
            match remove_capability_from_bounding_set(one) {
                // The kernel does not know that many.
                Err(Errno::INVAL) => break,
                done => done?,
            }
        }
    }
    let _ = clear_ambient_capability_set();
    let kept = capabilities(None)?.permitted.intersection(KEPT);
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    set_no_new_privs(true)?;
    forbid_typing()
}

/// The machine and the number of `ioctl` on it, for each kind of program that this kernel runs.
#[cfg(target_arch = "x86_64")]
const IOCTL: [(u32, u32); 3] = [(0xc000_003e, 16), (0xc000_003e, 0x4000_0202), (0x4000_0003, 54)];
#[cfg(target_arch = "aarch64")]
const IOCTL: [(u32, u32); 2] = [(0xc000_00b7, 29), (0x4000_0028, 54)];

/// Calls with which a program could type commands into the terminal that it shares with the shell outside.
const TYPING: [u32; 2] = [libc::TIOCSTI as u32, 0x541c];

/// Offsets in what a filter sees of a call.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const SECOND_ARGUMENT: u32 = if cfg!(target_endian = "little") { 24 } else { 28 };

/// Makes the calls that type into a terminal fail.
fn forbid_typing() -> io::Result<()> {
    let filter = filter();
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the structure and the instructions that it tells of are there during the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn filter() -> Vec<libc::sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = Vec::new();
    for (index, (machine, number)) in IOCTL.into_iter().enumerate() {
        // From behind this part over the later ones and over the answer "yes".
        let later = (IOCTL.len() - 1 - index) * 7 + 1;
        let refuse = u8::try_from(later).unwrap_or(u8::MAX);
        filter.extend([
            step(LOAD, 0, 0, MACHINE),
            step(EQUAL, 0, 5, machine),
            step(LOAD, 0, 0, NUMBER),
            step(EQUAL, 0, 3, number),
            step(LOAD, 0, 0, SECOND_ARGUMENT),
            step(EQUAL, refuse + 1, 0, TYPING[0]),
            step(EQUAL, refuse, 0, TYPING[1]),
        ]);
    }
    filter.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    filter
}
