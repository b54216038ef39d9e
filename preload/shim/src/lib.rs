//! The shim: looks paths below `/cvmfs` up inside the program, from mapped indexes.
//!
//! The supervisor of `cvmfs-run` answers every system call that takes a path; this library only makes the frequent ones
//! cheaper. Its one rule:
//!
//! * if an index answers, answer;
//! * if a plain native call is right, issue it with the *cookie* that takes it through the filter;
//! * else issue the caller's call as it is: the filter hands it to the supervisor.
//!
//! So it can give up anywhere without being wrong, and there is no other protocol between the two.
//!
//! It is preloaded into programs of any C library: it needs no other library, no thread-local storage, no memory of
//! `malloc` on its way, takes no lock, and changes nothing but atomic state that may be written twice. It works in
//! signal handlers, between `vfork` and `exec`, and before any constructor has run.
//!
//! | module | job |
//! |---|---|
//! | `sys` | system calls with and without the cookie, `errno`, memory functions |
//! | `start` | finding the control page, at the first call |
//! | `catalogs` | indexes, mapped when a path first leads into them |
//! | `place` | from a path inside the tree to an entry: the fast look and the walk |
//! | `route` | which paths are ours, which native, which only the supervisor knows |
//! | `present` | what an entry looks like |
//! | `room` | room for names that is not on the stack |
//! | `known` | files whose names were asked for before |
//! | `stream` | memory of directory streams |
//! | the others | the hooked functions, by family as in the table of `cvmfs-hooks` |
#![no_std]

#[cfg(panic = "abort")]
mod alone;
mod catalogs;
mod cwd;
mod dir;
mod known;
mod link;
mod open;
mod place;
mod present;
mod real;
mod room;
mod route;
mod start;
mod stat;
mod stdio;
mod stream;
mod sys;
mod xattr;

/// Makes one exported function for every symbol of a row of the table, if the shim takes the row's function.
macro_rules! export {
    // What is left to the supervisor: names that memory of `malloc` would be needed for, or that are rare.
    (stat::euidaccess $($rest:tt)*) => {};
    (link::name_to_handle_at $($rest:tt)*) => {};
    (cwd::getwd $($rest:tt)*) => {};
    (cwd::getwd_checked $($rest:tt)*) => {};
    (cwd::get_current_dir_name $($rest:tt)*) => {};
    // The filter lets it pass, and the kernel does what is right.
    (cwd::fchdir $($rest:tt)*) => {};
    (cwd::daemon $($rest:tt)*) => {};
    (stdio::freopen $($rest:tt)*) => {};
    (stdio::$($row:tt)*) => { export! { @ stdio $($row)* } };
    (stat::$($row:tt)*) => { export! { @ stat $($row)* } };
    (open::$($row:tt)*) => { export! { @ open $($row)* } };
    (link::$($row:tt)*) => { export! { @ link $($row)* } };
    (cwd::$($row:tt)*) => { export! { @ cwd $($row)* } };
    (dir::$($row:tt)*) => { export! { @ dir $($row)* } };
    (xattr::$($row:tt)*) => { export! { @ xattr $($row)* } };
    (@ $family:ident $function:ident $kind:ident [ $($symbol:ident)+ ] $arguments:tt -> $result:ty) => {
        $( export! { @@ $symbol $family $function $arguments $result } )+
    };
    (@@ $symbol:ident $family:ident $function:ident ( $($argument:ident : $type:ty),* ) $result:ty) => {
        #[allow(missing_docs)]
        pub mod $symbol {
            #[allow(unused_imports)]
            use cvmfs_hooks::c::*;
            /// # Safety
            /// As for the C function.
            // Only the freestanding library may take these names.
            #[cfg_attr(panic = "abort", unsafe(no_mangle))]
            pub unsafe extern "C" fn $symbol( $($argument: $type),* ) -> $result {
                // SAFETY: the caller keeps the promises of the C function, which are those of its implementation.
                unsafe { crate::$family::$function($($argument),*) }
            }
        }
    };
    ($($other:tt)*) => {};
}

/// The exported functions, one module for each symbol.
pub mod exports {
    cvmfs_hooks::every_hook!(export);
}
