use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What makes tags, keys and deduplication identifiers unguessable. Drawn once for a data directory and kept there: with another
/// one, tags given out before are strangers, and remembered keys and identifiers no longer match.
#[derive(Clone, Copy)]
pub struct Secret([u64; 2]);

/// Which delivery of which message: the sequence number in its queue, and how often it had been leased then, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    pub seq: u64,
    pub number: u16,
}

/// What a client names a lease by: 20 characters of `A-Z a-z 0-9 - _`.
///
/// A tag holds the lease and a code over queue, lease and client that only the holder of the secret can make. So it is good for one
/// client, and says nothing to another; it needs no memory, and it is still known after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    pub lease: Lease,
    code: [u8; CODE],
}

/// A text that no queue gave out as a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tag of a lease")]
pub struct InvalidTag;

/// What a secret is used for.
pub(super) mod purpose {
    pub(crate) const TAG: u8 = 0;
    pub(crate) const PLACE: u8 = 1;
    pub(crate) const KEY: u8 = 2;
    pub(crate) const DEDUP: [u8; 2] = [3, 4];
    pub(crate) const QUEUE: u8 = 5;
}

const CODE: usize = 5;
const BYTES: usize = 8 + 2 + CODE;

impl Secret {
    pub const fn new(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self([both as u64, (both >> 64) as u64])
    }

    /// One of its own for each queue of the data directory: queues of one name, for clients of several mount points, have nothing in common.
    #[must_use]
    pub fn of_queue(&self, number: u64) -> Self {
        let half = |half: u8| self.hash(purpose::QUEUE, &[&[half], &number.to_le_bytes()]);
        Self([half(0), half(1)])
    }

    /// A number that nobody without the secret can foresee. `purpose` keeps equal texts with different uses apart.
    pub(super) fn hash(&self, purpose: u8, parts: &[&[u8]]) -> u64 {
        #[expect(deprecated, reason = "the one SipHash with a key of one's own in the standard library")]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0[0], self.0[1]);
        hasher.write_u8(purpose);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Tag {
    /// Characters of each tag.
    pub const LENGTH: usize = 20;

    /// The tag of a lease for one client of one queue; `place` names both.
    pub(super) fn new(lease: Lease, place: u64, secret: &Secret) -> Self {
        let parts: [&[u8]; 3] = [&place.to_le_bytes(), &lease.seq.to_le_bytes(), &lease.number.to_le_bytes()];
        let hash = secret.hash(purpose::TAG, &parts);
        let mut code = [0; CODE];
        code.copy_from_slice(&hash.to_le_bytes()[..CODE]);
        Self { lease, code }
    }

    /// As clients have it, in memory of the caller's.
    pub fn text<'a>(&self, into: &'a mut [u8; Self::LENGTH]) -> &'a str {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.lease.seq.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.lease.number.to_be_bytes());
        bytes[10..].copy_from_slice(&self.code);
        URL_SAFE_NO_PAD.encode_slice(bytes, into).expect("three bytes make four characters");
        std::str::from_utf8(into).expect("the alphabet is one of ASCII")
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::LENGTH]))
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    /// Takes what [`fmt::Display`] writes and nothing else.
    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let mut bytes = [0; BYTES];
        if text.len() != Self::LENGTH || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) {
            return Err(InvalidTag);
        }
        let (seq, rest) = bytes.split_first_chunk::<8>().ok_or(InvalidTag)?;
        let (number, code) = rest.split_first_chunk::<2>().ok_or(InvalidTag)?;
        let lease = Lease { seq: u64::from_be_bytes(*seq), number: u16::from_be_bytes(*number) };
        Ok(Self { lease, code: code.try_into().map_err(|_| InvalidTag)? })
    }
}
