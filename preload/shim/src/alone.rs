//! What a library needs that stands alone: a start, an end, and the functions that the compiler calls by itself.
//!
//! The memory functions are hidden from the program, which goes on using those of its C library. Blocks here are
//! names and small structures, so these need not be fast for large ones.

use core::arch::{asm, global_asm};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: ends the process as `abort` does; nothing is read or written.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!("ud2", options(noreturn));
            #[cfg(target_arch = "aarch64")]
            asm!("brk #1", options(noreturn));
        }
    }
}

/// Finds the control page before `main`, while the environment is as it was given.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    crate::start::control();
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".macro hidden_function name",
    ".globl \\name",
    ".hidden \\name",
    ".type \\name,@function",
    "\\name:",
    ".endm",
    "hidden_function memmove",
    "mov rax, rdi",
    "sub rax, rsi",
    "cmp rax, rdx",
    "jae memcpy",
    // The end of the source lies in the destination: from the end on.
    "mov rax, rdi",
    "2: sub rdx, 1",
    "jb 3f",
    "mov cl, [rsi + rdx]",
    "mov [rdi + rdx], cl",
    "jmp 2b",
    "3: ret",
    "hidden_function memcpy",
    "mov rax, rdi",
    "cmp rdx, 128",
    "ja 5f",
    "2: sub rdx, 8",
    "jb 3f",
    "mov rcx, [rsi]",
    "mov [rdi], rcx",
    "add rsi, 8",
    "add rdi, 8",
    "jmp 2b",
    "3: add rdx, 8",
    "4: sub rdx, 1",
    "jb 6f",
    "mov cl, [rsi]",
    "mov [rdi], cl",
    "inc rsi",
    "inc rdi",
    "jmp 4b",
    "5: mov rcx, rdx",
    "rep movsb",
    "6: ret",
    "hidden_function memset",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    "hidden_function bcmp",
    "hidden_function memcmp",
    "2: cmp rdx, 8",
    "jb 3f",
    "mov rax, [rdi]",
    "cmp rax, [rsi]",
    "jne 4f",
    "add rdi, 8",
    "add rsi, 8",
    "sub rdx, 8",
    "jmp 2b",
    "3: test rdx, rdx",
    "jz 5f",
    "4: movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "sub eax, ecx",
    "jne 6f",
    "inc rdi",
    "inc rsi",
    "dec rdx",
    "jmp 3b",
    "5: xor eax, eax",
    "6: ret",
    "hidden_function strlen",
    "mov rax, rdi",
    "2: cmp byte ptr [rax], 0",
    "je 3f",
    "inc rax",
    "jmp 2b",
    "3: sub rax, rdi",
    "ret",
    ".purgem hidden_function",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".hidden memcpy",
    ".globl memcpy",
    "memcpy:",
    "mov x3, x0",
    "2: cbz x2, 3f",
    "ldrb w4, [x1], #1",
    "strb w4, [x3], #1",
    "sub x2, x2, #1",
    "b 2b",
    "3: ret",
    ".hidden memmove",
    ".globl memmove",
    "memmove:",
    "sub x3, x0, x1",
    "cmp x3, x2",
    "b.hs memcpy",
    "2: cbz x2, 3f",
    "sub x2, x2, #1",
    "ldrb w4, [x1, x2]",
    "strb w4, [x0, x2]",
    "b 2b",
    "3: ret",
    ".hidden memset",
    ".globl memset",
    "memset:",
    "mov x3, x0",
    "2: cbz x2, 3f",
    "strb w1, [x3], #1",
    "sub x2, x2, #1",
    "b 2b",
    "3: ret",
    ".hidden bcmp",
    ".globl bcmp",
    "bcmp:",
    ".hidden memcmp",
    ".globl memcmp",
    "memcmp:",
    "2: cbz x2, 3f",
    "ldrb w3, [x0], #1",
    "ldrb w4, [x1], #1",
    "sub x2, x2, #1",
    "subs w3, w3, w4",
    "b.eq 2b",
    "mov w0, w3",
    "ret",
    "3: mov w0, #0",
    "ret",
);
