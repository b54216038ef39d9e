//! How long to wait before the same URL is tried again.

use std::time::Duration;

/// Doubling waits: the first is random between zero and `first`, none is longer than `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Option<Duration>,
}

impl Backoff {
    /// Nothing was waited for yet.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, max, next: None }
    }

    /// The next wait.
    pub fn advance(&mut self, random: &mut fastrand::Rng) -> Duration {
        let wait = match self.next {
            None => {
                let millis = u64::try_from(self.first.as_millis()).unwrap_or(u64::MAX - 1);
                Duration::from_millis(random.u64(0..=millis))
            }
            Some(wait) => wait,
        }
        .min(self.max);
        // A first wait of zero would stay zero for ever.
        self.next = Some((wait * 2).max(Duration::from_millis(1)));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_from_a_random_start_up_to_the_cap() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(10));
            let waits: Vec<_> = (0..20).map(|_| backoff.advance(&mut random)).collect();
            assert!(waits[0] <= Duration::from_secs(2));
            for pair in waits.windows(2) {
                assert!(pair[1] >= pair[0] && pair[1] <= (pair[0] * 2).max(Duration::from_millis(1)));
            }
            assert_eq!(waits[19], Duration::from_secs(10));
        }
    }
}
