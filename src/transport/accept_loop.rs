use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

/// Waits before accepting again when the kernel gives no socket: without descriptors or memory it would fail at once, and
/// again, and keep a processor from the connections that are there.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Sockets that are taken in at once. Then others on the same thread have their turn: a burst may be as long as the backlog.
const TURN: u32 = 16;

/// Where sockets come from.
pub(super) trait Accept {
    type Socket;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

/// What the loop tells.
pub(super) trait OnAccept<S> {
    fn on_socket(&self, socket: S);

    /// Another socket was taken in: how long to leave the next one waiting.
    fn pause(&self) -> Duration;

    /// No socket could be had; the loop tries again after `wait`.
    fn on_error(&self, error: &io::Error, wait: Duration);
}

/// Accepts until `stop` holds true, or its sender is gone.
pub(super) async fn accept_until_stopped<A: Accept>(door: &A, on: &impl OnAccept<A::Socket>, mut stop: watch::Receiver<bool>) {
    let mut backoff = BACKOFF_MIN;
    let mut taken: u32 = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            accepted = door.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                backoff = BACKOFF_MIN;
                on.on_socket(socket);
                taken = (taken + 1) % TURN;
                if taken == 0 {
                    tokio::task::yield_now().await;
                }
                if !rest(on.pause(), &mut stop).await {
                    return;
                }
            }
            Err(error) if is_about_one_connection(&error) => on.on_error(&error, Duration::ZERO),
            Err(error) => {
                on.on_error(&error, backoff);
                if !rest(backoff, &mut stop).await {
                    return;
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Waits so long; `false` if it is to stop instead.
async fn rest(time: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    if time.is_zero() {
        return true;
    }
    tokio::select! {
        () = stopped(stop) => false,
        () = tokio::time::sleep(time) => true,
    }
}

/// Returns when `stop` holds true, or its sender is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the broker.
    let _ = stop.wait_for(|is_stopped| *is_stopped).await;
}

/// Errors of a connection that ended while it waited: it is out of the queue, and the next may be had at once.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl Accept for TcpListener {
    type Socket = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<Self::Socket> {
        Self::accept(self).await
    }
}

impl Accept for UnixListener {
    type Socket = UnixStream;

    async fn accept(&self) -> io::Result<Self::Socket> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;

    use super::*;

    const EMFILE: i32 = 24;

    /// Gives what it was filled with, then tells the loop to stop.
    struct Script {
        steps: Mutex<VecDeque<io::Result<u32>>>,
        stop: watch::Sender<bool>,
    }

    impl Accept for Script {
        type Socket = u32;

        async fn accept(&self) -> io::Result<u32> {
            let step = self.steps.lock().pop_front();
            match step {
                Some(step) => step,
                None => {
                    self.stop.send_replace(true);
                    std::future::pending().await
                }
            }
        }
    }

    #[derive(Default)]
    struct Seen {
        sockets: Mutex<Vec<u32>>,
        waits: Mutex<Vec<u128>>,
        stop_at_error: Option<watch::Sender<bool>>,
    }

    impl OnAccept<u32> for Seen {
        fn on_socket(&self, socket: u32) {
            self.sockets.lock().push(socket);
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }

        fn on_error(&self, _: &io::Error, wait: Duration) {
            self.waits.lock().push(wait.as_millis());
            if let Some(stop) = &self.stop_at_error {
                stop.send_replace(true);
            }
        }
    }

    async fn play(steps: impl IntoIterator<Item = io::Result<u32>>) -> (Vec<u32>, Vec<u128>) {
        let (stop, stopped) = watch::channel(false);
        let script = Script { steps: Mutex::new(steps.into_iter().collect()), stop };
        let seen = Seen::default();
        accept_until_stopped(&script, &seen, stopped).await;
        (seen.sockets.into_inner(), seen.waits.into_inner())
    }

    #[tokio::test]
    async fn at_the_descriptor_limit_the_loop_waits_longer_each_time_and_goes_on_when_there_is_room() {
        let full = || Err(io::Error::from_raw_os_error(EMFILE));
        let (sockets, waits) = play([Ok(1), full(), full(), full(), Ok(2), full(), Ok(3)]).await;
        assert_eq!((sockets, waits), (vec![1, 2, 3], vec![50, 100, 200, 50]));
    }

    /// Gives sockets without end, until it is told to stop.
    struct Burst;

    impl Accept for Burst {
        type Socket = u32;

        async fn accept(&self) -> io::Result<u32> {
            Ok(1)
        }
    }

    #[tokio::test]
    async fn others_on_the_same_thread_have_their_turn_in_the_middle_of_a_burst() {
        let (stop, stopped) = watch::channel(false);
        let seen = Seen::default();
        let other = async {
            tokio::task::yield_now().await;
            stop.send_replace(true);
        };
        tokio::join!(biased; accept_until_stopped(&Burst, &seen, stopped), other);
        assert_eq!(seen.sockets.into_inner().len(), 2 * TURN as usize);
    }

    #[tokio::test]
    async fn a_connection_that_ended_while_it_waited_holds_up_nobody() {
        let (sockets, waits) = play([Err(io::ErrorKind::ConnectionAborted.into()), Ok(1)]).await;
        assert_eq!((sockets, waits), (vec![1], vec![0]));
    }

    #[tokio::test]
    async fn stopping_needs_no_further_connection_and_accepts_none() {
        assert_eq!(play([]).await, (vec![], vec![]));
        let (stop, stopped) = watch::channel(false);
        let steps = [Err(io::Error::from_raw_os_error(EMFILE)), Ok(1)].into();
        let script = Script { steps: Mutex::new(steps), stop: watch::channel(false).0 };
        let seen = Seen { stop_at_error: Some(stop), ..Seen::default() };
        accept_until_stopped(&script, &seen, stopped).await;
        assert!(seen.sockets.into_inner().is_empty());
    }
}
