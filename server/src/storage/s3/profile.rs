//! Keys and settings from the environment and from `~/.aws`, as other programs for S3 find them.

use super::super::StorageError;
use super::address::Variable;
use ini::{Ini, ParseOption};
use rusty_s3::Credentials;
use std::io;
use std::path::PathBuf;

/// The profile that is used unless another one is named.
const DEFAULT: &str = "default";

/// What a profile says.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) credentials: Option<Credentials>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

impl Profile {
    /// Reads the profile `name`, or the one that the environment names. Keys in the environment come first, unless a
    /// profile was asked for by its name.
    pub(super) fn load(name: Option<&str>, variable: Variable<'_>) -> Result<Profile, StorageError> {
        let in_environment = name.is_none().then(|| of_environment(variable)).flatten();
        let asked = name.map(str::to_owned).or_else(|| variable("AWS_PROFILE"));
        let name = asked.as_deref().unwrap_or(DEFAULT);
        let file = |variable_name: &str, default: &str| {
            let named = variable(variable_name).map(PathBuf::from);
            named.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".aws").join(default)))
        };
        let credentials_file = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config_file = file("AWS_CONFIG_FILE", "config");
        let credentials = section(credentials_file, &[name.to_owned()])?;
        let config = match name {
            DEFAULT => section(config_file, &[DEFAULT.to_owned(), format!("profile {DEFAULT}")])?,
            name => section(config_file, &[format!("profile {name}")])?,
        };
        if let (Some(asked), None, None) = (&asked, &credentials, &config) {
            return Err(StorageError::NoProfile { name: asked.clone() });
        }
        let mut profile = Profile { credentials: in_environment, ..Profile::default() };
        for properties in [credentials, config].into_iter().flatten() {
            let value = |key: &str| properties.get(key).map(str::to_owned);
            if let (None, Some(id), Some(secret)) =
                (&profile.credentials, value("aws_access_key_id"), value("aws_secret_access_key"))
            {
                let token = value("aws_session_token");
                profile.credentials = Some(of_parts(id, secret, token));
            }
            profile.region = profile.region.or_else(|| value("region"));
            profile.endpoint = profile.endpoint.or_else(|| value("endpoint_url"));
        }
        Ok(profile)
    }
}

fn of_environment(variable: Variable<'_>) -> Option<Credentials> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    Some(of_parts(set("AWS_ACCESS_KEY_ID")?, set("AWS_SECRET_ACCESS_KEY")?, set("AWS_SESSION_TOKEN")))
}

fn of_parts(id: String, secret: String, token: Option<String>) -> Credentials {
    match token {
        Some(token) => Credentials::new_with_token(id, secret, token),
        None => Credentials::new(id, secret),
    }
}

/// The first of the sections that is there; `None` without the file.
fn section(file: Option<PathBuf>, names: &[String]) -> Result<Option<ini::Properties>, StorageError> {
    let Some(file) = file else { return Ok(None) };
    let shown = file.display().to_string();
    let text = match std::fs::read_to_string(&file) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        text => text.map_err(|source| StorageError::io(shown.clone(), source))?,
    };
    // Keys may have any characters in them.
    let plain = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let parsed = Ini::load_from_str_opt(&text, plain);
    let parsed = parsed.map_err(|error| StorageError::io(shown, io::Error::other(error.to_string())))?;
    Ok(names.iter().find_map(|name| parsed.section(Some(name.as_str()))).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = first\naws_secret_access_key=a/b+c\\d\"e\n\
        # a comment\n[other]\naws_access_key_id=second\naws_secret_access_key=s2\naws_session_token=t2\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n    addressing_style = path\n\
        [profile other]\nregion=eu-north-1\nendpoint_url = https://s3.cern.ch\n\
        [profile whole]\naws_access_key_id=third\naws_secret_access_key=s3\n";

    fn load(name: Option<&str>, variables: &[(&str, &str)]) -> Result<Profile, StorageError> {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".aws");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("credentials"), CREDENTIALS).unwrap();
        std::fs::write(directory.join("config"), CONFIG).unwrap();
        Profile::load(name, &|asked| match asked {
            "HOME" => Some(home.path().display().to_string()),
            asked => variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned()),
        })
    }

    fn shown(profile: &Profile) -> (String, String, Option<String>) {
        let keys = profile.credentials.as_ref().unwrap();
        (keys.key().to_owned(), keys.secret().to_owned(), keys.token().map(str::to_owned))
    }

    #[test]
    fn the_nearest_word_counts() {
        let default = load(None, &[]).unwrap();
        assert_eq!(shown(&default), ("first".to_owned(), "a/b+c\\d\"e".to_owned(), None));
        assert_eq!((default.region.as_deref(), default.endpoint.as_deref()), (Some("eu-west-1"), None));
        let other = load(None, &[("AWS_PROFILE", "other")]).unwrap();
        assert_eq!(shown(&other), ("second".to_owned(), "s2".to_owned(), Some("t2".to_owned())));
        assert_eq!(other.endpoint.as_deref(), Some("https://s3.cern.ch"));
        assert_eq!(shown(&load(Some("whole"), &[]).unwrap()).0, "third");
        let set = [("AWS_ACCESS_KEY_ID", "set"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let in_environment = load(None, &set).unwrap();
        assert_eq!(shown(&in_environment).0, "set");
        assert_eq!(in_environment.region.as_deref(), Some("eu-west-1"));
        assert_eq!(shown(&load(Some("other"), &set).unwrap()).0, "second", "who asks for a profile gets it");
        assert!(load(None, &[("AWS_ACCESS_KEY_ID", "half")]).is_ok());
        assert!(load(Some("gone"), &[]).err().unwrap().to_string().contains("gone"));
    }
}
