use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA512, RsaKeyPair,
};
use ring::{hmac, signature};
use serde_json::json;

use super::*;
use crate::auth::jwt::InvalidKey;
use crate::packet::TopicName;

const SECRET: &[u8] = b"a secret of more than 32 bytes, as it must be";
const RSA_KEY: &str = include_str!("../../../tests/login/rsa-key.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/login/rsa-public.pem");
const NOW: u64 = 1_800_000_000;

fn rules() -> TokenRules {
    TokenRules {
        algorithms: Vec::new(),
        user_claim: "sub".into(),
        acl_claim: "acl".into(),
        required: Vec::new(),
        leeway: 10,
        require_expiry: true,
    }
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().into()
}

fn rsa(padding: &'static dyn signature::RsaEncoding) -> impl Fn(&[u8]) -> Vec<u8> {
    let der: String = RSA_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
    let key = RsaKeyPair::from_pkcs8(&der).unwrap();
    move |message| {
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}

fn check(keys: KeySet, token: &str) -> Result<Token, TokenError> {
    check_by(rules(), keys, token)
}

fn check_by(rules: TokenRules, keys: KeySet, token: &str) -> Result<Token, TokenError> {
    let facts = Facts { client_id: "c", username: Some("alice"), claims: None, certificate: None };
    Tokens::new(rules, keys, false).check(token.as_bytes(), &facts, NOW)
}

fn secret() -> KeySet {
    KeySet::secret(SECRET).unwrap()
}

fn by_secret(claims: &Value) -> Result<Token, TokenError> {
    check(secret(), &token(&json!({"alg": "HS256"}), claims, hs256(SECRET)))
}

#[test]
fn every_kind_of_key_verifies_its_own_tokens_and_no_others() {
    let (p256, p384) = (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384));
    let (p256, p384) = (p256.unwrap(), p384.unwrap());
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let random = SystemRandom::new();
    let sign_p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.serialized_der(), &random).unwrap();
    let sign_p384 = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, p384.serialized_der(), &random).unwrap();
    let sign_ed25519 = Ed25519KeyPair::from_pkcs8_maybe_unchecked(ed25519.serialized_der()).unwrap();
    let of = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| token(&json!({"alg": alg}), &claims(), sign);
    let tokens = [
        of("HS256", &hs256(SECRET)),
        of("RS256", &rsa(&RSA_PKCS1_SHA256)),
        of("PS512", &rsa(&RSA_PSS_SHA512)),
        of("ES256", &|message| sign_p256.sign(&random, message).unwrap().as_ref().into()),
        of("ES384", &|message| sign_p384.sign(&random, message).unwrap().as_ref().into()),
        of("EdDSA", &|message| sign_ed25519.sign(message).as_ref().into()),
    ];
    let pem = |key: &KeyPair| KeySet::pem(key.public_key_pem().as_bytes()).unwrap();
    let jwk = |key: &KeyPair, curve: &str| {
        let point = &key.der_bytes()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        KeySet::jwks(
            json!({"keys": [{"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)}]}).to_string().as_bytes(),
            true,
        )
    };
    let ed_jwk = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encode(ed25519.der_bytes())}]}).to_string();
    let oct = json!({"keys": [{"kty": "oct", "k": encode(SECRET), "alg": "HS256"}]}).to_string();
    for (keys, verified) in [
        (secret(), vec![0]),
        (KeySet::jwks(oct.as_bytes(), false).unwrap(), vec![0]),
        (KeySet::pem(RSA_PUBLIC.as_bytes()).unwrap(), vec![1, 2]),
        (pem(&p256), vec![3]),
        (jwk(&p256, "P-256").unwrap(), vec![3]),
        (pem(&p384), vec![4]),
        (jwk(&p384, "P-384").unwrap(), vec![4]),
        (pem(&ed25519), vec![5]),
        (KeySet::jwks(ed_jwk.as_bytes(), true).unwrap(), vec![5]),
        (secret().and(pem(&p256)).and(pem(&ed25519)), vec![0, 3, 5]),
    ] {
        for (number, token) in tokens.iter().enumerate() {
            assert_eq!(check(keys.clone(), token).is_ok(), verified.contains(&number), "{keys:?} {number}");
        }
    }
}

/// A public key is known to all: who could make the broker take it for the secret of HS256 could sign as they like.
#[test]
fn a_public_key_is_no_secret() {
    let keys = KeySet::pem(RSA_PUBLIC.as_bytes()).unwrap();
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim_end(), &RSA_PUBLIC.replace('\n', "")] {
        let forged = token(&json!({"alg": "HS256"}), &claims(), hs256(secret.as_bytes()));
        assert_eq!(check(keys.clone(), &forged), Err(TokenError::Signature));
    }
    assert_eq!(KeySet::secret(RSA_PUBLIC.as_bytes()).unwrap_err(), InvalidKey::PemAsSecret);
}

