//! `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&...`: which bucket, where in it, and with which keys.
//!
//! What the address does not say comes from the variables and files that all programs for S3 read.

use super::super::StorageError;
use super::profile::Profile;
use rusty_s3::{Bucket, Credentials, UrlStyle};
use std::time::Duration;
use url::Url;

/// Where nothing is said about it.
const REGION: &str = "us-east-1";
/// Seconds for which a lock outlives a publisher that was killed.
const LEASE: u64 = 60;
/// Bytes of a part of a large object; a larger object is sent in parts.
const PART: u64 = 64 << 20;
/// The least part that servers take.
const LEAST_PART: u64 = 5 << 20;

/// Everything that is to be known about a place.
pub(super) struct Address {
    pub(super) bucket: Bucket,
    /// Begins all keys: empty, or with a slash at its end.
    pub(super) prefix: String,
    pub(super) credentials: Credentials,
    /// Time for which a lock outlives its owner.
    pub(super) lease: Duration,
    /// Bytes of a part of a large object.
    pub(super) part: u64,
    /// Whether the server keeps conditions of writes.
    pub(super) is_conditional: bool,
}

/// Reads a variable of the environment.
pub(super) type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

impl Address {
    /// Reads an address; what it does not say comes from the environment and from the files of profiles.
    pub(super) fn parse(address: &str, variable: Variable<'_>) -> Result<Address, StorageError> {
        let wrong = |problem: String| StorageError::Address { address: address.to_owned(), problem };
        let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
        let name = url.host_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong("it names no bucket: s3://BUCKET/PREFIX".to_owned()))?.to_owned();
        if url.port().is_some() || !url.username().is_empty() || url.fragment().is_some() {
            return Err(wrong("expected s3://BUCKET/PREFIX?endpoint=URL".to_owned()));
        }
        let prefix = prefix(url.path()).map_err(wrong)?;
        let options = Options::parse(&url).map_err(wrong)?;

        let profile = Profile::load(options.profile.as_deref(), variable)?;
        let region = options.region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.or(profile.region).unwrap_or_else(|| REGION.to_owned());
        let endpoint = options.endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3"));
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL")).or(profile.endpoint);
        // Names with dots do not fit into certificates for *.s3.amazonaws.com.
        let is_path_style = options.is_path_style.unwrap_or(endpoint.is_some() || name.contains('.'));
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = Url::parse(&endpoint).map_err(|error| wrong(format!("endpoint {endpoint}: {error}")))?;
        let style = if is_path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint.clone(), style, name, region);
        let bucket = bucket.map_err(|error| wrong(format!("endpoint {endpoint}: {error}")))?;
        let credentials = profile.credentials.ok_or_else(|| StorageError::NoCredentials {
            place: address.split('?').next().unwrap_or(address).to_owned(),
        })?;
        Ok(Address {
            bucket,
            prefix,
            credentials,
            lease: Duration::from_secs(options.lease.unwrap_or(LEASE)),
            part: options.part.unwrap_or(PART),
            is_conditional: options.is_conditional.unwrap_or(true),
        })
    }

    /// The key of a file of the repository.
    pub(super) fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A file of the repository, for messages.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("s3://{}/{}{path}", self.bucket.name(), self.prefix)
    }
}

/// The path of an address as it begins keys.
fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/@+=,".contains(&byte);
    let has_dots = path.split('/').any(|name| matches!(name, "" | "." | ".."));
    if has_dots || !path.bytes().all(is_plain) {
        return Err(format!("the prefix '{path}' has characters or names that do not go into URLs as they are"));
    }
    Ok(format!("{path}/"))
}

/// What stands behind the question mark.
#[derive(Default)]
struct Options {
    endpoint: Option<String>,
    region: Option<String>,
    profile: Option<String>,
    is_path_style: Option<bool>,
    lease: Option<u64>,
    part: Option<u64>,
    is_conditional: Option<bool>,
}

impl Options {
    fn parse(url: &Url) -> Result<Options, String> {
        let mut options = Options::default();
        for (key, value) in url.query_pairs() {
            let number = || value.parse::<u64>().map_err(|_| format!("{key}: '{value}' is no number"));
            match &*key {
                "endpoint" => options.endpoint = Some(value.into_owned()),
                "region" => options.region = Some(value.into_owned()),
                "profile" => options.profile = Some(value.into_owned()),
                "style" => options.is_path_style = Some(either(&key, &value, "path", "domain")?),
                "conditional" => options.is_conditional = Some(either(&key, &value, "yes", "no")?),
                "lease" => options.lease = Some(number()?.clamp(1, 3600)),
                "part" => options.part = Some(number()?.max(LEAST_PART)),
                _ => return Err(format!("unknown option '{key}'")),
            }
        }
        Ok(options)
    }
}

fn either(key: &str, value: &str, yes: &str, no: &str) -> Result<bool, String> {
    match value {
        value if value == yes => Ok(true),
        value if value == no => Ok(false),
        _ => Err(format!("{key}: expected '{yes}' or '{no}', not '{value}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str, variables: &[(&str, &str)]) -> Result<Address, StorageError> {
        Address::parse(address, &|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn addresses_become_urls() {
        for (address, more, url) in [
            ("s3://b/a/c", None, "https://b.s3.us-east-1.amazonaws.com/a/c/x"),
            ("s3://b", None, "https://b.s3.us-east-1.amazonaws.com/x"),
            ("s3://b//a/", None, "https://b.s3.us-east-1.amazonaws.com/a/x"),
            ("s3://b.c/a", None, "https://s3.us-east-1.amazonaws.com/b.c/a/x"),
            ("s3://b/a?region=eu-west-1", None, "https://b.s3.eu-west-1.amazonaws.com/a/x"),
            ("s3://b/a", Some(("AWS_REGION", "eu-west-1")), "https://b.s3.eu-west-1.amazonaws.com/a/x"),
            ("s3://b/a?endpoint=http://127.0.0.1:9000", None, "http://127.0.0.1:9000/b/a/x"),
            ("s3://b/a?endpoint=https://s3.cern.ch&style=domain", None, "https://b.s3.cern.ch/a/x"),
            ("s3://b/a", Some(("AWS_ENDPOINT_URL", "https://s3.cern.ch")), "https://s3.cern.ch/b/a/x"),
            ("s3://b/a?endpoint=http://h", Some(("AWS_ENDPOINT_URL", "https://s3.cern.ch")), "http://h/b/a/x"),
        ] {
            let variables: Vec<_> = KEYS.into_iter().chain(more).collect();
            let parsed = parse(address, &variables).unwrap();
            let found = parsed.bucket.object_url(&parsed.key("x")).unwrap();
            assert_eq!(found.as_str(), url, "{address} {more:?}");
        }
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for (address, words) in [
            ("s3://", "bucket"),
            ("s3:///a", "bucket"),
            ("s3://b/a/../c d", "characters"),
            ("s3://b/a b", "characters"),
            ("s3://b/a?endpint=x", "endpint"),
            ("s3://b/a?endpoint=ftp://h", "scheme"),
            ("s3://b/a?style=virtual", "'path' or 'domain'"),
            ("s3://b/a?lease=soon", "no number"),
        ] {
            let error = parse(address, &KEYS).err().unwrap().to_string();
            assert!(error.contains(words), "{address}: {error}");
        }
        let home = [("HOME", "/nonexistent")];
        let error = parse("s3://b/a?region=x", &home).err().unwrap().to_string();
        assert!(error.contains("AWS_ACCESS_KEY_ID") && error.contains("s3://b/a:"), "{error}");
    }
}
