use futures_util::FutureExt;

use super::*;
use crate::auth::hook::{Answering, RightAnswer, RightQuestion};
use crate::auth::password_file::tests::FILE;

const NOBODY: Credentials<'static> = Credentials { client_id: "c", username: None, password: None, certificate_identity: None };
const BAD: Verdict = Verdict::Refused(ConnectReason::BadUserNameOrPassword);
const NOT_AUTHORIZED: Verdict = Verdict::Refused(ConnectReason::NotAuthorized);

fn anonymous() -> Verdict {
    Verdict::Granted(Box::new(Granted::new(None, Way::Anyone)))
}

fn authenticator(allow_anonymous: bool, passwords: bool) -> Authenticator {
    Authenticator::new(allow_anonymous, passwords.then(|| Arc::new(PasswordFile::parse(FILE).unwrap())))
}

fn user<'a>(username: &'a str, password: &'a str) -> Credentials<'a> {
    Credentials { username: Some(username), password: Some(password.as_bytes()), ..NOBODY }
}

#[test]
fn the_table_of_who_is_let_in() {
    let without_password = Credentials { username: Some("alice"), ..NOBODY };
    let without_name = Credentials { password: Some(b"secret"), ..NOBODY };
    for (anonymous, passwords, credentials, verdict) in [
        (true, true, user("alice", "secret"), grant("alice", Way::Password)),
        (false, true, user("alice", "secret"), grant("alice", Way::Password)),
        (false, true, user("alice", "secret\0"), BAD),
        (true, true, user("alice", "wrong"), BAD),
        (true, true, user("alice", ""), BAD),
        (true, true, without_password, BAD),
        (true, true, user("mallory", "secret"), BAD), // not let in as anonymous either
        (true, true, user("", "secret"), BAD),
        (true, true, NOBODY, anonymous()),
        (true, true, without_name, anonymous()),
        (false, true, NOBODY, NOT_AUTHORIZED),
        (true, false, NOBODY, anonymous()),
        (true, false, user("alice", "anything"), anonymous()), // the name is not proven, so it does not count
        (false, false, user("alice", "secret"), BAD),
        (false, false, NOBODY, NOT_AUTHORIZED),
    ] {
        let answer = authenticator(anonymous, passwords).authenticate(&credentials, 0);
        assert_eq!(answer, verdict, "anonymous {anonymous}, password file {passwords}, {credentials:?}");
    }
}

#[test]
fn a_verified_certificate_wins_over_the_name_in_connect() {
    for (anonymous, passwords) in [(false, false), (true, false), (false, true), (true, true)] {
        let credentials = Credentials { certificate_identity: Some("device-7"), ..user("alice", "wrong") };
        let authenticator = authenticator(anonymous, passwords);
        assert!(matches!(authenticator.step(0, &credentials, 0), Step::Decided(_)));
        assert_eq!(authenticator.authenticate(&credentials, 0), grant("device-7", Way::Certificate));
    }
}

#[test]
fn only_a_name_and_a_password_against_a_file_need_hashing() {
    let hashes = |passwords: bool, credentials: &Credentials<'_>| {
        matches!(authenticator(true, passwords).step(0, credentials, 0), Step::Hash(1))
    };
    assert!(hashes(true, &user("alice", "secret")));
    assert!(hashes(true, &user("mallory", "secret")));
    assert!(!hashes(true, &NOBODY));
    assert!(!hashes(true, &Credentials { username: Some("alice"), ..NOBODY }));
    assert!(!hashes(false, &user("alice", "secret")));
}

/// Somebody outside who has one answer for all.
#[derive(Debug)]
struct Oracle(fn() -> LoginAnswer);

impl Hook for Oracle {
    fn authenticates(&self) -> bool {
        true
    }

    fn authorizes(&self) -> bool {
        false
    }

    fn memory(&self) -> (Duration, usize) {
        (Duration::ZERO, 0)
    }

    fn authenticate(&self, _: LoginQuestion) -> Answering<LoginAnswer> {
        Box::pin(std::future::ready(self.0()))
    }

    fn authorize(&self, _: RightQuestion) -> Answering<RightAnswer> {
        Box::pin(std::future::ready(RightAnswer::Deny))
    }
}

