use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::grants::Grants;
use super::hook::{Hook, LoginAnswer, LoginQuestion, Place, Welcome};
use super::jwt::{Token, TokenError, Tokens, looks_like_a_token};
use super::password_file::PasswordFile;
use super::scram::ScramServer;
use super::template::Facts;
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
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Granted(Box<Granted>),
    /// `BadUserNameOrPassword` or `NotAuthorized`; `ServerUnavailable` where a method could not be asked.
    Refused(ConnectReason),
}

/// What a client that is let in has shown, and has brought along.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// The user name that was proven; `None` for an anonymous client.
    pub username: Option<String>,
    /// The method that let it in.
    pub by: Way,
    /// Its rights, instead of those in files.
    pub grants: Option<Grants>,
    /// How long it may stay.
    pub stay: Option<Duration>,
    /// The claims of its token.
    pub claims: Option<Map<String, Value>>,
}

/// A method, as a session remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Certificate,
    Password,
    Token,
    Hook,
    Anyone,
}

/// Says who a client is: a chain of methods, of which the first that has an opinion decides. Nobody's opinion refuses.
#[derive(Debug)]
pub struct Authenticator {
    methods: Vec<Method>,
}

/// One way to say who a client is. Each lets in, refuses, or says that the client is not its own.
#[derive(Clone, Debug)]
pub enum Method {
    /// Takes the name of a verified certificate; no opinion without one.
    Certificate,
    /// Checks user name and password; no opinion about clients without a user name, nor about unknown users where others come after it
    /// who may know them.
    Passwords(Arc<PasswordFile>),
    /// Checks a password that is a token; no opinion about others.
    Tokens(Arc<Tokens>),
    /// Asks somebody outside.
    Hook(Arc<dyn Hook>),
    /// Lets in whoever gets here. Where nothing in the chain could have proven a user name, one is not taken over; where something could
    /// have, and has not, whoever names one is not let in.
    Anyone,
}

/// How far a chain has come.
#[derive(Debug)]
pub enum Step {
    Decided(Verdict),
    /// The method with this number hashes, and must run off the runtime's threads: [`Authenticator::hash`].
    Hash(usize),
    /// The method with this number takes its time. The chain goes on behind it if it has no opinion.
    Ask(usize, Arc<dyn Hook>),
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

    /// The methods in the order in which they are asked.
    pub const fn of(methods: Vec<Method>) -> Self {
        Self { methods }
    }

    /// Whether who came in by this method, under this name, would still be let in, as far as can be told without asking anew.
    pub fn still_lets_in(&self, by: Way, username: Option<&str>) -> bool {
        self.methods.iter().any(|method| match (method, by) {
            (Method::Passwords(file), Way::Password) => username.is_some_and(|name| file.contains(name)),
            (method, by) => method.by() == by,
        })
    }

    /// Whether a client without a user name would still be let in.
    pub fn lets_anonymous_in(&self) -> bool {
        self.methods.iter().any(|method| matches!(method, Method::Anyone))
    }

    /// Whether a login may bring rights along.
    pub fn takes_grants(&self) -> bool {
        self.methods.iter().any(|method| matches!(method, Method::Tokens(_) | Method::Hook(_)))
    }

