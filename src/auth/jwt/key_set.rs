use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Algorithm, Material};

/// More keys than any issuer rotates through.
const MAX_KEYS: usize = 100;
/// RFC 7518, 3.2: a secret is at least as long as what SHA-256 gives.
const MIN_SECRET: usize = 32;
/// What ring verifies with: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys that may have signed a token.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    /// The one that the key is for, if the set says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// Why there is no key in a file or an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("a secret needs at least {MIN_SECRET} bytes, this one has {0}")]
    ShortSecret(usize),
    #[error("this is a key in PEM, not a secret; name it in public_keys")]
    PemAsSecret,
    #[error("there is no PUBLIC KEY or CERTIFICATE section in it")]
    NoPublicKey,
    #[error("there is a private key in it; the broker needs no more than the public one")]
    PrivateKey,
    #[error("the key is of a kind that signs no tokens here: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 do")]
    Kind,
    #[error("this is no JSON Web Key Set: {0}")]
    NoKeySet(String),
    #[error("there is no key in it that can sign tokens")]
    NoKeys,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

impl KeySet {
    /// A secret for HS256, HS384 and HS512: the bytes of a file, without white space around them.
    pub fn secret(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let secret = bytes.trim_ascii();
        if secret.starts_with(b"-----BEGIN") {
            return Err(InvalidKey::PemAsSecret);
        }
        if secret.len() < MIN_SECRET {
            return Err(InvalidKey::ShortSecret(secret.len()));
        }
        Ok(Self::of([Key { id: None, algorithm: None, material: Material::Secret(secret.into()) }]))
    }

    /// The public keys of a PEM file: `PUBLIC KEY` sections, or certificates, whose dates and issuers do not count.
    pub fn pem(text: &[u8]) -> Result<Self, InvalidKey> {
        let mut set = Self::default();
        for section in Pem::iter_from_buffer(text) {
            let section = section.map_err(|_| InvalidKey::NoPublicKey)?;
            let material = match section.label.as_str() {
                "PUBLIC KEY" => {
                    let (_, info) = SubjectPublicKeyInfo::from_der(&section.contents).map_err(|_| InvalidKey::Kind)?;
                    material_of(&info)
                }
                "CERTIFICATE" => {
                    let (_, certificate) = X509Certificate::from_der(&section.contents).map_err(|_| InvalidKey::Kind)?;
                    material_of(certificate.public_key())
                }
                label if label.ends_with("PRIVATE KEY") => return Err(InvalidKey::PrivateKey),
                _ => continue,
            };
            set.keys.push(Key { id: None, algorithm: None, material: material.ok_or(InvalidKey::Kind)? });
        }
        if set.keys.is_empty() { Err(InvalidKey::NoPublicKey) } else { Ok(set) }
    }

    /// A JSON Web Key Set (RFC 7517, 5). Keys of other kinds, and those for encryption, are passed over. `is_public`: secrets too, since
    /// a set that anybody can read holds none.
    pub fn jwks(text: &[u8], is_public: bool) -> Result<Self, InvalidKey> {
        let set: Jwks = serde_json::from_slice(text).map_err(|error| InvalidKey::NoKeySet(error.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(InvalidKey::TooMany);
        }
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.read());
        let keys: Vec<Key> = keys.filter(|key| !is_public || !matches!(key.material, Material::Secret(_))).collect();
        if keys.is_empty() { Err(InvalidKey::NoKeys) } else { Ok(Self { keys }) }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// Whether a token that names this key (`kid`) could be of one of these. One that names none could.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        self.candidates(id).next().is_some()
    }

    /// Whether one of the keys has signed the message. A key with a name is tried only for tokens that name it, or that name none.
    pub(super) fn verify(&self, algorithm: Algorithm, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        self.candidates(id)
            .filter(|key| key.algorithm.is_none_or(|only| only == algorithm))
            .any(|key| key.material.verify(algorithm, message, signature))
    }

    fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| match (&key.id, id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => true,
        })
    }

    #[cfg(test)]
    pub(super) fn named(mut self, id: &str) -> Self {
        self.keys.iter_mut().for_each(|key| key.id = Some(id.into()));
        self
    }

    fn of(keys: impl Into<Vec<Key>>) -> Self {
        Self { keys: keys.into() }
    }
}

impl fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.material.kind())
    }
}

fn material_of(info: &SubjectPublicKeyInfo<'_>) -> Option<Material> {
    const ED25519: &str = "1.3.101.112";
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        return ed25519(&info.subject_public_key.data);
    }
    match info.parsed().ok()? {
        PublicKey::RSA(key) => rsa(key.modulus, key.exponent),
        PublicKey::EC(point) => {
            let curve = info.algorithm.parameters.as_ref()?;
            let curve: Oid<'_> = curve.as_oid().ok()?;
            match curve.to_id_string().as_str() {
                P256 => ec(point.data(), 65).map(Material::P256),
                P384 => ec(point.data(), 97).map(Material::P384),
                _ => None,
            }
        }
        _ => None,
    }
}

/// DER and some issuers put a zero in front.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Material> {
    let strip = |number: &[u8]| -> Box<[u8]> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].into()
    };
    let (modulus, exponent) = (strip(modulus), strip(exponent));
    RSA_BYTES.contains(&modulus.len()).then_some(Material::Rsa { modulus, exponent })
}

/// An uncompressed point (SEC 1, 2.3.3).
fn ec(point: &[u8], length: usize) -> Option<Box<[u8]>> {
    (point.len() == length && point[0] == 4).then(|| point.into())
}

fn ed25519(key: &[u8]) -> Option<Material> {
    (key.len() == 32).then(|| Material::Ed25519(key.into()))
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

/// A JSON Web Key (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2), as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Jwk {
    /// `None` for a key that verifies no signatures here.
    fn read(self) -> Option<Key> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures {
            return None;
        }
        // An algorithm that is not known here is not one of those that the key could be used with.
        let algorithm: Option<Algorithm> = match &self.alg {
            Some(name) => Some(serde_json::from_value(serde_json::Value::String(name.clone())).ok()?),
            None => None,
        };
        let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        let point = |length| {
            let (x, y) = (number(&self.x)?, number(&self.y)?);
            ec(&[&[4], &*x, &*y].concat(), length)
        };
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => rsa(&number(&self.n)?, &number(&self.e)?)?,
            ("EC", Some("P-256")) => Material::P256(point(65)?),
            ("EC", Some("P-384")) => Material::P384(point(97)?),
            ("OKP", Some("Ed25519")) => ed25519(&number(&self.x)?)?,
            ("oct", _) => Material::Secret(number(&self.k).filter(|secret| secret.len() >= MIN_SECRET)?.into()),
            _ => return None,
        };
        algorithm.is_none_or(|algorithm| algorithm.kind() == material.kind()).then_some(Key {
            id: self.kid,
            algorithm,
            material,
        })
    }
}