#[test]
fn a_token_that_is_not_signed_is_refused_however_it_says_so() {
    for alg in ["none", "None", "NONE", "nOnE", "", "HS", "hs256", "RS1"] {
        let unsigned = token(&json!({"alg": alg}), &claims(), |_| Vec::new());
        assert_eq!(check(secret(), &unsigned), Err(TokenError::Algorithm(alg.into())), "{alg:?}");
    }
    let empty = token(&json!({"alg": "HS256"}), &claims(), |_| Vec::new());
    assert_eq!(check(secret(), &empty), Err(TokenError::Signature));
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let good = token(&json!({"alg": "HS256"}), &claims(), hs256(SECRET));
    assert!(check(secret(), &good).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let mallory = encode(json!({"sub": "mallory", "exp": NOW + 60}).to_string());
    assert_eq!(check(secret(), &format!("{}.{mallory}.{}", parts[0], parts[2])), Err(TokenError::Signature));
    let other = token(&json!({"alg": "HS256"}), &claims(), hs256(b"another secret of more than 32 bytes, too"));
    assert_eq!(check(secret(), &other), Err(TokenError::Signature));
    for wrong in ["", ".", "..", "a.b.c", &parts[..2].join("."), &format!("{good}.x"), &format!("{good}=")] {
        assert!(check(secret(), wrong).is_err(), "{wrong}");
    }
    assert_eq!(check(secret(), &format!("{good}{}", "A".repeat(MAX_TOKEN))), Err(TokenError::TooLong));
}

#[test]
fn only_the_algorithms_that_were_named_are_taken() {
    let only = TokenRules { algorithms: vec![Algorithm::HS512], ..rules() };
    let signed = token(&json!({"alg": "HS256"}), &claims(), hs256(SECRET));
    assert_eq!(check_by(only, secret(), &signed), Err(TokenError::Algorithm("HS256".into())));
    // A key that is for one algorithm is for no other.
    let set = json!({"keys": [{"kty": "oct", "k": encode(SECRET), "alg": "HS512"}]}).to_string();
    assert_eq!(check(KeySet::jwks(set.as_bytes(), false).unwrap(), &signed), Err(TokenError::Signature));
}

#[test]
fn an_extension_that_must_be_understood_is_refused() {
    let signed = token(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims(), hs256(SECRET));
    assert_eq!(check(secret(), &signed), Err(TokenError::Critical));
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_give_or_take_the_leeway() {
    let at = |from: i64, to: i64| {
        let seconds = |offset: i64| NOW.checked_add_signed(offset).unwrap();
        by_secret(&json!({"sub": "a", "nbf": seconds(from), "exp": seconds(to)})).map(|token| token.expires_at)
    };
    assert_eq!(at(-1, 60), Ok(Some(NOW + 70)));
    assert_eq!(at(10, -9), Ok(Some(NOW + 1)));
    assert_eq!(at(-1, -10), Err(TokenError::Expired));
    assert_eq!(at(11, 60), Err(TokenError::NotYet));
}

/// A time that is a text must not pass as one that is not there.
#[test]
fn what_is_no_time_is_refused() {
    for name in ["exp", "nbf"] {
        for value in [json!("1900000000"), json!(null), json!(true), json!([NOW + 60]), json!(-1), json!(1e300)] {
            let mut claims = claims();
            claims[name] = value.clone();
            assert_eq!(by_secret(&claims), Err(TokenError::Claim(name.into())), "{name} {value}");
        }
    }
    assert_eq!(by_secret(&json!({"sub": "a"})), Err(TokenError::Claim("exp".into())));
    let endless = TokenRules { require_expiry: false, ..rules() };
    let signed = token(&json!({"alg": "HS256"}), &json!({"sub": "a"}), hs256(SECRET));
    assert_eq!(check_by(endless, secret(), &signed).unwrap().expires_at, None);
}

#[test]
fn the_user_name_is_in_the_token_or_nobody_is_let_in() {
    assert_eq!(by_secret(&claims()).unwrap().username, "alice");
    for name in [json!(null), json!(""), json!(7), json!("a\u{0}b"), json!(["alice"])] {
        let claims = json!({"sub": name, "exp": NOW + 60});
        assert_eq!(by_secret(&claims), Err(TokenError::Claim("sub".into())), "{name}");
    }
}

#[test]
fn claims_that_are_required_must_be_there_and_right() {
    let required = [("aud", "mqtt"), ("device", "%c"), ("sub", "%u")];
    let required = required.map(|(name, value)| (name.into(), Template::parse(value).unwrap())).to_vec();
    let rules = TokenRules { required, ..rules() };
    let check = |claims: &Value| {
        let signed = token(&json!({"alg": "HS256"}), claims, hs256(SECRET));
        check_by(rules.clone(), secret(), &signed).map(drop)
    };
    let claims = |aud: Value, device: Value, sub: &str| json!({"aud": aud, "device": device, "sub": sub, "exp": NOW + 60});
    assert_eq!(check(&claims(json!("mqtt"), json!("c"), "alice")), Ok(()));
    assert_eq!(check(&claims(json!(["x", "mqtt"]), json!("c"), "alice")), Ok(()));
    assert_eq!(check(&claims(json!("mqtt2"), json!("c"), "alice")), Err(TokenError::Claim("aud".into())));
    assert_eq!(check(&claims(json!([]), json!("c"), "alice")), Err(TokenError::Claim("aud".into())));
    assert_eq!(check(&claims(json!("mqtt"), json!("d"), "alice")), Err(TokenError::Claim("device".into())));
    assert_eq!(check(&claims(json!("mqtt"), json!(null), "alice")), Err(TokenError::Claim("device".into())));
    assert_eq!(check(&claims(json!("mqtt"), json!("c"), "bob")), Err(TokenError::Claim("sub".into())));
}

#[test]
fn rights_that_cannot_be_read_refuse_the_token() {
    let mut claims = claims();
    claims["acl"] = json!({"pub": ["a/%c"]});
    let grants = by_secret(&claims).unwrap().grants.unwrap();
    let who = crate::auth::Principal { client_id: "c".into(), username: None };
    assert!(grants.may_write(&who, TopicName::new("a/c").unwrap()));
    claims["acl"] = json!({"pub": ["a/#/b"]});
    assert!(matches!(by_secret(&claims), Err(TokenError::Grants(_))));
}

#[test]
fn keys_of_a_url_come_and_go_and_one_that_is_not_known_is_wished_for() {
    let facts = Facts { client_id: "c", username: None, claims: None, certificate: None };
    let tokens = Tokens::new(rules(), KeySet::default(), true);
    let set = |kid: &str| KeySet::pem(RSA_PUBLIC.as_bytes()).unwrap().named(kid);
    let signed = token(&json!({"alg": "RS256", "kid": "two"}), &claims(), rsa(&RSA_PKCS1_SHA256));
    let check = || tokens.check(signed.as_bytes(), &facts, NOW).map(drop);
    assert!(!tokens.take_wish());
    assert_eq!(check(), Err(TokenError::NoKeys));
    assert!(tokens.take_wish() && !tokens.take_wish());
    let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    tokens.set_fetched(Some((set("one"), first)));
    assert_eq!(check(), Err(TokenError::UnknownKey));
    assert!(tokens.take_wish());
    tokens.set_fetched(Some((set("two"), second)));
    assert_eq!(check(), Ok(()));
    assert!(!tokens.take_wish());
    let successor = Tokens::new(rules(), KeySet::default(), true);
    successor.inherit(&tokens);
    assert_eq!(successor.check(signed.as_bytes(), &facts, NOW).map(drop), Ok(()));
    assert_eq!(successor.fetched_at(), Some(second), "they are no younger than they were");
    tokens.set_fetched(None);
    assert_eq!((check(), tokens.fetched_at()), (Err(TokenError::NoKeys), None));
}

#[test]
fn keys_that_are_none_are_told() {
    for (keys, cause) in [
        (KeySet::secret(b" short \n"), InvalidKey::ShortSecret(5)),
        (KeySet::pem(b"nothing"), InvalidKey::NoPublicKey),
        (KeySet::pem(RSA_KEY.as_bytes()), InvalidKey::PrivateKey),
        (KeySet::jwks(b"{\"keys\": []}", true), InvalidKey::NoKeys),
        (KeySet::jwks(b"{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-521\"}, 7]}", true), InvalidKey::NoKeys),
    ] {
        assert_eq!(keys.unwrap_err(), cause);
    }
    let secret = json!({"keys": [{"kty": "oct", "k": encode(SECRET)}]}).to_string();
    assert_eq!(KeySet::jwks(secret.as_bytes(), true).unwrap_err(), InvalidKey::NoKeys, "a secret that anybody can fetch");
    let encryption = json!({"keys": [{"kty": "oct", "k": encode(SECRET), "use": "enc"}]}).to_string();
    assert_eq!(KeySet::jwks(encryption.as_bytes(), false).unwrap_err(), InvalidKey::NoKeys);
    let many = json!({"keys": vec![json!({}); 101]}).to_string();
    assert_eq!(KeySet::jwks(many.as_bytes(), false).unwrap_err(), InvalidKey::TooMany);
}

#[test]
fn a_password_is_not_taken_for_a_token() {
    let signed = token(&json!({"alg": "HS256"}), &claims(), hs256(SECRET));
    assert!(looks_like_a_token(signed.as_bytes()));
    for password in ["", "secret", "a.b.c", "..", "eyJ4IjoxfQ.e30.x", &format!("{signed}.x")] {
        assert!(!looks_like_a_token(password.as_bytes()), "{password}");
    }
}

#[test]
fn neither_keys_nor_secrets_are_printed() {
    let printed = format!("{:?}", Tokens::new(rules(), secret(), false));
    assert!(!printed.contains("secret of more") && !printed.contains("97, 32"), "{printed}");
}
