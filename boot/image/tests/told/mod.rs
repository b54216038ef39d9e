//! What a cloud tells a machine besides user data, and what becomes of it.

/// A key.
pub(crate) const KEY: &str = "ssh-ed25519 AAAA me@example.org";

/// Where cloud-init finds what was told.
pub(crate) const SEED: &str = "/var/lib/cloud/seed/nocloud";

/// `meta-data` there, of the machine `i-1` with the name `vm` and that key.
pub(crate) fn described() -> String {
    format!("instance-id: \"i-1\"\nlocal-hostname: \"vm\"\npublic-keys:\n  - \"{KEY}\"")
}
