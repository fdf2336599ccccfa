//! Logins that take their time: passwords that are hashed, and questions to somebody outside.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::door::{Origin, Rights};
use super::login::Login;
use crate::auth::{Action, Authenticator, Granted, Opinion, Place, Principal, RightAnswer, RightQuestion, Step, Verdict};

/// Walks chains of methods away from the connections, so many at a time and no more.
#[derive(Debug)]
pub struct LoginChecks {
    /// Passwords that are hashed at the same time.
    hashing: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Whose threads hash; `None`: those of the runtime at hand.
    threads: Option<Handle>,
}

/// What became of a login.
pub type Checked = (Box<Login>, Verdict);

impl LoginChecks {
    pub fn new(running_max: usize, waiting_max: usize, threads: Option<Handle>) -> Self {
        let running_max = running_max.max(1);
        Self {
            hashing: Arc::new(Semaphore::new(running_max)),
            admitted: Arc::new(Semaphore::new((running_max + waiting_max).min(Semaphore::MAX_PERMITS))),
            threads,
        }
    }

    /// Goes on from a step that takes its time; `None` when too many wait already.
    pub fn begin(
        &self,
        authenticator: Arc<Authenticator>,
        origin: Origin,
        login: Box<Login>,
        step: Step,
    ) -> Option<oneshot::Receiver<Checked>> {
        let admitted = self.admitted.clone().try_acquire_owned().ok()?;
        let threads = self.threads.clone().unwrap_or_else(Handle::current);
        let walk = Walk { authenticator, origin, hashing: self.hashing.clone(), threads };
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever has hung up meanwhile costs nothing more, and gives its place back.
            let checked = tokio::select! {
                biased;
                () = sender.closed() => None,
                checked = walk.walk(login, step) => checked,
            };
            drop(admitted);
            if let Some(checked) = checked {
                let _ = sender.send(checked); // hung up just now
            }
        });
        Some(receiver)
    }
}

struct Walk {
    authenticator: Arc<Authenticator>,
    origin: Origin,
    hashing: Arc<Semaphore>,
    threads: Handle,
}

impl Walk {
    /// `None` if hashing went wrong.
    async fn walk(&self, mut login: Box<Login>, mut step: Step) -> Option<Checked> {
        let verdict = loop {
            let (number, verdict) = match step {
                Step::Decided(verdict) => break verdict,
                Step::Hash(number) => {
                    let verdict;
                    (login, verdict) = self.hash(login, number).await?;
                    (number, verdict)
                }
                Step::Ask(number, hook) => {
                    let answer = hook.authenticate(login.credentials().question(self.place(&login))).await;
                    (number, Verdict::of_answer(answer, &login.credentials()))
                }
            };
            match verdict {
                Some(verdict) => break verdict,
                None => step = self.authenticator.step(number + 1, &login.credentials(), unix_now()),
            }
        };
        if let Verdict::Granted(granted) = &verdict {
            login.will_answer = self.ask_about_will(&login, granted).await;
        }
        Some((login, verdict))
    }

    async fn hash(&self, login: Box<Login>, number: usize) -> Option<(Box<Login>, Option<Verdict>)> {
        let permit = self.hashing.clone().acquire_owned().await.ok()?;
        let authenticator = self.authenticator.clone();
        let hashed = self.threads.spawn_blocking(move || {
            let verdict = authenticator.hash(number, &login.credentials());
            drop(permit);
            (login, verdict)
        });
        hashed.await.ok()
    }

    /// The Will is checked as a publish.
    async fn ask_about_will(&self, login: &Login, granted: &Granted) -> Option<RightAnswer> {
        let rights: &Rights = &self.origin.door.rights;
        let hook = rights.hook().filter(|_| login.will().is_some())?;
        // One that has no place is refused later, with the reason.
        let mount_point = login.place(&self.origin, granted).ok()?;
        let will = login.mounted_will(mount_point.as_deref()).ok()??;
        let principal = login.principal(granted);
        let brought = Login::brought(granted, mount_point.clone());
        if rights.on_publish(&brought.asker(&principal), will.topic()) != Opinion::Ask {
            return None;
        }
        let Principal { client_id, username } = principal;
        let topic = login.will()?.topic().as_str().into();
        let listener = self.origin.door.name.clone();
        Some(hook.authorize(RightQuestion { client_id, username, listener, mount_point, action: Action::Publish, topic }).await)
    }

    fn place(&self, login: &Login) -> Place {
        Place { listener: self.origin.door.name.clone(), address: self.origin.peer(), version: login.version.to_string() }
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
