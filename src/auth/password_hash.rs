use std::cell::RefCell;
use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::scram;

/// PBKDF2 iterations that a file may ask for; more is taken for a slip of the pen, at about a second for each million.
const MAX_ITERATIONS: u32 = 10_000_000;
/// 1 GiB, in the KiB that argon2 counts in.
const MAX_ARGON2_MEMORY: u32 = 1024 * 1024;
const MAX_ARGON2_PASSES: u32 = 100;
const MAX_ARGON2_LANES: u32 = 64;
/// mosquitto 2.1 writes salts and hashes of 64 bytes.
const MAX_SALT: usize = 128;
const MAX_ARGON2_HASH: usize = 128;
/// What MQTT can carry as a password (3.1.3.6).
const MAX_PASSWORD: usize = 65_535;

/// Iterations of a new SCRAM entry. The client pays them too, and may be a microcontroller; RFC 7677 asks for 4096 or more.
const SCRAM_ITERATIONS: u32 = 10_000;
const SALT_LENGTH: usize = 16;

/// mosquitto pads its base64, PHC strings do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One hashed password, as it stands behind the colon of a password file.
#[derive(Clone)]
pub enum PasswordHash {
    /// `$6$SALT$HASH`: one SHA-512 over password and salt, as `mosquitto_passwd -H sha512` writes it. Fast to guess; read, never written.
    Sha512 { salt: Box<[u8]>, hash: [u8; 64] },
    /// `$7$ITERATIONS$SALT$HASH`: PBKDF2 with SHA-512, mosquitto's default up to 2.0.
    Pbkdf2Sha512 { iterations: u32, salt: Box<[u8]>, hash: [u8; 64] },
    /// `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH`: a PHC string, ours and mosquitto 2.1's.
    Argon2id { argon2: Box<Argon2<'static>>, salt: Box<[u8]>, hash: Box<[u8]> },
    /// `$scram-sha-256$ITERATIONS$SALT$STOREDKEY$SERVERKEY` (RFC 5802, 3): proves a SCRAM exchange and checks plain passwords too.
    ScramSha256(scram::Keys),
}

/// What [`hash_password`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Costs 19 MiB and two passes.
    Argon2id,
    /// For clients that authenticate with SCRAM-SHA-256. Weaker than argon2id when the file is stolen.
    ScramSha256,
}

/// Why a string is no hash that is understood. Never holds the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    #[error("there is no password hash behind the colon")]
    Missing,
    #[error("the password is not hashed; `dunlin passwd FILE USER` or `mosquitto_passwd -U FILE` hashes it")]
    NotHashed,
    #[error("unknown kind of hash; known are $6$, $7$, $argon2id$ and $scram-sha-256$")]
    UnknownKind,
    #[error("the hash has not the fields of its kind")]
    Fields,
    #[error("the salt, the hash or a key is no base64 of a length that fits")]
    Base64,
    #[error("the number of iterations is not between 1 and {MAX_ITERATIONS}")]
    Iterations,
    #[error(
        "argon2 parameters out of bounds: m is up to {MAX_ARGON2_MEMORY} and at least 8 for each lane, t up to {MAX_ARGON2_PASSES}, \
         p up to {MAX_ARGON2_LANES}"
    )]
    Argon2Parameters,
    #[error("unknown version of argon2; known are 16 and 19")]
    Argon2Version,
}

/// Why a password cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {MAX_PASSWORD} bytes")]
    TooLong,
    /// HMAC pads its key with zero bytes, so `x` and `x\0` have the same SCRAM keys.
    #[error("a password for SCRAM must not end in a NUL")]
    TrailingNul,
    #[error("not enough memory to hash the password")]
    OutOfMemory,
}

