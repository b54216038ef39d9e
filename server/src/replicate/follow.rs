//! Waiting for the next revision: until the source announces one, or until it is time to ask.

use crate::http::tls;
use crate::serve::announce;
use libcvmfs::transport::Backoff;
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, Read as _};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::header::CONTENT_TYPE;

/// Until a connection stands, and an answer begins.
const PATIENCE: Duration = Duration::from_secs(20);
/// A source that says nothing for so long is gone; ours says something four times as often.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a line of an announcement.
const LINE: u64 = 64 << 10;
/// Until a source that could not be heard is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Between two rounds that brought nothing new: what is announced may be a lie, or not be there yet.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Waits for a source.
pub struct Follower {
    /// Where revisions may be announced; nobody announces those of files.
    url: Option<String>,
    agent: Agent,
    every: Duration,
    /// What the last round brought.
    known: Option<u64>,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Nothing could be heard the last time.
    is_deaf: bool,
    was_announced: bool,
}

/// What is announced.
#[derive(Deserialize)]
struct Announcement {
    revision: u64,
}

impl Follower {
    /// For the first of the base URLs, as [`super::Source::open`] takes them; it is asked every so often in any case.
    pub fn new(base: &str, every: Duration) -> Follower {
        let base = base.split(';').next().unwrap_or_default().trim().trim_end_matches('/');
        let url = base.starts_with("http").then(|| format!("{base}/{}", announce::PATH));
        let mut settings = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("cvmfs-server ", env!("CARGO_PKG_VERSION")))
            .accept(announce::CONTENT)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(SILENCE));
        if base.starts_with("https") {
            settings = settings.tls_config(tls::tls());
        }
        let agent = settings.build().new_agent();
        let backoff = Backoff::new(FIRST_WAIT, every);
        Follower {
            url,
            agent,
            every,
            known: None,
            backoff,
            random: fastrand::Rng::new(),
            is_deaf: false,
            was_announced: false,
        }
    }

    /// Returns when it is time for the next round; `revision` is what the last one brought, if it did not fail.
    pub fn wait(&mut self, revision: Option<u64>) {
        let until = Instant::now() + self.every;
        let is_new = revision.is_some() && revision != self.known;
        self.known = revision.or(self.known);
        match (revision, self.was_announced && !is_new) {
            (Some(_), false) => self.backoff = Backoff::new(FIRST_WAIT, self.every),
            (failed, _) => {
                std::thread::sleep(self.backoff.advance(&mut self.random));
                if failed.is_none() {
                    return;
                }
            }
        }
        self.was_announced = self.url.clone().is_some_and(|url| self.is_announced(&url, until));
        if !self.was_announced {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Whether another revision than the known one is announced before it is time.
    fn is_announced(&mut self, url: &str, until: Instant) -> bool {
        while Instant::now() < until {
            match self.listen(url, until) {
                Ok(()) => {
                    self.is_deaf = false;
                    return true;
                }
                Err(_) if Instant::now() >= until => {}
                Err(error) => {
                    // Said once: most web servers announce nothing.
                    if !std::mem::replace(&mut self.is_deaf, true) {
                        log::info!("{url}: {error}; asking every {} s", self.every.as_secs());
                    }
                    let left = until.saturating_duration_since(Instant::now());
                    std::thread::sleep(AGAIN.min(left));
                }
            }
        }
        false
    }

    /// Listens until another revision than the known one is announced.
    fn listen(&self, url: &str, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let request = self.agent.get(url).config().timeout_global(Some(left)).build();
        let mut response = request.call().map_err(io::Error::other)?;
        let said = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !response.status().is_success() || !said.starts_with(announce::CONTENT) {
            return Err(io::Error::other(format!("announces nothing ({})", response.status())));
        }
        let mut reader = BufReader::new(response.body_mut().as_reader());
        loop {
            let line = line(&mut reader)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let told = line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice(data).ok());
            if told.is_some_and(|Announcement { revision }| Some(revision) != self.known) {
                return Ok(());
            }
        }
    }
}

/// A line of the answer, with its end; empty behind the last one.
fn line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LINE).read_until(b'\n', &mut line)?;
    match line.len() as u64 {
        LINE => Err(io::Error::other("a line without an end")),
        _ => Ok(line),
    }
}
