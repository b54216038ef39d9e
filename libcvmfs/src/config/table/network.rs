//! Proxies, hosts, time limits, retries; and external data.

use crate::config::parameter::{Kind, Parameter, Status, Topic};

const METALINK: Status = Status::NotSupported("servers come from CVMFS_SERVER_URL and the Geo API");
const NO_AUTHZ: Status =
    Status::NotSupported("repositories that ask for an authorisation are refused, never shown unprotected");
const SYSTEM_RESOLVER: Status = Status::NoEffect("names are resolved by the system's resolver");

parameters! { Topic::Network;
    HTTP_PROXY "CVMFS_HTTP_PROXY" Kind::Proxies, "Groups of proxies; `DIRECT` is none, `auto` asks the PAC files.";
    FALLBACK_PROXY "CVMFS_FALLBACK_PROXY" Kind::Proxies, "Proxies of last resort; when set, nothing is fetched without a proxy.";
    PAC_URLS "CVMFS_PAC_URLS" Kind::List(';'), "Files that describe the proxies of the site, asked for `auto`.";
    PROXY_RESET_AFTER "CVMFS_PROXY_RESET_AFTER" Kind::Seconds, "Time until the first proxy group is tried again; 0 is never.".code("0").file("300");
    HOST_RESET_AFTER "CVMFS_HOST_RESET_AFTER" Kind::Seconds, "Time until the first host is tried again; 0 is never.".code("0").file("1800");
    TIMEOUT "CVMFS_TIMEOUT" Kind::Seconds, "Limit for connecting and for being slow, through a proxy.".code("5").file("5");
    TIMEOUT_DIRECT "CVMFS_TIMEOUT_DIRECT" Kind::Seconds, "Limit for connecting and for being slow, without a proxy.".code("5").file("10").own("5");
    LOW_SPEED_LIMIT "CVMFS_LOW_SPEED_LIMIT" Kind::Integer, "Bytes per second below which a transfer counts as slow.".code("1024").file("1024");
    MAX_RETRIES "CVMFS_MAX_RETRIES" Kind::Integer, "Retries for one proxy and host.".code("1").file("1");
    BACKOFF_INIT "CVMFS_BACKOFF_INIT" Kind::Seconds, "Longest first pause before a retry.".code("2").file("2");
    BACKOFF_MAX "CVMFS_BACKOFF_MAX" Kind::Seconds, "Longest pause before a retry.".code("10").file("10");
    FAILOVER_INDEFINITELY "CVMFS_FAILOVER_INDEFINITELY" Kind::Bool, "Never gives up.".code("no");
    USE_GEOAPI "CVMFS_USE_GEOAPI" Kind::Bool, "Lets the servers sort hosts and fallback proxies by distance.".code("no").file("no");
    MAX_SERVERS "CVMFS_MAX_SERVERS" Kind::Integer, "Keeps only the first hosts of the sorted list.";
    PROXY_TEMPLATE "CVMFS_PROXY_TEMPLATE" Kind::Text, "Text sent to the Geo API in place of the proxy's name.";
    PROXY_SHARD "CVMFS_PROXY_SHARD" Kind::Bool, "Spreads objects over the proxies of a group by their hash.".code("no");
    PROXY_SHARDING_POLICY "CVMFS_PROXY_SHARDING_POLICY" Kind::Choice(&["EXTERNAL"]), "Which transfers are spread."
        .is(Status::NotSupported("`EXTERNAL` is a plug-in point of the official client, for which no plug-in is public"));
    MAX_IPADDR_PER_PROXY "CVMFS_MAX_IPADDR_PER_PROXY" Kind::Integer, "Addresses used of one proxy name.";
    IPFAMILY_PREFER "CVMFS_IPFAMILY_PREFER" Kind::Choice(&["4", "6"]), "Kind of addresses of proxies to prefer.".code("4");
    IPV4_ONLY "CVMFS_IPV4_ONLY" Kind::Text, "When set at all, only IPv4 addresses are used.";
    DNS_TIMEOUT "CVMFS_DNS_TIMEOUT" Kind::Seconds, "Limit for resolving a name.".code("3").is(SYSTEM_RESOLVER);
    DNS_RETRIES "CVMFS_DNS_RETRIES" Kind::Integer, "Retries for resolving a name.".code("1").is(SYSTEM_RESOLVER);
    DNS_SERVER "CVMFS_DNS_SERVER" Kind::Text, "Name server to ask.".is(SYSTEM_RESOLVER);
    DNS_ROAMING "CVMFS_DNS_ROAMING" Kind::Bool, "Watches for a change of name servers.".code("no").is(SYSTEM_RESOLVER);
    DNS_MIN_TTL "CVMFS_DNS_MIN_TTL" Kind::Seconds, "Shortest time a resolved proxy name is kept.".code("60");
    DNS_MAX_TTL "CVMFS_DNS_MAX_TTL" Kind::Seconds, "Longest time a resolved proxy name is kept.".code("86400");
    FOLLOW_REDIRECTS "CVMFS_FOLLOW_REDIRECTS" Kind::Bool, "Follows up to four HTTP redirects.".code("no");
    SEND_INFO_HEADER "CVMFS_SEND_INFO_HEADER" Kind::Bool, "Tells the servers the path that is read.".code("no").file("no");
    INFO_HEADER "CVMFS_INFO_HEADER" Kind::Text, "Text for the servers' logs in later official clients."
        .is(Status::NotSupported("only the path is sent, with CVMFS_SEND_INFO_HEADER"));
    HTTP_TRACING "CVMFS_HTTP_TRACING" Kind::Bool, "Sends process, user and group id with each request.".code("no");
    HTTP_TRACING_HEADERS "CVMFS_HTTP_TRACING_HEADERS" Kind::List('|'), "Further `name:value` headers to send when tracing.";
    USE_SSL_SYSTEM_CA "CVMFS_USE_SSL_SYSTEM_CA" Kind::Bool, "Trusts the system's certificate authorities for https.".code("no");
    X509_CERT_DIR "X509_CERT_DIR" Kind::Path, "Directory of certificate authorities for https.".code("/etc/grid-security/certificates");
    X509_CERT_BUNDLE "X509_CERT_BUNDLE" Kind::Path, "File of certificate authorities for https.";
    METALINK_URL "CVMFS_METALINK_URL" Kind::List(';'), "Servers that answer with a list of hosts.".is(METALINK);
    METALINK_RESET_AFTER "CVMFS_METALINK_RESET_AFTER" Kind::Seconds, "Time until the metalink server is asked again.".is(METALINK);
    AUTHZ_HELPER "CVMFS_AUTHZ_HELPER" Kind::Path, "Program that decides who may read a protected repository.".is(NO_AUTHZ);
    AUTHZ_SEARCH_PATH "CVMFS_AUTHZ_SEARCH_PATH" Kind::Path, "Place of such programs.".code("/usr/libexec/cvmfs/authz").is(NO_AUTHZ);
    AUTHZ_OTHER "CVMFS_AUTHZ_<instance>" Kind::Text, "Handed to such a program.".is(NO_AUTHZ);
}

