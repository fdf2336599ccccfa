//! Threads that give way, for what costs a client's arrival much processor time: TLS handshakes have a low priority, password hashes only
//! what is left over. Those who are in hardly notice either (`benches/siege.py`).

use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    thread_schedule_policy,
};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::broker::HashingThreads;

/// How much lower the priority is than the broker's. High enough that logins go on where a machine is busy all the time: there such a
/// thread has a tenth of a processor, with 19 one part in seventy, and clients that are in do not wait less.
const NICE: i32 = 10;
/// The lowest priority that Linux has.
const NICE_MAX: i32 = 19;
/// Linux takes the processor from such a thread as soon as any other wants it. From one that is only nice it takes it when its slice is
/// over: milliseconds, which a hash uses up.
const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

/// The threads that logins are worked on by.
pub struct Patient {
    /// Of low priority: its tasks are handshakes, its blocking threads hash what the idle ones do not come to.
    nice: Runtime,
    /// Its blocking threads hash when nobody else wants the processor.
    idle: Runtime,
    hashing: HashingThreads,
}

impl Patient {
    /// For so many handshakes, and so many passwords, at a time.
    ///
    /// # Errors
    /// If there are no threads to be had.
    pub fn start(handshakes: usize, password_checks: usize) -> io::Result<Self> {
        let nice = Builder::new_multi_thread()
            .worker_threads(handshakes.max(1))
            .max_blocking_threads(password_checks.max(1))
            .enable_time() // sockets stay with the runtime that accepted them
            .thread_name("dunlin-patient")
            .on_thread_start(give_way)
            .build()?;
        let idle = Builder::new_current_thread()
            .max_blocking_threads(password_checks.max(1))
            .thread_name("dunlin-idle")
            .on_thread_start(take_what_is_left)
            .build()?;
        let hashing = HashingThreads::new(idle.handle().clone(), password_checks.max(1), nice.handle().clone());
        Ok(Self { nice, idle, hashing })
    }

    /// Where handshakes are done.
    pub fn handshakes(&self) -> &Handle {
        self.nice.handle()
    }

    /// Where passwords are hashed.
    pub fn hashing(&self) -> HashingThreads {
        self.hashing.clone()
    }

    /// What is under way is not waited for.
    pub fn stop(self) {
        self.idle.shutdown_background();
        self.nice.shutdown_background();
    }
}

/// Lowers the priority of the calling thread. Linux counts priorities by thread, and 0, which `None` is, means the one that asks.
fn give_way() {
    let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, (own + NICE).min(NICE_MAX)));
    if let Err(error) = lowered {
        tracing::warn!(%error, "the priority of a thread cannot be lowered: logins may slow down others");
    }
}

/// From now on the calling thread runs when no other wants to.
fn take_what_is_left() {
    // The error may be that of a priority, which with this policy means nothing.
    let result = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, IDLE);
    if !thread_schedule_policy().is_ok_and(|policy| policy == IDLE) {
        tracing::warn!(?result, "a thread cannot be made to run only when no other does: logins may slow down others");
        give_way();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_threads_give_way_and_those_of_others_do_not() {
        let (runtime, patient) = (Builder::new_current_thread().build().unwrap(), Patient::start(1, 1).unwrap());
        let own = || (getpriority_process(None).unwrap(), thread_schedule_policy().unwrap());
        let before = own();
        let (task, nice) = (patient.handshakes().spawn(async move { own() }), patient.nice.spawn_blocking(own));
        let idle = patient.idle.spawn_blocking(own);
        let (task, nice, idle) = runtime.block_on(async { (task.await.unwrap(), nice.await.unwrap(), idle.await.unwrap()) });
        let lowered = ((before.0 + NICE).min(NICE_MAX), before.1);
        assert_eq!((task, nice, idle.1, own()), (lowered, lowered, IDLE, before));
        patient.stop();
    }
}
