//! The registers of a stopped thread: which hold a system call, and how to make it again.

use std::io;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::Registers;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::Registers;

pub(super) fn ptrace(request: libc::c_uint, tid: u32, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: every caller passes what its request wants: numbers, or the address of a buffer of the right size.
    let done = unsafe { libc::ptrace(request as _, tid, address, data) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::ptrace;
    use std::io;

    /// Bytes of the `syscall` instruction.
    const INSTRUCTION: u64 = 2;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Registers(libc::user_regs_struct);

    impl Registers {
        pub(in super::super) fn read(tid: u32) -> io::Result<Registers> {
            // SAFETY: a structure of plain numbers.
            let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
            ptrace(libc::PTRACE_GETREGS, tid, 0, std::ptr::from_mut(&mut registers) as usize)?;
            Ok(Registers(registers))
        }

        pub(in super::super) fn write(&self, tid: u32) -> io::Result<()> {
            ptrace(libc::PTRACE_SETREGS, tid, 0, std::ptr::from_ref(&self.0) as usize)
        }

        /// What the call that just ended returned.
        pub(in super::super) fn result(&self) -> i64 {
            self.0.rax as i64
        }

        /// The thread, which is behind a system call, makes this one next.
        pub(in super::super) fn call(&self, number: i64, arguments: [u64; 6]) -> Registers {
            let mut next = self.0;
            let [a, b, c, d, e, f] = arguments;
            (next.rdi, next.rsi, next.rdx, next.r10, next.r8, next.r9) = (a, b, c, d, e, f);
            next.rax = number as u64;
            // Not in a call any more, so that nothing is restarted.
            next.orig_rax = u64::MAX;
            next.rip = next.rip.wrapping_sub(INSTRUCTION);
            Registers(next)
        }

        /// The thread, which is behind a system call, finds this result of it.
        pub(in super::super) fn returning(&self, result: i64) -> Registers {
            let mut next = self.0;
            next.rax = result as u64;
            next.orig_rax = u64::MAX;
            Registers(next)
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use super::ptrace;
    use std::io;

    /// Bytes of the `svc` instruction.
    const INSTRUCTION: u64 = 4;
    const NT_PRSTATUS: usize = 1;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Registers(libc::user_regs_struct);

    impl Registers {
        pub(in super::super) fn read(tid: u32) -> io::Result<Registers> {
            // SAFETY: a structure of plain numbers.
            let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
            let mut part = libc::iovec {
                iov_base: std::ptr::from_mut(&mut registers).cast(),
                iov_len: size_of::<libc::user_regs_struct>(),
            };
            ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, std::ptr::from_mut(&mut part) as usize)?;
            Ok(Registers(registers))
        }

        pub(in super::super) fn write(&self, tid: u32) -> io::Result<()> {
            let part = libc::iovec {
                iov_base: std::ptr::from_ref(&self.0).cast_mut().cast(),
                iov_len: size_of::<libc::user_regs_struct>(),
            };
            ptrace(libc::PTRACE_SETREGSET, tid, NT_PRSTATUS, std::ptr::from_ref(&part) as usize)
        }

        /// What the call that just ended returned.
        pub(in super::super) fn result(&self) -> i64 {
            self.0.regs[0] as i64
        }

        /// The thread, which is behind a system call, makes this one next.
        pub(in super::super) fn call(&self, number: i64, arguments: [u64; 6]) -> Registers {
            let mut next = self.0;
            next.regs[..6].copy_from_slice(&arguments);
            next.regs[8] = number as u64;
            next.pc = next.pc.wrapping_sub(INSTRUCTION);
            Registers(next)
        }

        /// The thread, which is behind a system call, finds this result of it.
        pub(in super::super) fn returning(&self, result: i64) -> Registers {
            let mut next = self.0;
            next.regs[0] = result as u64;
            Registers(next)
        }
    }
}
