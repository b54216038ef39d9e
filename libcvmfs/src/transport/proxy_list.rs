//! The grammar of `CVMFS_HTTP_PROXY` and `CVMFS_FALLBACK_PROXY`.
//!
//! `group (";" group)*` with `group = proxy ("|" proxy)*`: groups are steps of fail-over, members of a group
//! share the load. `DIRECT` is "no proxy", `auto` stands for groups that are discovered. Unlike the official
//! client, which passes blanks and empty elements on as proxies that can only fail (and so falls
//! through to the next group, perhaps `DIRECT`, without a word), this parser refuses what cannot be meant.

use super::url::{Authority, UrlError, parse_authority};
use std::fmt;
use thiserror::Error;

/// Port of a proxy that names none, as in the official client's HTTP library.
const DEFAULT_PROXY_PORT: u16 = 1080;

/// Why a proxy list is refused. `position` counts characters of the list from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProxyListError {
    /// Nothing is given: use `DIRECT` to say that no proxy is wanted.
    #[error("{parameter} is empty: name the proxies, or say DIRECT to work without any")]
    Empty {
        /// Name of the parameter.
        parameter: &'static str,
    },
    /// Two separators with nothing between them, or one at either end.
    #[error("{parameter}: there is an empty element at character {position} of '{list}'")]
    EmptyElement {
        /// Name of the parameter.
        parameter: &'static str,
        /// The whole list.
        list: String,
        /// Where, counted from 1.
        position: usize,
    },
    /// An element that is no proxy.
    #[error("{parameter}: '{element}' at character {position} of '{list}' is no proxy: {reason}")]
    Element {
        /// Name of the parameter.
        parameter: &'static str,
        /// The whole list.
        list: String,
        /// The element.
        element: String,
        /// Where it begins, counted from 1.
        position: usize,
        /// What is wrong with it.
        reason: ElementError,
    },
}

/// What is wrong with one element of a proxy list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ElementError {
    /// `direct`, `Direct`...
    #[error("write DIRECT in upper case to work without a proxy")]
    LowerCaseDirect,
    /// `AUTO`, `Auto`...
    #[error("write auto in lower case to discover proxies")]
    UpperCaseAuto,
    /// `auto` shares its group with others.
    #[error("auto must be a group of its own")]
    AutoInGroup,
    /// Not `http://`.
    #[error("protocol '{0}' is not supported for proxies, only http")]
    Scheme(String),
    /// Something follows the port.
    #[error("a proxy has no path: '{0}'")]
    Path(String),
    /// A comma where a separator is meant.
    #[error("separate groups by ';' and members of a group by '|', not by ','")]
    Comma,
    /// A blank where a separator is meant.
    #[error("there is a blank in it; separate groups by ';' and members of a group by '|'")]
    Blank,
    /// Server name or port.
    #[error(transparent)]
    Authority(#[from] UrlError),
}

/// A proxy as configured.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyAddress {
    /// Name or address, and port.
    pub authority: Authority,
    /// `user:password` in front of the name, if any; never shown.
    pub credentials: Option<String>,
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProxySpec {
    /// No proxy.
    Direct,
    /// An HTTP proxy.
    Http(ProxyAddress),
}

impl fmt::Display for ProxySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxySpec::Direct => f.write_str("DIRECT"),
            ProxySpec::Http(address) => address.fmt(f),
        }
    }
}

/// One step of fail-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyGroup {
    /// Proxies that share the load; never empty.
    Members(Vec<ProxySpec>),
    /// Proxies that have to be discovered.
    Auto,
}

impl fmt::Display for ProxyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyGroup::Auto => f.write_str("auto"),
            ProxyGroup::Members(members) => {
                for (index, member) in members.iter().enumerate() {
                    write!(f, "{}{member}", if index == 0 { "" } else { "|" })?;
                }
                Ok(())
            }
        }
    }
}

/// A whole list of proxies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyList {
    /// In the order of fail-over.
    pub groups: Vec<ProxyGroup>,
}

