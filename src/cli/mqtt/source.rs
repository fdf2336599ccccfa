//! Where the messages of `dunlin pub` come from.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

/// Lines that have been read and not been sent.
const LINES_AHEAD: usize = 64;

/// The messages, one after the other.
pub(super) enum Source {
    /// This one, so many times.
    Repeated { payload: Vec<u8>, left: u64, delay: Duration, is_first: bool },
    /// One a line, until standard input ends.
    Lines(mpsc::Receiver<io::Result<Vec<u8>>>),
}

impl Source {
    pub(super) fn repeated(payload: Vec<u8>, times: u64, delay: Duration) -> Self {
        Self::Repeated { payload, left: times, delay, is_first: true }
    }

    pub(super) fn file(path: &PathBuf) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn standard_input() -> Result<Vec<u8>, String> {
        let mut payload = Vec::new();
        io::stdin().lock().read_to_end(&mut payload).map_err(|error| format!("standard input: {error}"))?;
        Ok(payload)
    }

    /// Reads lines on a thread of its own, which nobody waits for at the end.
    pub(super) fn lines() -> Self {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let mut line = Vec::new();
                let read = match input.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => Ok(without_end(line)),
                    Err(error) => Err(error),
                };
                if sender.blocking_send(read).is_err() {
                    return;
                }
            }
        });
        Self::Lines(lines)
    }

    /// Whether it is known that there are no more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Repeated { left: 0, .. })
    }

    /// The next message; none when there are no more. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Lines(lines) => lines.recv().await.transpose(),
            Self::Repeated { left: 0, .. } => Ok(None),
            Self::Repeated { payload, left, delay, is_first } => {
                if !*is_first && !delay.is_zero() {
                    sleep(*delay).await;
                }
                *is_first = false;
                *left -= 1;
                Ok(Some(payload.clone()))
            }
        }
    }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    line.pop_if(|last| *last == b'\n');
    line
}
