//! The environment document that vSphere and others put on a CD, `ovf-env.xml`; Azure uses its namespace, too.

use crate::about::keys_in;
use crate::{About, UserData};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// User data in an OVF environment: the property `user-data`, or Azure's `CustomData`.
///
/// `None` if `text` is not XML. Entities of one's own are not expanded.
pub fn user_data(text: &str) -> Option<UserData> {
    let document = roxmltree::Document::parse(text).ok()?;
    let property = |wanted: &str| {
        let mut properties = document.descendants().filter(|node| node.tag_name().name() == "Property");
        let attribute = |node: roxmltree::Node<'_, '_>, name: &str| {
            node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value().to_owned())
        };
        let found = properties.find(|node| attribute(*node, "key").is_some_and(|key| key.eq_ignore_ascii_case(wanted)));
        found.and_then(|node| attribute(node, "value")).filter(|value| !value.is_empty())
    };
    let element = |wanted: &str| {
        let found = document.descendants().find(|node| node.tag_name().name() == wanted);
        found.and_then(|node| node.text()).map(str::to_owned)
    };
    let packed = property("user-data").or_else(|| element("CustomData")).unwrap_or_default();
    let stripped: String = packed.split_ascii_whitespace().collect();
    let about = About {
        instance: property("instance-id"),
        hostname: property("hostname").or_else(|| element("HostName")),
        keys: property("public-keys").map(|keys| keys_in(&keys)).unwrap_or_default(),
        document: None,
    };
    let bytes = STANDARD.decode(&stripped).unwrap_or_else(|_| packed.into_bytes());
    Some(UserData { source: "OVF", bytes, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_vsphere() {
        let text = r#"<?xml version="1.0"?><Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
            xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"><PropertySection>
            <Property oe:key="user-data" oe:value="IyEvYmluL3NoCg=="/><Property oe:key="hostname" oe:value="vm"/>
            </PropertySection></Environment>"#;
        let data = user_data(text).expect("a document");
        assert_eq!(data.bytes, b"#!/bin/sh\n");
        assert_eq!(data.about.hostname.as_deref(), Some("vm"));
    }

    #[test]
    fn custom_data_of_azure() {
        let text = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:wa="http://schemas.microsoft.com/windowsazure">
            <wa:ProvisioningSection><LinuxProvisioningConfigurationSet xmlns="http://schemas.microsoft.com/windowsazure">
            <HostName>h</HostName><CustomData>YQ==</CustomData></LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>"#;
        let data = user_data(text).expect("a document");
        assert_eq!((data.bytes.as_slice(), data.about.hostname.as_deref()), (&b"a"[..], Some("h")));
    }

    #[test]
    fn entities_do_not_grow() {
        let laughs = (1..12).fold("<!ENTITY e0 \"ha\">".to_owned(), |text, level| {
            format!("{text}<!ENTITY e{level} \"{}\">", format!("&e{};", level - 1).repeat(10))
        });
        assert_eq!(user_data(&format!("<!DOCTYPE x [{laughs}]><x>&e11;</x>")), None);
        assert_eq!(user_data("not xml"), None);
    }
}
