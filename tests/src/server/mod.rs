//! HTTP/1.1 servers for tests, all on 127.0.0.1.
//!
//! [`WebRoot`] serves directories as a Stratum 1 does and can be told to [misbehave](Behaviour) for single paths,
//! for single requests or for all of them. [`Squid`] is a real proxy.

mod behaviour;
mod port;
mod request;
mod squid;
mod webroot;

pub use behaviour::Behaviour;
pub use request::LoggedRequest;
pub use squid::Squid;
pub use webroot::WebRoot;
