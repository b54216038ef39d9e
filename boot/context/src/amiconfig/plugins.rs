//! Every plug-in of `amiconfig`, and what becomes of its keys where the tree has no `amiconfig`.

use crate::words::Here;
use Here::{No, Yes};

/// Some keys of a plug-in that have the same fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, which is that of its section.
    pub name: &'static str,
    /// Keys in lower case; none if the plug-in has none, or if all that are not in another row are meant.
    pub keys: &'static [&'static str],
    /// What becomes of them.
    pub here: Here,
}

const fn plugin(name: &'static str, keys: &'static [&'static str], here: Here) -> Plugin {
    Plugin { name, keys, here }
}

const REGISTERS: Here = No("it tells others the address of the machine, with programs of its own");
const CONFIGURES: Here =
    No("it writes the configuration of a program that it knows; a script or a module of cloud-init can");
const PEOPLE: Here = No("it changes whom the system knows by programs of its own");
const RPATH: Here = No("it belongs to a management of machines that is no more");
const CERNVM: Here = No("scripts of CernVM's own system do it");

/// All plug-ins. A plug-in can have several rows.
pub const PLUGINS: [Plugin; 31] = [
    plugin(
        "amiconfig",
        &["plugins", "disabled_plugins"],
        Yes("the sections of plug-ins that are not wanted are left out"),
    ),
    plugin("rootsshkeys", &[], Yes("`disable_root`: keys of the metadata let root in, too. On unless it is disabled")),
    plugin("hostname", &["hostname"], Yes("`hostname`")),
    plugin("disablesshpasswdauth", &[], Yes("`ssh_pwauth`")),
    plugin("cernvm", &["users", "shell"], Yes("`users`; who has no password is locked, the original makes one up")),
    plugin("cernvm", &["repositories", "proxy"], Yes("parameters in `/etc/cvmfs/default.d`")),
    plugin("cernvm", &["extra_repositories"], Yes("files in `/etc/cvmfs/config.d` and `/etc/cvmfs/keys`")),
    plugin("cernvm", &["environment"], Yes("`/etc/profile.d/amiconfig.sh`")),
    plugin("cernvm", &["services"], Yes("`runcmd`: they are enabled and started")),
    plugin("cernvm", &["contextualization_command"], Yes("`runcmd`: it is run by its user")),
    plugin("cernvm", &["keyboard"], Yes("`keyboard`")),
    plugin("cernvm", &["edition", "startxdm"], Yes("`runcmd`: `Desktop` and `on` mean `graphical.target`")),
    plugin(
        "cernvm",
        &[
            "organisations",
            "group_profile",
            "config_url",
            "entitlement_key",
            "contextualization_key",
            "screenres",
            "auto_login",
            "desktop_icons",
            "griduiversion",
            "swap_size",
            "x509-user",
            "x509-cert",
            "x509-cert-file",
            "eos-server",
            "eos-user",
            "eos-x509-cert",
            "eos-readaheadsize",
            "eos-readcachesize",
        ],
        CERNVM,
    ),
    plugin("tcpbuffers", &["net.*"], Yes("`/etc/sysctl.d/90-amiconfig.conf`")),
    plugin("noip", &["username", "password", "hostname", "prefix", "domain", "start"], REGISTERS),
    plugin("dnsupdate", &["tsighost", "tsigkey", "host", "domain", "server", "prefix", "start"], REGISTERS),
    plugin("openvpn", &["server", "port", "proto", "ca", "cert", "key", "search", "nameserver"], CONFIGURES),
    plugin(
        "storage",
        &["daemon", "pre-allocated-space", "relocate-paths"],
        No("it moves directories to other disks; here all that is written is on the scratch"),
    ),
    plugin("sfcb-client-setup", &["boot-uuid", "x509-cert-hash", "x509-cert(b64)"], RPATH),
    plugin("condor", &[], CONFIGURES),
    plugin("ganglia", &[], CONFIGURES),
    plugin("squid", &["backends", "cache_dir", "cache_dir_size"], CONFIGURES),
    plugin("puppet", &[], CONFIGURES),
    plugin("nss", &[], PEOPLE),
    plugin("yp", &["ypserver", "server", "domain"], PEOPLE),
    plugin("amildap", &["base", "url"], PEOPLE),
    plugin("workqueue", &["catalog_server", "workqueue_project", "workqueue_user"], CONFIGURES),
    plugin("appliance-agent", &["password"], CERNVM),
    plugin("elastiq-setup", &[], CONFIGURES),
    plugin("vaf-setup", &[], CONFIGURES),
    plugin(
        "hepix",
        &["context", "requiressl"],
        No("it fetches scripts of the site, or finds them on a CD, and runs them"),
    ),
];