impl fmt::Display for ProxyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            write!(f, "{}{group}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl ProxyList {
    /// The list that says DIRECT.
    pub fn direct() -> ProxyList {
        ProxyList { groups: vec![ProxyGroup::Members(vec![ProxySpec::Direct])] }
    }

    /// Reads `CVMFS_HTTP_PROXY`: an empty value is an error, because "no proxy" has to be said.
    pub fn parse(text: &str) -> Result<ProxyList, ProxyListError> {
        ProxyList::parse_named(text, "CVMFS_HTTP_PROXY")
    }

    /// Reads `CVMFS_FALLBACK_PROXY`: may be empty.
    pub fn parse_fallback(text: &str) -> Result<ProxyList, ProxyListError> {
        if text.trim().is_empty() {
            return Ok(ProxyList::default());
        }
        ProxyList::parse_named(text, "CVMFS_FALLBACK_PROXY")
    }

    /// Reads the value of the named parameter.
    pub fn parse_named(text: &str, parameter: &'static str) -> Result<ProxyList, ProxyListError> {
        if text.trim().is_empty() {
            return Err(ProxyListError::Empty { parameter });
        }
        let mut groups = Vec::new();
        let mut position = 1;
        for group_text in text.split(';') {
            groups.push(parse_group(group_text, position, text, parameter)?);
            position += group_text.chars().count() + 1;
        }
        Ok(ProxyList { groups })
    }

    /// True if a group has to be discovered.
    pub fn has_auto(&self) -> bool {
        self.groups.contains(&ProxyGroup::Auto)
    }

    /// The list without DIRECT.
    pub(super) fn without_direct(&self) -> ProxyList {
        let keep = |group: &ProxyGroup| match group {
            ProxyGroup::Auto => Some(ProxyGroup::Auto),
            ProxyGroup::Members(members) => {
                let proxies: Vec<_> = members.iter().filter(|m| **m != ProxySpec::Direct).cloned().collect();
                (!proxies.is_empty()).then_some(ProxyGroup::Members(proxies))
            }
        };
        ProxyList { groups: self.groups.iter().filter_map(keep).collect() }
    }
}

fn parse_group(text: &str, start: usize, list: &str, parameter: &'static str) -> Result<ProxyGroup, ProxyListError> {
    let alone = !text.contains('|');
    let mut members = Vec::new();
    let mut position = start;
    for raw in text.split('|') {
        let element = raw.trim();
        let at = position + raw.chars().take_while(|c| c.is_whitespace()).count();
        if element.is_empty() {
            return Err(ProxyListError::EmptyElement { parameter, list: list.to_owned(), position });
        }
        if element.len() != raw.len() {
            log::warn!("{parameter}: ignoring the blanks around '{}'", without_credentials(element));
        }
        if element == "auto" && alone {
            return Ok(ProxyGroup::Auto);
        }
        members.push(parse_member(element).map_err(|reason| ProxyListError::Element {
            parameter,
            list: list.escape_debug().to_string(),
            element: element.escape_debug().to_string(),
            position: at,
            reason,
        })?);
        position += raw.chars().count() + 1;
    }
    Ok(ProxyGroup::Members(members))
}

fn without_credentials(element: &str) -> &str {
    element.rsplit_once('@').map_or(element, |(_, rest)| rest)
}