/// The chain as the broker walks it.
fn walk(authenticator: &Authenticator, credentials: &Credentials<'_>) -> Verdict {
    let place = Place { listener: "l".into(), address: "unix".into(), version: "5.0".into() };
    let mut first = 0;
    loop {
        let (number, verdict) = match authenticator.step(first, credentials, 0) {
            Step::Decided(verdict) => return verdict,
            Step::Hash(number) => (number, authenticator.hash(number, credentials)),
            Step::Ask(number, hook) => {
                let answer = hook.authenticate(credentials.question(place.clone())).now_or_never().unwrap();
                (number, Verdict::of_answer(answer, credentials))
            }
        };
        match verdict {
            Some(verdict) => return verdict,
            None => first = number + 1,
        }
    }
}

#[test]
fn the_first_method_that_has_an_opinion_decides() {
    let file = || Method::Passwords(Arc::new(PasswordFile::parse(FILE).unwrap()));
    let oracle = |answer| Method::Hook(Arc::new(Oracle(answer)));
    let allow = || oracle(|| LoginAnswer::Allow(Welcome::default()));
    let deny = || oracle(|| LoginAnswer::Deny);
    let ignore = || oracle(|| LoginAnswer::Ignore);
    let gone = || oracle(|| LoginAnswer::Unavailable);
    let unavailable = Verdict::Refused(ConnectReason::ServerUnavailable);
    for (methods, credentials, verdict) in [
        // An unknown user is asked on, one whose password is wrong is not.
        (vec![file(), allow()], user("alice", "secret"), grant("alice", Way::Password)),
        (vec![file(), allow()], user("alice", "wrong"), BAD),
        (vec![file(), allow()], user("mallory", "x"), grant("mallory", Way::Hook)),
        (vec![file(), deny()], user("mallory", "x"), BAD),
        (vec![file(), ignore()], user("mallory", "x"), BAD),
        (vec![deny(), file()], user("alice", "secret"), BAD),
        (vec![ignore(), file()], user("alice", "secret"), grant("alice", Way::Password)),
        // Whoever cannot be asked lets nobody in, whatever comes behind.
        (vec![gone(), file(), Method::Anyone], user("alice", "secret"), unavailable.clone()),
        (vec![gone(), Method::Anyone], NOBODY, unavailable),
        // A name that was to be proven and was not is not let in as nobody.
        (vec![ignore(), Method::Anyone], user("mallory", "x"), BAD),
        (vec![file(), Method::Anyone], user("mallory", "x"), BAD),
        (vec![ignore(), Method::Anyone], NOBODY, anonymous()),
        (vec![Method::Anyone, file()], NOBODY, anonymous()),
        (vec![Method::Anyone, file()], user("alice", "secret"), grant("alice", Way::Password)),
        (vec![], NOBODY, NOT_AUTHORIZED),
        (vec![], user("alice", "secret"), BAD),
    ] {
        let authenticator = Authenticator::of(methods);
        assert_eq!(walk(&authenticator, &credentials), verdict, "{authenticator:?} {credentials:?}");
    }
}

#[test]
fn who_may_stay_is_asked_of_the_method_that_let_them_in() {
    let file = Authenticator::of(vec![Method::Passwords(Arc::new(PasswordFile::parse(FILE).unwrap())), Method::Anyone]);
    assert!(file.still_lets_in(Way::Password, Some("alice")) && !file.still_lets_in(Way::Password, Some("mallory")));
    assert!(file.still_lets_in(Way::Anyone, None) && !file.still_lets_in(Way::Hook, Some("alice")));
    assert!(!file.still_lets_in(Way::Token, Some("alice")) && !file.still_lets_in(Way::Certificate, Some("alice")));
}

#[test]
fn scram_needs_a_password_file() {
    assert!(authenticator(false, true).scram().is_some());
    assert!(authenticator(true, false).scram().is_none());
}

#[test]
fn printing_credentials_does_not_show_the_password() {
    assert!(!format!("{:?}", user("alice", "secret")).contains("secret"));
    assert!(!format!("{:?}", user("alice", "secret")).contains("115, 101"));
}
