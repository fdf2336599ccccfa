//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), which MQTT 5 carries in AUTH packets (4.12). Bytes in, bytes out.
//!
//! Without channel binding. User names and passwords are compared as they are: SASLprep, which changes nothing in ASCII, is not done.

use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::password_file::PasswordFile;
use super::password_hash::salted_password;

/// The Authentication Method in CONNECT and AUTH.
pub const METHOD: &str = "SCRAM-SHA-256";

/// Far more than a name and a nonce need.
const MAX_MESSAGE: usize = 4096;
/// Base64 of 18 random bytes.
const NONCE_BYTES: usize = 18;

/// Makes up the salts of unknown users. Random per process and derived from nothing in the password file: whatever a client sees of it
/// must not help to guess a password.
static SECRET: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// What the server keeps of a password (RFC 5802, 3).
#[derive(Clone)]
pub struct Keys {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

impl Keys {
    /// Hashes a password: `iterations` times HMAC-SHA-256.
    pub(super) fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            iterations,
            salt: salt.into(),
            stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// For a user who is not there: the same answer each time, with the iterations and the salt length of one who is.
    fn of_nobody(user: &str, like: Option<&Self>) -> Self {
        let (iterations, length) = like.map_or((4096, 16), |keys| (keys.iterations, keys.salt.len()));
        let block = |label: &[u8], index: u8| hmac(&*SECRET, &[label, &[index], user.as_bytes()]);
        let salt = (0..=u8::MAX).flat_map(|index| block(b"salt", index)).take(length).collect();
        Self { iterations, salt, stored_key: block(b"stored key", 0), server_key: block(b"server key", 0) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Why an exchange ends without a user. The client learns none of it but that it is not authorized (0x87).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the message is no SCRAM message")]
    Malformed,
    #[error("the client wants channel binding, which is not supported")]
    ChannelBinding,
    #[error("the client wants an extension that is not supported")]
    Extension,
    #[error("the client wants to act as somebody else")]
    OtherIdentity,
    #[error("the client's last message does not belong to this exchange")]
    Mismatch,
    /// A wrong password, an unknown user, or one without SCRAM keys.
    #[error("unknown user or wrong password")]
    WrongProof,
}

/// Starts exchanges against the users of a password file.
#[derive(Clone, Debug)]
pub struct ScramServer {
    passwords: Arc<PasswordFile>,
}

/// An exchange that waits for the client's last message.
#[derive(Debug)]
pub struct ScramExchange {
    user: String,
    keys: Keys,
    /// Whether the keys are those of a user.
    known: bool,
    /// Client's and server's nonce together.
    nonce: String,
    /// What the client's `c=` must be.
    channel_binding: String,
    /// `client-first-message-bare , server-first-message`, the start of what is signed.
    signed: String,
}

/// Who was authenticated, and the proof that the server knows them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramSuccess {
    pub username: String,
    /// The `server-final-message`: the Authentication Data of CONNACK, or of AUTH after a re-authentication.
    pub server_final: Vec<u8>,
}

impl ScramServer {
    pub(super) fn new(passwords: Arc<PasswordFile>) -> Self {
        Self { passwords }
    }

    /// Takes the `client-first-message`, gives the exchange and the challenge: the Authentication Data of an AUTH with 0x18. A user who
    /// is unknown is challenged like any other.
    pub fn start(&self, client_first: &[u8]) -> Result<(ScramExchange, Vec<u8>), ScramError> {
        self.start_with_nonce(client_first, &BASE64.encode(rand::random::<[u8; NONCE_BYTES]>()))
    }

    fn start_with_nonce(&self, client_first: &[u8], server_nonce: &str) -> Result<(ScramExchange, Vec<u8>), ScramError> {
        let first = ClientFirst::parse(client_first)?;
        let known = self.passwords.scram_keys(&first.user);
        // Made up in either case: it should not be seen in the time that it takes.
        let made_up = Keys::of_nobody(&first.user, self.passwords.scram_stand_in(&first.user));
        let keys = known.cloned().unwrap_or(made_up);
        let nonce = format!("{}{server_nonce}", first.nonce);
        let challenge = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
        let exchange = ScramExchange {
            known: known.is_some(),
            keys,
            nonce,
            channel_binding: BASE64.encode(first.gs2_header),
            signed: format!("{},{challenge}", first.bare),
            user: first.user,
        };
        Ok((exchange, challenge.into_bytes()))
    }
}

impl ScramExchange {
    /// Takes the `client-final-message`. One try: the exchange is used up.
    pub fn finish(self, client_final: &[u8]) -> Result<ScramSuccess, ScramError> {
        let message = text(client_final)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let proof: [u8; 32] = BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let channel_binding = attribute(attributes.next(), "c=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        if channel_binding != self.channel_binding || nonce != self.nonce {
            return Err(ScramError::Mismatch);
        }
        let signed = [self.signed.as_bytes(), b",", without_proof.as_bytes()];
        let client_signature = hmac(&self.keys.stored_key, &signed);
        let client_key: [u8; 32] = std::array::from_fn(|index| proof[index] ^ client_signature[index]);
        let proven = Sha256::digest(client_key).ct_eq(&self.keys.stored_key);
        if !bool::from(proven & Choice::from(u8::from(self.known))) {
            return Err(ScramError::WrongProof);
        }
        let server_signature = hmac(&self.keys.server_key, &signed);
        Ok(ScramSuccess { username: self.user, server_final: format!("v={}", BASE64.encode(server_signature)).into_bytes() })
    }
}

/// `n,a=AUTHZID,n=USER,r=NONCE`.
struct ClientFirst<'a> {
    /// Up to and with the second comma.
    gs2_header: &'a str,
    /// What comes behind it.
    bare: &'a str,
    user: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        }
        if bare.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let mut attributes = bare.split(','); // extensions behind the nonce are for those who know them
        let user = unescape(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed);
        }
        if !identity.is_empty() && unescape(attribute(Some(identity), "a=")?)? != user {
            return Err(ScramError::OtherIdentity);
        }
        Ok(Self { gs2_header: &message[..message.len() - bare.len()], bare, user, nonce })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    match std::str::from_utf8(message) {
        Ok(text) if text.len() <= MAX_MESSAGE && !text.contains('\0') => Ok(text),
        _ => Err(ScramError::Malformed),
    }
}

fn attribute<'a>(text: Option<&'a str>, name: &str) -> Result<&'a str, ScramError> {
    text.and_then(|text| text.strip_prefix(name)).ok_or(ScramError::Malformed)
}

/// `=2C` is a comma, `=3D` an equals sign, and no other use of `=` is allowed (RFC 5802, 5.1).
fn unescape(name: &str) -> Result<String, ScramError> {
    let mut parts = name.split('=');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::Malformed),
        };
        unescaped.push(character);
        unescaped.push_str(rest);
    }
    if unescaped.is_empty() { Err(ScramError::Malformed) } else { Ok(unescaped) }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
