use super::{Algorithm, ContentHash, DIGEST_LEN};
use ripemd::Digest as _;
use sha3::digest::{ExtendableOutput as _, Update as _, XofReader as _};

/// Hashes a stream of stored bytes with the algorithm its name demands.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(sha1::Sha1),
    Rmd160(ripemd::Ripemd160),
    Shake128(Box<sha3::Shake128>),
}

impl Hasher {
    /// Starts over an empty stream.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Rmd160 => State::Rmd160(ripemd::Ripemd160::new()),
            Algorithm::Shake128 => State::Shake128(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha1(h) => sha1::Digest::update(h, bytes),
            State::Rmd160(h) => ripemd::Digest::update(h, bytes),
            State::Shake128(h) => h.update(bytes),
        }
    }

    /// Ends the stream.
    pub fn finish(self) -> ContentHash {
        let (algorithm, digest) = match self.0 {
            State::Sha1(h) => (Algorithm::Sha1, h.finalize().into()),
            State::Rmd160(h) => (Algorithm::Rmd160, h.finalize().into()),
            State::Shake128(h) => {
                let mut digest = [0u8; DIGEST_LEN];
                h.finalize_xof().read(&mut digest);
                (Algorithm::Shake128, digest)
            }
        };
        ContentHash { algorithm, digest }
    }

    /// Hashes `bytes` in one go.
    pub fn hash(algorithm: Algorithm, bytes: &[u8]) -> ContentHash {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_of_the_zlib_stream_of_abc() {
        let stream = [0x78, 0x9c, 0x4b, 0x4c, 0x4a, 0x06, 0x00, 0x02, 0x4d, 0x01, 0x27];
        for (algorithm, expected) in [
            (Algorithm::Sha1, "2a695360ba25033e8899486a62c9dc7316650b56"),
            (Algorithm::Rmd160, "c39d29452241b9e1688065b86833c2489b5df41c-rmd160"),
            (Algorithm::Shake128, "cfe25dfbeb56df1c9fa32997172376b9aa3e6b32-shake128"),
        ] {
            assert_eq!(Hasher::hash(algorithm, &stream).to_string(), expected);
        }
    }
}
