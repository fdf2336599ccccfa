use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::grants::Grants;

/// An answer that takes its time.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Somebody outside who says who a client is, and what it may do. Nothing here knows how it is asked.
pub trait Hook: fmt::Debug + Send + Sync {
    /// Whether it says who clients are.
    fn authenticates(&self) -> bool;

    /// Whether it says what they may do.
    fn authorizes(&self) -> bool;

    /// How long an answer about publishing counts, and how many of them are kept for one session.
    fn memory(&self) -> (Duration, usize);

    fn authenticate(&self, question: LoginQuestion) -> Answering<LoginAnswer>;

    fn authorize(&self, question: RightQuestion) -> Answering<RightAnswer>;
}

/// Who wants to come in.
#[derive(Clone)]
pub struct LoginQuestion {
    pub client_id: Arc<str>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    /// Where the client comes from.
    pub place: Place,
}

/// Where a client is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The listener's name.
    pub listener: Arc<str>,
    /// `ADDRESS:PORT`, or `unix`.
    pub address: String,
    /// `3.1`, `3.1.1` or `5.0`.
    pub version: String,
}

/// What is said to a login.
#[derive(Debug)]
pub enum LoginAnswer {
    Allow(Welcome),
    Deny,
    /// The next method is asked.
    Ignore,
    /// There was no answer that can be used.
    Unavailable,
}

/// What somebody who is let in has besides.
#[derive(Debug, Default)]
pub struct Welcome {
    /// Instead of the user name in CONNECT.
    pub username: Option<String>,
    pub grants: Option<Grants>,
    /// How long the client may stay.
    pub stay: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Publish,
    Subscribe,
}

/// Who wants to do something.
#[derive(Clone, Debug)]
pub struct RightQuestion {
    pub client_id: Arc<str>,
    pub username: Option<Arc<str>>,
    pub listener: Arc<str>,
    pub mount_point: Option<Arc<str>>,
    pub action: Action,
    /// Topic name or topic filter, as the client sees it: without the mount point, and without `$share/NAME/`.
    pub topic: Arc<str>,
}

/// What is said to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightAnswer {
    Allow,
    Deny,
    /// There was no answer that can be used: denied for now.
    Unavailable,
}

impl fmt::Debug for LoginQuestion {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginQuestion")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
