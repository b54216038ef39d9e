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

        /// The number of the call that the thread is in.
        pub(in super::super) fn number(&self) -> i32 {
            self.0.orig_rax as i32
        }

        /// The arguments of that call.
        pub(in super::super) fn arguments(&self) -> [u64; 6] {
            let now = &self.0;
            [now.rdi, now.rsi, now.rdx, now.r10, now.r8, now.r9]
        }

        /// Whether both are from before one and the same call of a thread.
        pub(in super::super) fn is_same_call(&self, other: &Registers) -> bool {
            let place = |registers: &Registers| (registers.0.rip, registers.0.rsp);
            place(self) == place(other) && self.number() == other.number() && self.arguments() == other.arguments()
        }

        fn with_arguments(&self, arguments: [u64; 6]) -> libc::user_regs_struct {
            let mut next = self.0;
            let [a, b, c, d, e, f] = arguments;
            (next.rdi, next.rsi, next.rdx, next.r10, next.r8, next.r9) = (a, b, c, d, e, f);
            next
        }

        /// The thread, which is before a call, makes this one instead.
        pub(in super::super) fn entering(&self, number: i64, arguments: [u64; 6]) -> Registers {
            Registers(libc::user_regs_struct { orig_rax: number as u64, ..self.with_arguments(arguments) })
        }

        /// The thread, which is before a call, makes none and finds this result.
        pub(in super::super) fn skipping(&self, result: i64) -> Registers {
            Registers(libc::user_regs_struct { orig_rax: u64::MAX, rax: result as u64, ..self.0 })
        }

        /// The thread, which is before a call, makes none, and then this one from its beginning.
        pub(in super::super) fn beginning(&self) -> Registers {
            self.again()
        }

        /// These are from before a call; now that another one has ended in its place, its result is this one's.
        pub(in super::super) fn ending(&self, result: i64) -> Registers {
            Registers(libc::user_regs_struct { rax: result as u64, ..self.0 })
        }

        /// These are from before a call; now that another one has ended in its place, it is made.
        pub(in super::super) fn again(&self) -> Registers {
            self.call(self.number().into(), self.arguments())
        }

        /// The thread, which is behind a system call, makes this one next.
        pub(in super::super) fn call(&self, number: i64, arguments: [u64; 6]) -> Registers {
            let mut next = self.with_arguments(arguments);
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
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Registers {
        general: libc::user_regs_struct,
        /// The call to enter, or -1 for none, where that is to be changed.
        enter: Option<i32>,
    }

    fn part<T>(value: &T) -> libc::iovec {
        libc::iovec { iov_base: std::ptr::from_ref(value).cast_mut().cast(), iov_len: size_of::<T>() }
    }

    impl Registers {
        pub(in super::super) fn read(tid: u32) -> io::Result<Registers> {
            // SAFETY: a structure of plain numbers.
            let mut general: libc::user_regs_struct = unsafe { std::mem::zeroed() };
            let mut room = libc::iovec {
                iov_base: std::ptr::from_mut(&mut general).cast(),
                iov_len: size_of::<libc::user_regs_struct>(),
            };
            ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, std::ptr::from_mut(&mut room) as usize)?;
            Ok(Registers { general, enter: None })
        }

        pub(in super::super) fn write(&self, tid: u32) -> io::Result<()> {
            let general = part(&self.general);
            ptrace(libc::PTRACE_SETREGSET, tid, NT_PRSTATUS, std::ptr::from_ref(&general) as usize)?;
            if let Some(number) = &self.enter {
                let number = part(number);
                ptrace(libc::PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, std::ptr::from_ref(&number) as usize)?;
            }
            Ok(())
        }

        fn with(&self, change: impl FnOnce(&mut libc::user_regs_struct)) -> Registers {
            let mut next = self.general;
            change(&mut next);
            Registers { general: next, enter: None }
        }

        /// What the call that just ended returned.
        pub(in super::super) fn result(&self) -> i64 {
            self.general.regs[0] as i64
        }

        /// The number of the call that the thread is in.
        pub(in super::super) fn number(&self) -> i32 {
            self.general.regs[8] as i32
        }

        /// The arguments of that call.
        pub(in super::super) fn arguments(&self) -> [u64; 6] {
            let [a, b, c, d, e, f, ..] = self.general.regs;
            [a, b, c, d, e, f]
        }

        /// Whether both are from before one and the same call of a thread.
        pub(in super::super) fn is_same_call(&self, other: &Registers) -> bool {
            let place = |registers: &Registers| (registers.general.pc, registers.general.sp);
            place(self) == place(other) && self.number() == other.number() && self.arguments() == other.arguments()
        }

        /// The thread, which is before a call, makes this one instead.
        pub(in super::super) fn entering(&self, number: i64, arguments: [u64; 6]) -> Registers {
            let next = self.with(|next| next.regs[..6].copy_from_slice(&arguments));
            Registers { enter: Some(number as i32), ..next }
        }

        /// The thread, which is before a call, makes none and finds this result.
        pub(in super::super) fn skipping(&self, result: i64) -> Registers {
            Registers { enter: Some(-1), ..self.with(|next| next.regs[0] = result as u64) }
        }

        /// The thread, which is before a call, makes none, and then this one from its beginning.
        pub(in super::super) fn beginning(&self) -> Registers {
            Registers { enter: Some(-1), ..self.again() }
        }

        /// These are from before a call; now that another one has ended in its place, its result is this one's.
        pub(in super::super) fn ending(&self, result: i64) -> Registers {
            self.with(|next| next.regs[0] = result as u64)
        }

        /// These are from before a call; now that another one has ended in its place, it is made.
        pub(in super::super) fn again(&self) -> Registers {
            self.call(self.number().into(), self.arguments())
        }

        /// The thread, which is behind a system call, makes this one next.
        pub(in super::super) fn call(&self, number: i64, arguments: [u64; 6]) -> Registers {
            self.with(|next| {
                next.regs[..6].copy_from_slice(&arguments);
                next.regs[8] = number as u64;
                next.pc = next.pc.wrapping_sub(INSTRUCTION);
            })
        }

        /// The thread, which is behind a system call, finds this result of it.
        pub(in super::super) fn returning(&self, result: i64) -> Registers {
            self.ending(result)
        }
    }
}
