//! Who runs this process.

/// Effective user id of this process.
pub fn user() -> u32 {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// Effective group id of this process.
pub fn group() -> u32 {
    // SAFETY: getegid cannot fail and touches no memory.
    unsafe { libc::getegid() }
}

/// Effective user id and all group ids (the effective one first) of this process.
pub fn of_process() -> (u32, Vec<u32>) {
    let mut groups = vec![group()];
    // SAFETY: with a size of 0 the list is not written.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    if let Ok(count) = usize::try_from(count)
        && count > 0
    {
        let mut supplementary = vec![0; count];
        // SAFETY: the list has room for as many ids as its length says.
        let filled = unsafe { libc::getgroups(supplementary.len() as libc::c_int, supplementary.as_mut_ptr()) };
        supplementary.truncate(usize::try_from(filled).unwrap_or(0));
        groups.extend(supplementary);
    }
    (user(), groups)
}
