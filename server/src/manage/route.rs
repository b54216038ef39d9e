//! Which path and method means what. The description in `openapi.json` has the same ones; a test compares.

use super::problem::{Answer, Problem};
use hyper::Method;
use percent_encoding::percent_decode_str;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The description of this API.
    Describe,
    /// The repositories that the token is for.
    Repositories,
    /// Makes a repository.
    CreateRepository,
    /// What is published in a repository.
    Repository,
    /// The tags of a repository.
    Tags,
    /// Adds a tag.
    AddTag,
    /// Removes a tag.
    RemoveTag,
    /// Begins to collect garbage.
    Collect,
    /// One's leases.
    Leases,
    /// Takes a lease.
    TakeLease,
    /// One lease.
    Lease,
    /// Makes a lease last longer.
    RenewLease,
    /// Ends a lease.
    ReleaseLease,
    /// Publishes with a lease.
    Publish,
    /// One's jobs.
    Jobs,
    /// One job.
    Job,
    /// Calls a job off.
    CancelJob,
}

/// Templates of paths with what methods on them mean; `{...}` stands for one name.
pub static ROUTES: [(Method, &str, Action); 17] = [
    (Method::GET, "/openapi.json", Action::Describe),
    (Method::GET, "/api/v1/repositories", Action::Repositories),
    (Method::POST, "/api/v1/repositories", Action::CreateRepository),
    (Method::GET, "/api/v1/repositories/{repository}", Action::Repository),
    (Method::GET, "/api/v1/repositories/{repository}/tags", Action::Tags),
    (Method::POST, "/api/v1/repositories/{repository}/tags", Action::AddTag),
    (Method::DELETE, "/api/v1/repositories/{repository}/tags/{tag}", Action::RemoveTag),
    (Method::POST, "/api/v1/repositories/{repository}/collections", Action::Collect),
    (Method::GET, "/api/v1/leases", Action::Leases),
    (Method::POST, "/api/v1/leases", Action::TakeLease),
    (Method::GET, "/api/v1/leases/{lease}", Action::Lease),
    (Method::PATCH, "/api/v1/leases/{lease}", Action::RenewLease),
    (Method::DELETE, "/api/v1/leases/{lease}", Action::ReleaseLease),
    (Method::POST, "/api/v1/leases/{lease}/publications", Action::Publish),
    (Method::GET, "/api/v1/jobs", Action::Jobs),
    (Method::GET, "/api/v1/jobs/{job}", Action::Job),
    (Method::POST, "/api/v1/jobs/{job}/cancellation", Action::CancelJob),
];

/// What a request means, and the names in its path.
pub fn find(method: &Method, path: &str) -> Answer<(Action, Vec<String>)> {
    let mut allowed = Vec::new();
    for (with, template, action) in &ROUTES {
        let Some(names) = names(template, path) else { continue };
        if with == method {
            return Ok((*action, names));
        }
        allowed.push(with.as_str());
    }
    match allowed.is_empty() {
        true => Err(Problem::not_found("resource")),
        false => Err(Problem::method_not_allowed(allowed.join(", "))),
    }
}

/// The names in `path` where `template` has braces, if it fits otherwise.
fn names(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    let mut names = Vec::new();
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(names),
            (Some(part), Some(name)) if part.starts_with('{') => {
                // What is no UTF-8 names nothing.
                let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
                names.push(name);
            }
            (Some(part), Some(name)) if part == name => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn paths_have_names_in_them() {
        let lease = find(&Method::DELETE, "/api/v1/leases/ab%2Fcd").unwrap();
        assert_eq!(lease, (Action::ReleaseLease, vec!["ab/cd".to_owned()]));
        let tag = find(&Method::DELETE, "/api/v1/repositories/a.b/tags/v1%3A2").unwrap();
        assert_eq!(tag, (Action::RemoveTag, vec!["a.b".to_owned(), "v1:2".to_owned()]));
        assert_eq!(find(&Method::GET, "/api/v1/leases/").unwrap().1, [""]);
        for path in ["/", "", "/api/v1", "/api/v1/leases/a/b", "/api/v1/leases/%ff", "//openapi.json"] {
            assert_eq!(find(&Method::GET, path).unwrap_err().code, "not-found", "{path}");
        }
        let problem = find(&Method::PUT, "/api/v1/leases/a").unwrap_err();
        assert_eq!(problem.detail, "allowed here: GET, PATCH, DELETE");
    }

    #[test]
    fn the_description_has_what_there_is() {
        let description: serde_json::Value = serde_json::from_str(super::super::DESCRIPTION).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
        let routes: BTreeSet<_> =
            ROUTES.iter().map(|(method, path, _)| ((*path).to_owned(), method.to_string())).collect();
        assert_eq!(described, routes);
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
