use proptest::prelude::*;

use super::*;
use crate::auth::{Kind, hash_password};

/// RFC 7677, 3.
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// `user` with the password `pencil` as in the RFC, and `argon` with `pencil` in a hash that SCRAM cannot use.
fn server() -> ScramServer {
    let argon = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let keys = "$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    server_of(&format!("user:{keys}\nargon:{argon}\n"))
}

fn server_of(file: &str) -> ScramServer {
    ScramServer::new(Arc::new(PasswordFile::parse(file).unwrap()))
}

/// The client's side, as far as a test needs it: the last message, and the last one that it expects.
fn client(password: &[u8], first: &str, challenge: &[u8]) -> (String, String) {
    let challenge = std::str::from_utf8(challenge).unwrap();
    let fields: Vec<&str> = challenge.split(',').map(|field| &field[2..]).collect();
    let keys = Keys::derive(password, &BASE64.decode(fields[1]).unwrap(), fields[2].parse().unwrap());
    let client_key = hmac(&salted_password(password, &keys.salt, keys.iterations), &[b"Client Key"]);
    let bare_at = first.match_indices(',').nth(1).unwrap().0 + 1;
    let without_proof = format!("c={},r={}", BASE64.encode(&first[..bare_at]), fields[0]);
    let signed = format!("{},{challenge},{without_proof}", &first[bare_at..]);
    let signature = hmac(&keys.stored_key, &[signed.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
    let expected = format!("v={}", BASE64.encode(hmac(&keys.server_key, &[signed.as_bytes()])));
    (format!("{without_proof},p={}", BASE64.encode(proof)), expected)
}

fn exchange(server: &ScramServer, first: &str, password: &[u8]) -> Result<ScramSuccess, ScramError> {
    let (exchange, challenge) = server.start(first.as_bytes())?;
    let (last, expected) = client(password, first, &challenge);
    let success = exchange.finish(last.as_bytes())?;
    assert_eq!(success.server_final, expected.as_bytes());
    Ok(success)
}

#[test]
fn the_example_of_rfc_7677_goes_through() {
    let (exchange, challenge) = server().start_with_nonce(CLIENT_FIRST, SERVER_NONCE).unwrap();
    assert_eq!(challenge, SERVER_FIRST.as_bytes());
    let success = exchange.finish(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(success, ScramSuccess { username: "user".into(), server_final: SERVER_FINAL.into() });
}

#[test]
fn a_password_that_dunlin_hashed_works() {
    let server = server_of(&format!("dave:{}", hash_password("pass,wörd".as_bytes(), Kind::ScramSha256).unwrap()));
    for first in ["n,,n=dave,r=abc", "y,,n=dave,r=abc", "n,a=dave,n=dave,r=abc", "n,,n=dave,r=abc,x=extension"] {
        assert_eq!(exchange(&server, first, "pass,wörd".as_bytes()).unwrap().username, "dave", "{first}");
    }
}

#[test]
fn commas_and_equals_signs_in_names_are_escaped() {
    let server = server_of(&format!("CN=x,O=y:{}", hash_password(b"secret", Kind::ScramSha256).unwrap()));
    assert_eq!(exchange(&server, "n,,n=CN=3Dx=2CO=3Dy,r=abc", b"secret").unwrap().username, "CN=x,O=y");
}

#[test]
fn a_wrong_password_an_unknown_user_and_another_kind_of_hash_end_alike() {
    for (user, password) in [("user", "wrong"), ("nobody", "pencil"), ("argon", "pencil")] {
        let result = exchange(&server(), &format!("n,,n={user},r=abc"), password.as_bytes());
        assert_eq!(result, Err(ScramError::WrongProof), "{user}");
    }
}

#[test]
fn an_unknown_user_is_challenged_like_a_known_one() {
    let challenge = |user: &str| {
        let (_, challenge) = server().start_with_nonce(format!("n,,n={user},r=abc").as_bytes(), "def").unwrap();
        String::from_utf8(challenge).unwrap()
    };
    assert_eq!(challenge("nobody"), challenge("nobody"), "the salt stays the same");
    assert_ne!(challenge("nobody"), challenge("somebody"));
    assert_eq!(challenge("nobody").len(), challenge("user").len());
    assert!(challenge("nobody").ends_with(",i=4096"));
    let without_users = server_of("").start(b"n,,n=nobody,r=abc").unwrap().1;
    assert!(without_users.ends_with(b",i=4096"));
}

#[test]
fn each_exchange_has_a_nonce_of_its_own() {
    let nonce = || server().start(CLIENT_FIRST).unwrap().0.nonce;
    let (first, second) = (nonce(), nonce());
    assert!(first.starts_with("rOprNGfwEbeRWgbNEkqO") && first.len() > 40);
    assert_ne!(first, second);
}

#[test]
fn first_messages_that_are_refused() {
    for (message, error) in [
        (&b""[..], ScramError::Malformed),
        (b"n,", ScramError::Malformed),
        (b"n,,n=user", ScramError::Malformed),
        (b"n,,n=,r=abc", ScramError::Malformed),
        (b"n,,n=user,r=", ScramError::Malformed),
        (b"n,,n=us=er,r=abc", ScramError::Malformed),
        (b"n,,n=us=2cer,r=abc", ScramError::Malformed),
        (b"n,,r=abc,n=user", ScramError::Malformed),
        ("n,,n=user,r=é".as_bytes(), ScramError::Malformed),
        (b"n,,n=us\0er,r=abc", ScramError::Malformed),
        (b"n,,n=\xff,r=abc", ScramError::Malformed),
        (b"x,,n=user,r=abc", ScramError::Malformed),
        (b"n,b=user,n=user,r=abc", ScramError::Malformed),
        (b"p=tls-unique,,n=user,r=abc", ScramError::ChannelBinding),
        (b"n,,m=x,n=user,r=abc", ScramError::Extension),
        (b"n,a=root,n=user,r=abc", ScramError::OtherIdentity),
    ] {
        assert_eq!(server().start(message).err(), Some(error), "{}", String::from_utf8_lossy(message));
    }
    let long = format!("n,,n=user,r={}", "x".repeat(MAX_MESSAGE));
    assert_eq!(server().start(long.as_bytes()).err(), Some(ScramError::Malformed));
}

#[test]
fn last_messages_that_are_refused() {
    for (message, error) in [
        ("", ScramError::Malformed),
        ("c=biws", ScramError::Malformed),
        (&CLIENT_FINAL[..CLIENT_FINAL.len() - 4], ScramError::Malformed),
        (&CLIENT_FINAL.replace("c=biws,", ""), ScramError::Malformed),
        (&CLIENT_FINAL.replace("biws", "eSws"), ScramError::Mismatch), // "y,," where the first message said "n,,"
        (&CLIENT_FINAL.replace("r=rO", "r=rP"), ScramError::Mismatch),
        (&CLIENT_FINAL.replace("k0,p", "k0x,p"), ScramError::Mismatch),
        (&CLIENT_FINAL.replace("p=dH", "p=eH"), ScramError::WrongProof),
        (&CLIENT_FINAL.replace(",p=", ",x=y,p="), ScramError::WrongProof),
    ] {
        let (exchange, _) = server().start_with_nonce(CLIENT_FIRST, SERVER_NONCE).unwrap();
        assert_eq!(exchange.finish(message.as_bytes()).err(), Some(error), "{message}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_an_error(first in "[ny],(a=u)?,[nm]=[=u,23CD]{0,8},r=[a-z,]{0,8}", last in "(c=biws,)?r=[a-z]{0,4},p=[a-z=]{0,50}", noise: Vec<u8>) {
        let server = server();
        let _ = server.start(&noise);
        if let Ok((exchange, _)) = server.start(first.as_bytes()) {
            prop_assert!(exchange.finish(last.as_bytes()).is_err());
        }
    }
}
