//! Logins that take their time: passwords that are hashed, and questions to somebody outside.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::door::{Origin, Rights};
use super::login::Login;
use crate::auth::{Action, Authenticator, Granted, Opinion, Place, Principal, RightAnswer, RightQuestion, Step, Verdict};

/// Walks chains of methods away from the connections, so many at a time and no more.
#[derive(Debug)]
pub struct LoginChecks {
    /// Passwords that are hashed at the same time.
    hashing: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// `None`: those of the runtime at hand hash.
    threads: Option<HashingThreads>,
}

/// The threads that passwords are hashed by.
#[derive(Clone, Debug)]
pub struct HashingThreads {
    /// Whose threads run when no other of the machine wants to.
    idle: Handle,
    /// How many of them are free.
    idle_free: Arc<Semaphore>,
    /// Whose threads always get on.
    nice: Handle,
}

/// How long an idle thread is waited for: longer than a hash takes, so that few are made twice.
const IDLE_PATIENCE: Duration = Duration::from_millis(200);

impl HashingThreads {
    /// `idle` has so many threads, which may never get on: what they do not come to `nice` does.
    pub fn new(idle: Handle, threads: usize, nice: Handle) -> Self {
        Self { idle, idle_free: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))), nice }
    }

    /// `None` if it went wrong.
    async fn run<R: Send + 'static>(&self, work: impl Fn() -> R + Clone + Send + 'static) -> Option<R> {
        let mut runs = JoinSet::new();
        if let Ok(free) = self.idle_free.clone().try_acquire_owned() {
            let work = work.clone();
            let run = move || {
                let result = work();
                drop(free);
                result
            };
            runs.spawn_blocking_on(run, &self.idle);
            tokio::select! {
                biased;
                Some(result) = runs.join_next() => return result.ok(),
                () = sleep(IDLE_PATIENCE) => {}
            }
        }
        runs.spawn_blocking_on(work, &self.nice);
        runs.join_next().await?.ok()
    }
}

/// What became of a login.
pub type Checked = (Box<Login>, Verdict);

impl LoginChecks {
    pub fn new(running_max: usize, waiting_max: usize, threads: Option<HashingThreads>) -> Self {
        let running_max = running_max.clamp(1, Semaphore::MAX_PERMITS);
        let admitted_max = running_max.saturating_add(waiting_max).min(Semaphore::MAX_PERMITS);
        Self { hashing: Arc::new(Semaphore::new(running_max)), admitted: Arc::new(Semaphore::new(admitted_max)), threads }
    }

    /// Goes on from a step that takes its time; `None` when too many wait for a hash already. Who is asked outside has bounds of its own.
    pub fn begin(
        &self,
        authenticator: Arc<Authenticator>,
        origin: Origin,
        login: Box<Login>,
        step: Step,
    ) -> Option<oneshot::Receiver<Checked>> {
        let admitted = match step {
            Step::Hash(_) => Some(self.admitted.clone().try_acquire_owned().ok()?),
            Step::Ask(..) | Step::Decided(_) => None,
        };
        let threads = self.threads.clone();
        let walk = Walk { authenticator, origin, hashing: self.hashing.clone(), threads };
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever has hung up meanwhile costs nothing more, and gives its place back.
            let checked = tokio::select! {
                biased;
                () = sender.closed() => None,
                checked = walk.walk(login, step, admitted) => checked,
            };
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
    threads: Option<HashingThreads>,
}

impl Walk {
    /// `None` if hashing went wrong.
    async fn walk(&self, mut login: Box<Login>, mut step: Step, mut admitted: Option<OwnedSemaphorePermit>) -> Option<Checked> {
        let verdict = loop {
            let (number, verdict) = match step {
                Step::Decided(verdict) => break verdict,
                Step::Hash(number) => (number, self.hash(&login, number).await?),
                Step::Ask(number, hook) => {
                    drop(admitted.take());
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

    async fn hash(&self, login: &Login, number: usize) -> Option<Option<Verdict>> {
        let permit = self.hashing.clone().acquire_owned().await.ok()?;
        let authenticator = self.authenticator.clone();
        let (login, threads) = (login.clone(), self.threads.clone());
        let work = move || authenticator.hash(number, &login.credentials());
        // In a task of its own: who hangs up does not leave its place to another while a thread still hashes.
        let hashed = tokio::spawn(async move {
            let verdict = match threads {
                Some(threads) => threads.run(work).await,
                None => Handle::current().spawn_blocking(work).await.ok(),
            };
            drop(permit);
            verdict
        });
        hashed.await.ok()?
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn threads() -> (Runtime, Runtime, HashingThreads) {
        let runtime = || Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
        let (idle, nice) = (runtime(), runtime());
        let threads = HashingThreads::new(idle.handle().clone(), 1, nice.handle().clone());
        (idle, nice, threads)
    }

    /// The thread that does the work.
    fn whose() -> thread::ThreadId {
        thread::current().id()
    }

    #[test]
    fn what_idle_threads_do_not_come_to_is_done_by_the_others() {
        let (idle, nice, threads) = threads();
        let whose_is = |runtime: &Runtime| runtime.block_on(runtime.spawn_blocking(whose)).unwrap();
        let (idle_thread, nice_thread) = (whose_is(&idle), whose_is(&nice));
        let run = || nice.block_on(threads.run(whose));
        assert_eq!(run(), Some(idle_thread), "while it gets on");
        let (release, blocked) = mpsc::channel::<()>();
        let blocker = idle.spawn_blocking(move || blocked.recv());
        assert_eq!(run(), Some(nice_thread), "which has waited");
        assert_eq!(run(), Some(nice_thread), "at once: the idle one has not come to the one before");
        drop(release);
        idle.block_on(blocker).unwrap().unwrap_err();
        // What was given up is thrown away, and its place is free again.
        idle.block_on(idle.spawn_blocking(|| ())).unwrap();
        assert_eq!(threads.idle_free.available_permits(), 1);
        assert_eq!(run(), Some(idle_thread));
    }

    #[test]
    fn numbers_beyond_what_can_be_counted_are_as_good_as_the_highest() {
        let checks = LoginChecks::new(usize::MAX, usize::MAX, None);
        let places = [&checks.hashing, &checks.admitted].map(|places| places.available_permits());
        assert_eq!(places, [Semaphore::MAX_PERMITS; 2]);
        let (idle, nice, _) = threads();
        let threads = HashingThreads::new(idle.handle().clone(), usize::MAX, nice.handle().clone());
        assert_eq!(threads.idle_free.available_permits(), Semaphore::MAX_PERMITS);
    }

    #[test]
    fn work_that_goes_wrong_gives_its_place_back() {
        let (_idle, nice, threads) = threads();
        assert_eq!(nice.block_on(threads.run(|| -> u8 { panic!("it goes wrong") })), None);
        assert_eq!(threads.idle_free.available_permits(), 1);
    }
}
