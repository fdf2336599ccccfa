//! Threads of low priority, for what costs a client's arrival much processor time: password hashes and TLS handshakes. Those who are in
//! hardly notice handshakes; behind a hash that is at work a packet may still wait some milliseconds (`benches/siege.py`).

use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};

/// How much lower their priority is than the broker's. High enough that logins go on where a machine is busy all the time: there such a
/// thread has a tenth of a processor, with 19 one part in seventy, and clients that are in do not wait less.
const NICE: i32 = 10;
/// The lowest priority that Linux has.
const NICE_MAX: i32 = 19;

/// A runtime whose tasks handshakes are, and whose blocking threads hash: so many passwords at a time.
///
/// # Errors
/// If there are no threads to be had.
pub fn runtime(handshakes: usize, password_checks: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(handshakes.max(1))
        .max_blocking_threads(password_checks.max(1))
        .enable_time() // sockets stay with the runtime that accepted them
        .thread_name("dunlin-patient")
        .on_thread_start(give_way)
        .build()
}

/// Lowers the priority of the calling thread. Linux counts priorities by thread, and 0, which `None` is, means the one that asks.
fn give_way() {
    let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, (own + NICE).min(NICE_MAX)));
    if let Err(error) = lowered {
        tracing::warn!(%error, "the priority of a thread cannot be lowered: logins may slow down others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_threads_give_way_and_those_of_others_do_not() {
        let runtime = runtime(1, 1).unwrap();
        let own = || getpriority_process(None).unwrap();
        let before = own();
        let task = runtime.spawn(async move { own() });
        let blocking = runtime.spawn_blocking(own);
        let (task, blocking) = (runtime.block_on(task).unwrap(), runtime.block_on(blocking).unwrap());
        let lowered = (before + NICE).min(NICE_MAX);
        assert_eq!((task, blocking, own()), (lowered, lowered, before));
    }
}