    /// Whether both have their users from the same places, so that one name means one user.
    pub fn has_users_of(&self, other: &Self) -> bool {
        let users = |of: &Self| of.methods.iter().filter(|method| method.proves_names()).cloned().collect::<Vec<_>>();
        let (ours, theirs) = (users(self), users(other));
        ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(ours, theirs)| ours.is_same(theirs))
    }

    /// Asks the methods from number `first` on, until one has an opinion or takes its time. `now` is in seconds since 1970.
    pub fn step(&self, first: usize, credentials: &Credentials<'_>, now: u64) -> Step {
        for (number, method) in self.methods.iter().enumerate().skip(first) {
            let verdict = match method {
                Method::Certificate => credentials.certificate_identity.map(|name| grant(name, Way::Certificate)),
                Method::Passwords(_) if credentials.username.is_none() => None,
                Method::Passwords(_) if credentials.password.is_some() => return Step::Hash(number),
                Method::Passwords(passwords) => {
                    let is_known = credentials.username.is_some_and(|name| passwords.contains(name));
                    (is_known || !self.has_other_users(number)).then(|| refuse(credentials))
                }
                Method::Tokens(tokens) => {
                    let token = credentials.password.filter(|password| looks_like_a_token(password));
                    token.map(|token| judge_token(tokens, token, credentials, now))
                }
                Method::Hook(hook) => return Step::Ask(number, hook.clone()),
                Method::Anyone if credentials.username.is_some() && self.proves_names() => None,
                Method::Anyone => Some(Verdict::Granted(Box::new(Granted::new(None, Way::Anyone)))),
            };
            if let Some(verdict) = verdict {
                return Step::Decided(verdict);
            }
        }
        Step::Decided(refuse(credentials))
    }

    /// What the method that hashes says; `None`: ask the next one. Takes tens of milliseconds.
    pub fn hash(&self, number: usize, credentials: &Credentials<'_>) -> Option<Verdict> {
        let (Some(Method::Passwords(passwords)), Some(username)) = (self.methods.get(number), credentials.username) else {
            return None;
        };
        // An unknown user costs the same as a wrong password.
        let is_proven = credentials.password.is_some_and(|password| passwords.verify(username, password));
        if is_proven {
            return Some(grant(username, Way::Password));
        }
        let is_known = passwords.contains(username);
        (is_known || !self.has_other_users(number)).then(|| refuse(credentials))
    }

    /// Decides where no method asks anybody outside. Refuses with 0x86 if a user name was given, with 0x87 if none was.
    pub fn authenticate(&self, credentials: &Credentials<'_>, now: u64) -> Verdict {
        let mut first = 0;
        loop {
            match self.step(first, credentials, now) {
                Step::Decided(verdict) => return verdict,
                Step::Hash(number) => match self.hash(number, credentials) {
                    Some(verdict) => return verdict,
                    None => first = number + 1,
                },
                Step::Ask(..) => return Verdict::Refused(ConnectReason::ServerUnavailable),
            }
        }
    }

    /// Authenticates users by SCRAM-SHA-256 (4.12); `None` without a password file: there the method is unknown (0x8C).
    pub fn scram(&self) -> Option<ScramServer> {
        self.methods.iter().find_map(|method| match method {
            Method::Passwords(passwords) => Some(ScramServer::new(Arc::clone(passwords))),
            _ => None,
        })
    }

    /// What checks tokens, for those that come in AUTH packets (4.12); `None` where none are taken.
    pub fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.methods.iter().find_map(|method| match method {
            Method::Tokens(tokens) => Some(tokens),
            _ => None,
        })
    }

    /// Whether a method behind this one may know a user that this one does not.
    fn has_other_users(&self, number: usize) -> bool {
        self.methods[number + 1..].iter().any(Method::proves_names)
    }

    fn proves_names(&self) -> bool {
        self.methods.iter().any(Method::proves_names)
    }
}

impl Method {
    const fn by(&self) -> Way {
        match self {
            Self::Certificate => Way::Certificate,
            Self::Passwords(_) => Way::Password,
            Self::Tokens(_) => Way::Token,
            Self::Hook(_) => Way::Hook,
            Self::Anyone => Way::Anyone,
        }
    }

    /// Whether it takes a user name from CONNECT, and proves it.
    const fn proves_names(&self) -> bool {
        matches!(self, Self::Passwords(_) | Self::Tokens(_) | Self::Hook(_))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Passwords(ours), Self::Passwords(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Tokens(ours), Self::Tokens(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Hook(ours), Self::Hook(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

impl Granted {
    /// One who has brought nothing along.
    pub const fn new(username: Option<String>, by: Way) -> Self {
        Self { username, by, grants: None, stay: None, claims: None }
    }

    /// The one whose token it is; `now` is in seconds since 1970.
    pub fn by_token(token: Token, now: u64) -> Self {
        let stay = token.expires_at.map(|at| Duration::from_secs(at.saturating_sub(now)));
        Self { grants: token.grants, stay, claims: Some(token.claims), ..Self::new(Some(token.username), Way::Token) }
    }
}

impl Verdict {
    /// What a hook's answer comes to; `None`: ask the next method.
    pub fn of_answer(answer: LoginAnswer, credentials: &Credentials<'_>) -> Option<Self> {
        match answer {
            LoginAnswer::Allow(Welcome { username, grants, stay }) => {
                let username = username.or_else(|| credentials.username.map(String::from));
                Some(Self::Granted(Box::new(Granted { grants, stay, ..Granted::new(username, Way::Hook) })))
            }
            LoginAnswer::Deny => Some(refuse(credentials)),
            LoginAnswer::Ignore => None,
            LoginAnswer::Unavailable => Some(Self::Refused(ConnectReason::ServerUnavailable)),
        }
    }
}

impl Credentials<'_> {
    /// The question to a hook.
    pub fn question(&self, place: Place) -> LoginQuestion {
        LoginQuestion {
            client_id: self.client_id.into(),
            username: self.username.map(String::from),
            password: self.password.map(<[u8]>::to_vec),
            place,
        }
    }

    /// What the required claims of a token are compared with.
    pub const fn facts(&self) -> Facts<'_> {
        Facts { client_id: self.client_id, username: self.username, claims: None, certificate: None }
    }
}

fn judge_token(tokens: &Tokens, token: &[u8], credentials: &Credentials<'_>, now: u64) -> Verdict {
    match tokens.check(token, &credentials.facts(), now) {
        Ok(token) => Verdict::Granted(Box::new(Granted::by_token(token, now))),
        Err(error) => {
            tracing::debug!(client = credentials.client_id, %error, "token refused");
            match error {
                TokenError::NoKeys => Verdict::Refused(ConnectReason::ServerUnavailable),
                _ => Verdict::Refused(ConnectReason::BadUserNameOrPassword),
            }
        }
    }
}

fn grant(username: &str, by: Way) -> Verdict {
    Verdict::Granted(Box::new(Granted::new(Some(username.into()), by)))
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
#[path = "authenticator_tests.rs"]
mod tests;