fn parse_member(element: &str) -> Result<ProxySpec, ElementError> {
    if element == "DIRECT" {
        return Ok(ProxySpec::Direct);
    }
    if element.eq_ignore_ascii_case("direct") {
        return Err(ElementError::LowerCaseDirect);
    }
    if element == "auto" {
        return Err(ElementError::AutoInGroup);
    }
    if element.eq_ignore_ascii_case("auto") {
        return Err(ElementError::UpperCaseAuto);
    }
    if element.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ElementError::Blank);
    }
    if element.contains(',') {
        return Err(ElementError::Comma);
    }
    let rest = match element.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => return Err(ElementError::Scheme(scheme.to_owned())),
        None => element,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(slash) = rest.find(['/', '?', '#']) {
        return Err(ElementError::Path(rest[slash..].to_owned()));
    }
    let (credentials, authority) = match rest.rsplit_once('@') {
        Some((credentials, authority)) => (Some(credentials.to_owned()), authority),
        None => (None, rest),
    };
    let authority = parse_authority(authority, DEFAULT_PROXY_PORT)?;
    Ok(ProxySpec::Http(ProxyAddress { authority, credentials }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String, ProxyListError> {
        ProxyList::parse(text).map(|list| list.to_string())
    }

    #[test]
    fn the_official_examples() {
        let text = "http://p1.example:3128|p2.example:3128;http://p3.example:8080;DIRECT";
        assert_eq!(
            parse(text).as_deref(),
            Ok("http://p1.example:3128|http://p2.example:3128;http://p3.example:8080;DIRECT")
        );
        assert_eq!(parse("auto;DIRECT").as_deref(), Ok("auto;DIRECT"));
        assert_eq!(parse("http://[2001:db8::1]:3128/").as_deref(), Ok("http://[2001:db8::1]:3128"));
        assert_eq!(parse("10.0.0.1").as_deref(), Ok("http://10.0.0.1"));
    }

    #[test]
    fn blanks_around_elements_do_not_count() {
        assert_eq!(parse(" http://a:1 ; b:2 | DIRECT ").as_deref(), Ok("http://a:1;http://b:2|DIRECT"));
    }

    #[test]
    fn mistakes_are_named_with_their_position() {
        for (text, position) in
            [("http://a:1;;DIRECT", 12), ("http://a:1;", 12), (";DIRECT", 1), ("a:1|", 5), ("a:1| ;b", 5)]
        {
            match ProxyList::parse(text) {
                Err(ProxyListError::EmptyElement { position: found, .. }) => assert_eq!(found, position, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (text, position) in [
            ("http://a:1; direct", 13),
            ("a b:1", 1),
            ("a:1,b:2", 1),
            ("a:1;https://b:2", 5),
            ("socks5://b:2", 1),
            ("a:99999", 1),
            ("a:1;b:", 5),
            ("http://a:1/path", 1),
            ("auto|a:1", 1),
            ("a:1;AUTO", 5),
            ("http://", 1),
        ] {
            match ProxyList::parse(text) {
                Err(ProxyListError::Element { position: found, .. }) => assert_eq!(found, position, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for empty in ["", "  "] {
            assert!(matches!(ProxyList::parse(empty), Err(ProxyListError::Empty { .. })));
            assert_eq!(ProxyList::parse_fallback(empty), Ok(ProxyList::default()));
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let list = ProxyList::parse("http://user:secret@a:1").expect("well formed");
        assert_eq!(list.to_string(), "http://a:1");
        assert!(!format!("{list:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = ProxyList::parse(&text);
        }

        #[test]
        fn what_is_accepted_reads_back(text in "([a-c|; :0-9/.]|DIRECT|auto|http://){0,12}") {
            if let Ok(list) = ProxyList::parse(&text) {
                prop_assert!(list.groups.iter().all(|g| !matches!(g, ProxyGroup::Members(m) if m.is_empty())));
                prop_assert_eq!(ProxyList::parse(&list.to_string()), Ok(list));
            }
        }

        #[test]
        fn direct_appears_only_where_it_is_written(text in "([a-c|;.]|direct|DIRECT){0,12}") {
            if let Ok(list) = ProxyList::parse(&text) {
                let members = list.groups.iter().flat_map(|group| match group {
                    ProxyGroup::Members(members) => members.as_slice(),
                    ProxyGroup::Auto => &[],
                });
                let found = members.filter(|member| **member == ProxySpec::Direct).count();
                prop_assert_eq!(found, text.split([';', '|']).filter(|e| e.trim() == "DIRECT").count());
            }
        }
    }
}