/// Data outside the repository's own storage.
pub(super) mod external {
    use super::*;
    parameters! { Topic::External;
        EXTERNAL_URL "CVMFS_EXTERNAL_URL" Kind::List(';'), "Servers of external data, tried in this order.";
        EXTERNAL_HTTP_PROXY "CVMFS_EXTERNAL_HTTP_PROXY" Kind::Proxies, "Groups of proxies for external data.".code("DIRECT");
        EXTERNAL_FALLBACK_PROXY "CVMFS_EXTERNAL_FALLBACK_PROXY" Kind::Proxies, "Proxies of last resort for external data.";
        EXTERNAL_TIMEOUT "CVMFS_EXTERNAL_TIMEOUT" Kind::Seconds, "`CVMFS_TIMEOUT` for external data.";
        EXTERNAL_TIMEOUT_DIRECT "CVMFS_EXTERNAL_TIMEOUT_DIRECT" Kind::Seconds, "`CVMFS_TIMEOUT_DIRECT` for external data.";
        EXTERNAL_MAX_SERVERS "CVMFS_EXTERNAL_MAX_SERVERS" Kind::Integer, "Keeps only the first hosts for external data.";
        MAX_EXTERNAL_SERVERS "CVMFS_MAX_EXTERNAL_SERVERS" Kind::Integer, "Documented officially in place of `CVMFS_EXTERNAL_MAX_SERVERS`."
            .is(Status::NoEffect("the official client reads only the other name; use that one"));
        EXTERNAL_METALINK "CVMFS_EXTERNAL_METALINK" Kind::List(';'), "`CVMFS_METALINK_URL` for external data.".is(METALINK);
    }
}
pub use external::*;
