//! Options that are kept with an instance, so that they need not be given again.

use crate::arguments::{Bind, Net, Start, Variable};
use libcvmfs::fqrn::Fqrn;
use serde::{Deserialize, Serialize};

/// What was given when the instance was made. Its tree is kept, too, but beside: that one can never be another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    cvmfs: Vec<Fqrn>,
    bind: Vec<Bind>,
    env: Vec<Variable>,
    net: Option<Net>,
    options: Vec<(String, String)>,
}

impl Kept {
    /// What of these options is kept.
    pub(crate) fn of(start: &Start) -> Kept {
        let Start { cvmfs, bind, env, options, .. } = start.clone();
        Kept { cvmfs, bind, env, net: start.net.or(start.nonic.then_some(Net::None)), options }
    }

    /// These options, and what is kept where they say nothing. Repositories and what of the host is shown are given as a
    /// whole; variables and parameters one by one.
    pub(crate) fn below(&self, start: &Start) -> Start {
        let mut all = start.clone();
        if all.cvmfs.is_empty() {
            all.cvmfs.clone_from(&self.cvmfs);
        }
        if all.bind.is_empty() {
            all.bind.clone_from(&self.bind);
        }
        if !all.nonic {
            all.net = all.net.or(self.net);
        }
        let given = |name: &str| start.env.iter().any(|variable| variable.name == name);
        all.env.splice(..0, self.env.iter().filter(|variable| !given(&variable.name)).cloned());
        let given = |name: &str| start.options.iter().any(|(key, _)| key == name);
        all.options.splice(..0, self.options.iter().filter(|(key, _)| !given(key)).cloned());
        all
    }
}
