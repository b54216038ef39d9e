//! `libcvmfs_preload.so`: shows `/cvmfs` to dynamically linked glibc programs, with nothing but `LD_PRELOAD`.
//!
//! A path that does not lead to `/cvmfs` costs one comparison of its beginning. One that does is looked up in the
//! indexes that the cache keeps mapped. What the cache lacks is fetched by a helper process; this library never
//! downloads, starts no thread and keeps no descriptor.
//!
//! | module | job |
//! |---|---|
//! | `place` | which paths and descriptors are ours |
//! | `namespace` | path to node: libcvmfs over cache and helper |
//! | `view` | real directories and hard links under the virtual names, behind a fixed prefix |
//! | `inside` | what holds while our code runs in somebody else's program: errno, panics, forks, re-entry |
//! | `session` | helper, prefixes and environment |
//! | the others | the hooked functions, by family as in the table of `cvmfs-hooks` |
//!
//! # Why descriptors need no table
//!
//! What is opened is not the cache's object but a hard link to it in the view, so the kernel itself remembers which
//! virtual path a descriptor stands for, and tells it through `/proc/self/fd`. Nothing has to follow `dup`, `close`,
//! `fork`, `exec` or a descriptor that comes through a socket.
//!
//! # redhook, and where it does not reach
//!
//! Functions that the C library has are hooked by `redhook::hook!`, which looks the real one up once. It cannot
//! serve these, which are written by hand:
//!
//! * symbols of which `dlsym` finds no default version (`__xstat` in a new C library, `stat` in an old one): redhook
//!   panics there. The table calls them *remade*, and their native work is a system call;
//! * `execl` and its sisters, whose arguments have no fixed number, and `dlopen`, whose real one wants to see the
//!   caller's return address: machine code, in `trampoline`.
//!
//! redhook also falls back to the real function when a hook panics, which for a virtual path would say `ENOENT`.
//! `inside::answer` catches panics before that and answers `EIO`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod change;
mod cwd;
mod dir;
mod environment;
mod errno;
mod exec;
mod inside;
mod link;
mod link_map;
mod namespace;
mod open;
mod place;
mod raw;
mod route;
mod session;
mod spawn;
mod stat;
mod statfs;
mod stdio;
mod sys;
mod trampoline;
mod tree;
mod view;
mod xattr;

/// Makes one exported function for every symbol of a row of the table.
macro_rules! export {
    ($family:ident :: $function:ident $kind:ident [ $($symbol:ident)+ ] $arguments:tt -> $result:ty) => {
        $( export! { @ $kind $symbol $family $function $arguments $result } )+
    };
    (@ wrapped $symbol:ident $family:ident $function:ident ( $($argument:ident : $type:ty),* ) $result:ty) => {
        #[allow(missing_docs)]
        pub mod $symbol {
            #[allow(unused_imports)]
            use cvmfs_hooks::c::*;
            redhook::hook! {
                unsafe fn $symbol( $($argument: $type),* ) -> $result => hooked {
                    // SAFETY: the caller keeps the promises of the C function, which are those of its implementation.
                    unsafe { crate::$family::$function(redhook::real!($symbol), $($argument),*) }
                }
            }
        }
    };
    (@ remade $symbol:ident $family:ident $function:ident ( $($argument:ident : $type:ty),* ) $result:ty) => {
        #[allow(missing_docs)]
        pub mod $symbol {
            use cvmfs_hooks::c::*;
            /// # Safety
            /// As for the C function.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $symbol( $($argument: $type),* ) -> $result {
                crate::inside::no_unwind(|| {
                    // SAFETY: the caller keeps the promises of the C function, which are those of its implementation.
                    unsafe { crate::$family::$function($($argument),*) }
                })
            }
        }
    };
}

/// The exported functions, one module for each symbol.
pub mod exports {
    cvmfs_hooks::every_hook!(export);
}
