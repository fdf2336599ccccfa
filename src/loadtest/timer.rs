//! A timer that wakes a worker to the microsecond; the timeouts of `epoll` are whole milliseconds, as long as what is measured.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    /// What it is set to; `u64::MAX` if to nothing.
    at: u64,
}

impl Timer {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC))?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, at: u64::MAX })
    }

    /// Wakes the worker at this time, instead of any that was said before.
    pub(super) fn set(&mut self, at: u64, now: u64) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let wait = at.saturating_sub(now).max(1);
        let it_value = if at == u64::MAX { NEVER } else { timespec(wait) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: NEVER, it_value })?;
        Ok(())
    }

    /// It has rung; a set timer is edge-triggered anew, so nothing need be read.
    pub(super) const fn rang(&mut self) {
        self.at = u64::MAX;
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(nanoseconds / 1_000_000_000), tv_nsec: part(nanoseconds % 1_000_000_000) }
}
