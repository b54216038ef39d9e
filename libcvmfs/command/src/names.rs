//! User and group names, looked up once each.

use std::cell::RefCell;
use std::collections::HashMap;

/// The names behind numeric owners, as the system's user database has them.
#[derive(Debug, Default)]
pub struct Names {
    users: RefCell<HashMap<u32, Option<String>>>,
    groups: RefCell<HashMap<u32, Option<String>>>,
}

impl Names {
    /// The name of user `uid`.
    pub fn user(&self, uid: u32) -> Option<String> {
        let find = || nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        self.users.borrow_mut().entry(uid).or_insert_with(find).clone()
    }

    /// The name of group `gid`.
    pub fn group(&self, gid: u32) -> Option<String> {
        let find = || nix::unistd::Group::from_gid(gid.into()).ok().flatten().map(|group| group.name);
        self.groups.borrow_mut().entry(gid).or_insert_with(find).clone()
    }
}
