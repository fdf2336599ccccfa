use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
};
use ring::{hmac, signature};
use serde::{Deserialize, Serialize};

/// How a token is signed (RFC 7518, 3.1; RFC 8037, 3.1). `none` is no way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What kind of key an algorithm needs. A key is of one kind for ever: a public key is never taken for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// What a signature is checked with.
#[derive(Clone)]
pub(super) enum Material {
    Secret(Box<[u8]>),
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// Uncompressed points, or the 32 bytes of Ed25519.
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

impl Algorithm {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => Kind::Secret,
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => Kind::Rsa,
            Self::ES256 => Kind::P256,
            Self::ES384 => Kind::P384,
            Self::EdDSA => Kind::Ed25519,
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HS384 => hmac::HMAC_SHA384,
            Self::HS512 => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        }
    }

    const fn rsa(self) -> &'static RsaParameters {
        match self {
            Self::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &RSA_PSS_2048_8192_SHA512,
            _ => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

impl Material {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Secret(_) => Kind::Secret,
            Self::Rsa { .. } => Kind::Rsa,
            Self::P256(_) => Kind::P256,
            Self::P384(_) => Kind::P384,
            Self::Ed25519(_) => Kind::Ed25519,
        }
    }

    /// Whether the signature is that of this key. An algorithm of another kind verifies nothing.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm.kind() != self.kind() {
            return false;
        }
        let public = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match self {
            Self::Secret(secret) => hmac::verify(&hmac::Key::new(algorithm.hmac(), secret), message, signature).is_ok(),
            Self::Rsa { modulus, exponent } => {
                let key = signature::RsaPublicKeyComponents { n: &**modulus, e: &**exponent };
                key.verify(algorithm.rsa(), message, signature).is_ok()
            }
            Self::P256(point) => public(&ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => public(&ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(key) => public(&ED25519, key),
        }
    }
}
