//! Every parameter of the official client, and what becomes of it here.
//!
//! The tables drive parsing, `cvmfs config show`, `cvmfs config check` and the compatibility page.

use super::parameter::Parameter;

/// Declares parameters: constant, official name, type, meaning, then defaults and status.
macro_rules! parameters {
    ($topic:expr; $($id:ident $name:literal $kind:expr, $meaning:literal $(.$set:ident($value:expr))*;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $meaning)]
            pub static $id: Parameter = Parameter::new($name, $kind, $topic, $meaning)$(.$set($value))*;
        )*
        pub(in crate::config) static TABLE: &[&Parameter] = &[$(&$id),*];
    };
}

mod cache;
mod mount;
mod network;
mod observe;
mod repository;

pub use cache::*;
pub use mount::*;
pub use network::*;
pub use observe::*;
pub use repository::*;

/// All parameters, chapter by chapter.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    [repository::TABLE, mount::TABLE, cache::TABLE, network::TABLE, network::external::TABLE, observe::TABLE]
        .into_iter()
        .chain([repository::configuration::TABLE, observe::internal::TABLE])
        .flatten()
        .copied()
}

/// The parameter called `name`; `CVMFS_CACHE_<instance>_TYPE` and its kind are found for every instance.
pub fn find(name: &str) -> Option<&'static Parameter> {
    all().find(|p| p.name == name).or_else(|| all().find(|p| p.matches(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_sentences_end() {
        let mut seen = BTreeSet::new();
        for p in all() {
            assert!(seen.insert(p.name), "{} twice", p.name);
            assert!(p.meaning.ends_with('.') && !p.meaning.contains('|'), "{}: {}", p.name, p.meaning);
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn instance_parameters_are_found_for_every_instance_name() {
        assert_eq!(find("CVMFS_CACHE_ssd_TYPE").unwrap().name, "CVMFS_CACHE_<instance>_TYPE");
        assert_eq!(find("CVMFS_CACHE_BASE").unwrap().name, "CVMFS_CACHE_BASE");
        assert_eq!(find("CVMFS_CACHE_a-b_TYPE"), None);
        assert_eq!(find("CVMFS_AUTHZ_OSG_BASE_DIR").unwrap().name, "CVMFS_AUTHZ_<instance>");
        assert_eq!(find("CVMFS_SERVR_URL"), None);
    }
}
