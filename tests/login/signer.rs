//! Whoever issues tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

pub const SECRET: &str = "a secret of more than 32 bytes, as it must be";
pub const RSA_PUBLIC: &str = include_str!("rsa-public.pem");
const RSA_KEY: &str = include_str!("rsa-key.pem");

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a user for an hour.
pub fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": now() + 3600})
}

/// The same with more of them.
pub fn claims_with(user: &str, more: Value) -> Value {
    let mut claims = claims(user);
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

/// Signed with the secret.
pub fn hs256(claims: &Value) -> String {
    hs256_with(SECRET.as_bytes(), claims)
}

pub fn hs256_with(secret: &[u8], claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    token(&json!({"alg": "HS256"}), claims, |message| hmac::sign(&key, message).as_ref().into())
}

/// Signed with the key whose public part is `RSA_PUBLIC`.
pub fn rs256(claims: &Value) -> String {
    let der: String = RSA_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    token(&json!({"alg": "RS256"}), claims, |message| {
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    })
}

/// A key of a set, as it is rotated.
pub struct SetKey {
    id: String,
    pair: KeyPair,
}

impl SetKey {
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), pair: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    /// As it stands in a JSON Web Key Set.
    pub fn public(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": encode(self.pair.der_bytes())})
    }

    pub fn sign(&self, claims: &Value) -> String {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(self.pair.serialized_der()).unwrap();
        token(&json!({"alg": "EdDSA", "kid": self.id}), claims, |message| key.sign(message).as_ref().into())
    }
}