/// Hashes a password with a random salt, to be put behind `USER:` in a password file. Takes tens of milliseconds.
pub fn hash_password(password: &[u8], kind: Kind) -> Result<String, HashError> {
    match password {
        [] => return Err(HashError::Empty),
        _ if password.len() > MAX_PASSWORD => return Err(HashError::TooLong),
        [.., 0] if kind == Kind::ScramSha256 => return Err(HashError::TrailingNul),
        _ => {}
    }
    let salt: [u8; SALT_LENGTH] = rand::random();
    match kind {
        Kind::Argon2id => {
            let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
            argon2.hash_password_into(password, &salt, &mut hash).map_err(|_| HashError::OutOfMemory)?;
            let (m, t, p) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
            let base64 = general_purpose::STANDARD_NO_PAD;
            Ok(format!("$argon2id$v=19$m={m},t={t},p={p}${}${}", base64.encode(salt), base64.encode(hash)))
        }
        Kind::ScramSha256 => {
            let keys = scram::Keys::derive(password, &salt, SCRAM_ITERATIONS);
            let [salt, stored, server] = [&*keys.salt, &keys.stored_key, &keys.server_key].map(|part| BASE64.encode(part));
            Ok(format!("$scram-sha-256${SCRAM_ITERATIONS}${salt}${stored}${server}"))
        }
    }
}

impl PasswordHash {
    /// Reads one of the four kinds. Parameters are bounded, so that a typo cannot make every login take minutes or gigabytes.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        if text.is_empty() {
            return Err(InvalidHash::Missing);
        }
        let text = text.strip_prefix('$').ok_or(InvalidHash::NotHashed)?;
        let mut fields = text.split('$');
        let kind = fields.next().unwrap_or_default();
        let fields: Vec<&str> = fields.collect();
        match (kind, &fields[..]) {
            ("6", [salt, hash]) => Ok(Self::Sha512 { salt: decode_salt(salt)?, hash: decode_array(hash)? }),
            ("7", [iterations, salt, hash]) => Ok(Self::Pbkdf2Sha512 {
                iterations: parse_iterations(iterations)?,
                salt: decode_salt(salt)?,
                hash: decode_array(hash)?,
            }),
            ("argon2id", [version, costs, salt, hash]) => parse_argon2id(version, costs, salt, hash),
            ("argon2id", [costs, salt, hash]) => parse_argon2id("v=16", costs, salt, hash), // a PHC string of before 1.3 names no version
            ("scram-sha-256", [iterations, salt, stored_key, server_key]) => Ok(Self::ScramSha256(scram::Keys {
                iterations: parse_iterations(iterations)?,
                salt: decode_salt(salt)?,
                stored_key: decode_array(stored_key)?,
                server_key: decode_array(server_key)?,
            })),
            ("6" | "7" | "argon2id" | "scram-sha-256", _) => Err(InvalidHash::Fields),
            _ => Err(InvalidHash::UnknownKind),
        }
    }

    /// Whether this is the password, byte for byte. Hashes it: as long as the parameters say, whatever the answer.
    ///
    /// A password that ends in NUL matches no `$7$` and no `$scram-sha-256$`: HMAC pads its key with zero bytes and could not tell
    /// it from the one without.
    pub fn verify(&self, password: &[u8]) -> bool {
        let no_padding = Choice::from(u8::from(!password.ends_with(&[0])));
        let equal = match self {
            Self::Sha512 { salt, hash } => {
                let mut sha512 = Sha512::new();
                sha512.update(password);
                sha512.update(salt);
                sha512.finalize().ct_eq(hash)
            }
            Self::Pbkdf2Sha512 { iterations, salt, hash } => {
                pbkdf2_hmac_array::<Sha512, 64>(password, salt, *iterations).ct_eq(hash) & no_padding
            }
            Self::Argon2id { argon2, salt, hash } => {
                let mut computed = vec![0; hash.len()];
                // What may fail here is the memory; without it nobody is let in.
                let hashed = hash_argon2(argon2, password, salt, &mut computed).is_ok();
                computed.ct_eq(hash) & Choice::from(u8::from(hashed))
            }
            Self::ScramSha256(keys) => {
                scram::Keys::derive(password, &keys.salt, keys.iterations).stored_key.ct_eq(&keys.stored_key) & no_padding
            }
        };
        equal.into()
    }
}

thread_local! {
    /// What argon2 fills, kept from one check to the next until the thread ends: new pages from the kernel cost a fifth of a check.
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// As [`Argon2::hash_password_into`]: what the memory held before makes no difference, the first pass writes all of it.
fn hash_argon2(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8]) -> argon2::Result<()> {
    let count = argon2.params().block_count();
    BLOCKS.with_borrow_mut(|blocks| {
        let missing = count.saturating_sub(blocks.len());
        blocks.try_reserve_exact(missing).map_err(|_| argon2::Error::OutOfMemory)?;
        blocks.resize(blocks.len() + missing, Block::new());
        argon2.hash_password_into_with_memory(password, salt, out, &mut blocks[..count])
    })
}

