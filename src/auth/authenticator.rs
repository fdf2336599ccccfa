use std::fmt;
use std::sync::Arc;

use super::password_file::PasswordFile;
use super::scram::ScramServer;
use crate::packet::ConnectReason;

/// What CONNECT and the connection tell about a client.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    /// The user name taken from a verified client certificate ([`certificate::identity`](super::certificate::identity)). It wins over
    /// `username`, and no password is asked for.
    pub certificate_identity: Option<&'a str>,
}

/// Whether a client is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With the user name that was proven; `None` for an anonymous client.
    Granted { username: Option<String> },
    /// `BadUserNameOrPassword` or `NotAuthorized`.
    Refused(ConnectReason),
}

/// Says who a client is: a chain of methods, of which the first that has an opinion decides. Nobody's opinion refuses.
#[derive(Debug)]
pub struct Authenticator {
    methods: Vec<Method>,
}

/// One way to say who a client is.
#[derive(Debug)]
enum Method {
    /// Takes the name of a verified certificate; no opinion without one.
    Certificate,
    /// Checks user name and password; no opinion about clients without a user name. An unknown user is refused, also where anonymous
    /// clients are let in.
    Passwords(Arc<PasswordFile>),
    /// Lets in whoever gets here. A user name that nobody has checked is not taken over.
    Anyone,
}

impl Authenticator {
    /// `allow_anonymous` is what the configuration comes to for the listener at hand.
    ///
    /// Certificates come first, then passwords, then anonymous clients. Where anonymous clients are let in and there is no password
    /// file, a user name is accepted unchecked, as mosquitto does; unlike there it does not count: the client is anonymous, and the
    /// `user` lines and `%u` patterns of an ACL file do not apply to it.
    pub fn new(allow_anonymous: bool, passwords: Option<Arc<PasswordFile>>) -> Self {
        let mut methods = vec![Method::Certificate];
        methods.extend(passwords.map(Method::Passwords));
        methods.extend(allow_anonymous.then_some(Method::Anyone));
        Self { methods }
    }

    /// Whether a user that came in by a password would still find one: `true` too where there is no password file.
    pub fn has_user(&self, name: &str) -> bool {
        self.methods.iter().all(|method| match method {
            Method::Passwords(file) => file.contains(name),
            Method::Certificate | Method::Anyone => true,
        })
    }

    /// Whether a client without a user name would still be let in.
    pub fn lets_anonymous_in(&self) -> bool {
        self.methods.iter().any(|method| matches!(method, Method::Anyone))
    }

    /// Whether both have their users from the same place, so that one name means one user.
    pub fn has_users_of(&self, other: &Self) -> bool {
        match (self.passwords(), other.passwords()) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether [`authenticate`](Self::authenticate) would hash, and so must run off the runtime's threads.
    pub fn needs_hashing(&self, credentials: &Credentials<'_>) -> bool {
        credentials.certificate_identity.is_none()
            && credentials.username.is_some()
            && credentials.password.is_some()
            && self.passwords().is_some()
    }

    /// Decides. Refuses with 0x86 if a user name was given, with 0x87 if none was.
    pub fn authenticate(&self, credentials: &Credentials<'_>) -> Verdict {
        let verdict = self.methods.iter().find_map(|method| method.judge(credentials));
        verdict.unwrap_or_else(|| refuse(credentials))
    }

    /// Authenticates users by SCRAM-SHA-256 (4.12); `None` without a password file: there the method is unknown (0x8C).
    pub fn scram(&self) -> Option<ScramServer> {
        self.passwords().map(|passwords| ScramServer::new(Arc::clone(passwords)))
    }

    fn passwords(&self) -> Option<&Arc<PasswordFile>> {
        self.methods.iter().find_map(|method| match method {
            Method::Passwords(passwords) => Some(passwords),
            Method::Certificate | Method::Anyone => None,
        })
    }
}

impl Method {
    /// `None`: ask the next one.
    fn judge(&self, credentials: &Credentials<'_>) -> Option<Verdict> {
        match self {
            Self::Certificate => credentials.certificate_identity.map(grant),
            Self::Passwords(passwords) => {
                let username = credentials.username?;
                let proven = credentials.password.is_some_and(|password| passwords.verify(username, password));
                Some(if proven { grant(username) } else { refuse(credentials) })
            }
            Self::Anyone => Some(Verdict::Granted { username: None }),
        }
    }
}

fn grant(username: &str) -> Verdict {
    Verdict::Granted { username: Some(username.into()) }
}

fn refuse(credentials: &Credentials<'_>) -> Verdict {
    Verdict::Refused(match credentials.username {
        Some(_) => ConnectReason::BadUserNameOrPassword,
        None => ConnectReason::NotAuthorized,
    })
}

impl fmt::Debug for Credentials<'_> {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("certificate_identity", &self.certificate_identity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_file::tests::FILE;

    const NOBODY: Credentials<'static> =
        Credentials { client_id: "c", username: None, password: None, certificate_identity: None };
    const BAD: Verdict = Verdict::Refused(ConnectReason::BadUserNameOrPassword);
    const NOT_AUTHORIZED: Verdict = Verdict::Refused(ConnectReason::NotAuthorized);
    const ANONYMOUS: Verdict = Verdict::Granted { username: None };

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
            (true, true, user("alice", "secret"), grant("alice")),
            (false, true, user("alice", "secret"), grant("alice")),
            (false, true, user("alice", "secret\0"), BAD),
            (true, true, user("alice", "wrong"), BAD),
            (true, true, user("alice", ""), BAD),
            (true, true, without_password, BAD),
            (true, true, user("mallory", "secret"), BAD), // not let in as anonymous either
            (true, true, user("", "secret"), BAD),
            (true, true, NOBODY, ANONYMOUS),
            (true, true, without_name, ANONYMOUS),
            (false, true, NOBODY, NOT_AUTHORIZED),
            (true, false, NOBODY, ANONYMOUS),
            (true, false, user("alice", "anything"), ANONYMOUS), // the name is not proven, so it does not count
            (false, false, user("alice", "secret"), BAD),
            (false, false, NOBODY, NOT_AUTHORIZED),
        ] {
            let answer = authenticator(anonymous, passwords).authenticate(&credentials);
            assert_eq!(answer, verdict, "anonymous {anonymous}, password file {passwords}, {credentials:?}");
        }
    }

    #[test]
    fn a_verified_certificate_wins_over_the_name_in_connect() {
        for (anonymous, passwords) in [(false, false), (true, false), (false, true), (true, true)] {
            let credentials = Credentials { certificate_identity: Some("device-7"), ..user("alice", "wrong") };
            let authenticator = authenticator(anonymous, passwords);
            assert!(!authenticator.needs_hashing(&credentials));
            assert_eq!(authenticator.authenticate(&credentials), grant("device-7"));
        }
    }

    #[test]
    fn only_a_name_and_a_password_against_a_file_need_hashing() {
        assert!(authenticator(true, true).needs_hashing(&user("alice", "secret")));
        assert!(authenticator(true, true).needs_hashing(&user("mallory", "secret")));
        assert!(!authenticator(true, true).needs_hashing(&NOBODY));
        assert!(!authenticator(true, true).needs_hashing(&Credentials { username: Some("alice"), ..NOBODY }));
        assert!(!authenticator(true, false).needs_hashing(&user("alice", "secret")));
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
}