impl fmt::Debug for PasswordHash {
    /// The kind alone: hashes stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha512 { .. } => "Sha512(..)",
            Self::Pbkdf2Sha512 { .. } => "Pbkdf2Sha512(..)",
            Self::Argon2id { .. } => "Argon2id(..)",
            Self::ScramSha256(_) => "ScramSha256(..)",
        })
    }
}

/// `SaltedPassword` of RFC 5802 for SHA-256.
pub(super) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations)
}

fn parse_argon2id(version: &str, costs: &str, salt: &str, hash: &str) -> Result<PasswordHash, InvalidHash> {
    let version = match version {
        "v=16" => Version::V0x10,
        "v=19" => Version::V0x13,
        _ => return Err(InvalidHash::Argon2Version),
    };
    let (memory, passes, lanes) = parse_argon2_costs(costs).ok_or(InvalidHash::Argon2Parameters)?;
    let salt = decode_salt(salt)?;
    let hash = decode(hash, Params::MIN_OUTPUT_LEN..=MAX_ARGON2_HASH)?;
    if salt.len() < argon2::MIN_SALT_LEN {
        return Err(InvalidHash::Base64);
    }
    let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| InvalidHash::Argon2Parameters)?;
    Ok(PasswordHash::Argon2id { argon2: Box::new(Argon2::new(Algorithm::Argon2id, version, params)), salt, hash })
}

/// `m=…,t=…,p=…`, in this order.
fn parse_argon2_costs(costs: &str) -> Option<(u32, u32, u32)> {
    let mut parts = costs.split(',');
    let mut cost = |name: &str, max: u32| {
        let number: u32 = parts.next()?.strip_prefix(name)?.parse().ok()?;
        (1..=max).contains(&number).then_some(number)
    };
    let costs = (cost("m=", MAX_ARGON2_MEMORY)?, cost("t=", MAX_ARGON2_PASSES)?, cost("p=", MAX_ARGON2_LANES)?);
    parts.next().is_none().then_some(costs)
}

fn parse_iterations(text: &str) -> Result<u32, InvalidHash> {
    match text.parse() {
        Ok(number @ 1..=MAX_ITERATIONS) => Ok(number),
        _ => Err(InvalidHash::Iterations),
    }
}

fn decode_salt(text: &str) -> Result<Box<[u8]>, InvalidHash> {
    decode(text, 1..=MAX_SALT)
}

fn decode(text: &str, length: std::ops::RangeInclusive<usize>) -> Result<Box<[u8]>, InvalidHash> {
    let bytes = BASE64.decode(text).map_err(|_| InvalidHash::Base64)?;
    if length.contains(&bytes.len()) { Ok(bytes.into()) } else { Err(InvalidHash::Base64) }
}

fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], InvalidHash> {
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidHash::Base64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by `mosquitto_passwd` 2.0.11, and by the reference implementation of argon2: its own test vectors, and one in the
    /// shape of mosquitto 2.1, which takes 64 bytes for salt and hash.
    const SAMPLES: &[(&str, &str)] = &[
        (
            "secret",
            "$7$101$rSzWFBWixXixnDRf$LOevje1+R8kSxaYQH6D2JJrPEwqav9sYK6JBNCwBZuxX5NUctyGM7XbGrOQxgMKIz6CgwXFtDCTvs0Gv/mfFkg==",
        ),
        (
            "pass word",
            "$6$gUpiFdfz/4ViHb2f$NGd3dJJ+10Y/lnpHI+dOSNwzLazUTdteNf5o3po6qFbwCzh/wCoLv6P2EQjImEKocqsoI7MLSyIIMxNKJQ3yew==",
        ),
        ("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
        ("password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
        (
            "secret",
            "$argon2id$v=19$m=1024,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$/yMj4L5psruWTS+nnr81h4+Qc1vYVKZsp6BKOR+A8gtQH2BsOFZ+DnZBV5L7kF2EtqgsJDEkzZTtH7H+OVUgcg",
        ),
        // RFC 7677, 3: the salt and the iterations of its example; the keys follow from them.
        (
            "pencil",
            "$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        ),
    ];

    #[test]
    fn what_other_programs_hashed_is_understood() {
        for (password, text) in SAMPLES {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()), "{text}");
        }
    }

    /// Argon2's memory is used again: with more and with less in it than is needed.
    #[test]
    fn a_check_does_not_depend_on_the_one_before() {
        let hashes: Vec<_> = SAMPLES.iter().map(|(password, text)| (password, PasswordHash::parse(text).unwrap())).collect();
        for (first, before) in &hashes {
            for (second, hash) in &hashes {
                assert!(before.verify(first.as_bytes()));
                assert!(hash.verify(second.as_bytes()));
                assert!(!hash.verify(b"wrong"));
            }
        }
    }

    #[test]
    fn another_password_does_not_match() {
        for (password, text) in SAMPLES {
            let hash = PasswordHash::parse(text).unwrap();
            for wrong in [
                &b""[..],
                b"x",
                &password.as_bytes()[1..],
                format!("{password}\0").as_bytes(),
                format!("{password} ").as_bytes(),
            ] {
                assert!(!hash.verify(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_new_hash_matches_its_password_and_has_its_own_salt() {
        for kind in [Kind::Argon2id, Kind::ScramSha256] {
            let (first, second) = (hash_password(b"s3cr\xfft", kind).unwrap(), hash_password(b"s3cr\xfft", kind).unwrap());
            assert_ne!(first, second);
            let hash = PasswordHash::parse(&first).unwrap();
            assert!(hash.verify(b"s3cr\xfft"));
            assert!(!hash.verify(b"s3cr\xfft\0"));
            assert!(!hash.verify(b"s3cr"));
        }
    }

    #[test]
    fn a_password_that_cannot_be_kept_is_refused() {
        assert_eq!(hash_password(b"", Kind::Argon2id), Err(HashError::Empty));
        assert_eq!(hash_password(b"x\0", Kind::ScramSha256), Err(HashError::TrailingNul));
        assert_eq!(hash_password(&[b'x'; 65_536], Kind::Argon2id), Err(HashError::TooLong));
    }

    #[test]
    fn each_mistake_in_a_hash_has_its_own_message() {
        let hash64 = BASE64.encode([0; 64]);
        let key32 = BASE64.encode([0; 32]);
        for (text, error) in [
            ("", InvalidHash::Missing),
            ("secret", InvalidHash::NotHashed),
            ("$5$x$y", InvalidHash::UnknownKind),
            ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR", InvalidHash::UnknownKind),
            ("$6$c29tZXNhbHQ=", InvalidHash::Fields),
            ("$6$c29tZXNhbHQ=$c29t", InvalidHash::Base64),
            (&format!("$6$*$ {hash64}"), InvalidHash::Base64),
            (&format!("$6$${hash64}"), InvalidHash::Base64),
            (&format!("$7$0$c29t${hash64}"), InvalidHash::Iterations),
            (&format!("$7$-1$c29t${hash64}"), InvalidHash::Iterations),
            (&format!("$7$1000000000000$c29t${hash64}"), InvalidHash::Iterations),
            (&format!("$scram-sha-256$10000001$c29t${key32}${key32}"), InvalidHash::Iterations),
            (&format!("$scram-sha-256$4096$c29t${key32}${hash64}"), InvalidHash::Base64),
            (&format!("$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Version),
            (&format!("$argon2id$v=19$m=2000000,t=2,p=1$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Parameters),
            (&format!("$argon2id$v=19$m=256,t=101,p=1$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Parameters),
            (&format!("$argon2id$v=19$m=256,t=2,p=65$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Parameters),
            (&format!("$argon2id$v=19$m=256,t=2,p=64$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Parameters), // 8 KiB a lane
            (&format!("$argon2id$v=19$m=256,t=2,p=1,x=1$c29tZXNhbHQ${key32}"), InvalidHash::Argon2Parameters),
            (&format!("$argon2id$v=19$m=256,t=2,p=1$c29t${key32}"), InvalidHash::Base64), // argon2 wants 8 bytes of salt
        ] {
            assert_eq!(PasswordHash::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn printing_a_hash_does_not_show_it() {
        for (_, text) in SAMPLES {
            assert!(format!("{:?}", PasswordHash::parse(text).unwrap()).ends_with("(..)"));
        }
    }

    proptest! {
        #[test]
        fn any_string_is_read_or_refused(text in r"\$(6|7|argon2id|scram-sha-256)?[$,=a-z0-9/+]{0,60}|.{0,40}") {
            let _ = PasswordHash::parse(&text);
        }
    }
}
