use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Broker;
use super::deliver::Deliveries;
use super::handle::SessionHandle;
use super::queues::Lent;
use crate::metrics::Batch;
use crate::session::{AckToken, Answer};
use crate::storage::Transaction;

/// What one thread has done since it last told: figures, and changes that are to survive.
#[derive(Debug, Default)]
pub struct Effects {
    pub batch: Batch,
    pub journal: Transaction<Waiter>,
}

/// Who waits until something cannot be lost any more.
#[derive(Debug)]
pub enum Waiter {
    /// A connection owes answers.
    Answers { handle: Arc<SessionHandle>, epoch: u64, answers: Vec<(AckToken, Answer)> },
    /// A connection's CONNACK.
    Opened { handle: Arc<SessionHandle>, epoch: u64 },
    /// Work that was lent again.
    Lent(Box<Lent>),
    /// An operator.
    Told(oneshot::Sender<()>),
    /// A session's messages that were told from `first` on may be sent.
    Safe { handle: Arc<SessionHandle>, first: u64 },
}

/// Most of what is done only changes figures.
impl Deref for Effects {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl DerefMut for Effects {
    fn deref_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl Effects {
    /// The answer to one packet is given once all that was told before it, and with it, is safe.
    pub fn answer_later(
        &mut self,
        level: crate::storage::Level,
        (handle, epoch): (&Arc<SessionHandle>, u64),
        token: AckToken,
        answer: impl Into<Answer>,
    ) {
        let answer = answer.into();
        let waiters = self.journal.waiters_of(level);
        if let Some(Waiter::Answers { handle: there, epoch: its, answers }) = waiters.last_mut()
            && *its == epoch
            && Arc::ptr_eq(there, handle)
        {
            answers.push((token, answer));
            return;
        }
        waiters.push(Waiter::Answers { handle: handle.clone(), epoch, answers: vec![(token, answer)] });
    }
}

impl Broker {
    /// Makes known what was done.
    pub(super) fn tell_effects(&self, effects: &mut Effects) {
        self.metrics.add(&mut effects.batch);
        if let Some(journal) = &self.journal {
            journal.submit(&mut effects.journal);
        }
    }

    /// Lets those go who have waited for the disk.
    pub fn release(&self, waiters: Vec<Waiter>, now: Instant) {
        let mut deliveries = Deliveries::default();
        let mut has_lent = false;
        for waiter in waiters {
            match waiter {
                Waiter::Lent(lent) => {
                    has_lent = true;
                    self.lent(*lent, now, &mut deliveries);
                }
                // Whoever asked may have gone.
                Waiter::Told(tell) => drop(tell.send(())),
                Waiter::Answers { handle, epoch, mut answers } => handle.lock(|slot| {
                    if let Some(online) = slot.connection(epoch) {
                        match &mut online.answers {
                            Some(earlier) => earlier.append(&mut answers),
                            none => *none = Some(Box::new(answers)),
                        }
                        online.notify();
                    }
                }),
                Waiter::Opened { handle, epoch } => handle.lock(|slot| {
                    if let Some(online) = slot.connection(epoch) {
                        online.is_stored = true;
                        online.notify();
                    }
                }),
                Waiter::Safe { handle, first } => handle.lock(|slot| {
                    slot.session.is_safe_from(first);
                    if let Some(online) = &mut slot.online {
                        online.notify();
                    }
                }),
            }
        }
        if has_lent {
            deliveries.flush(self, now);
        }
    }
}
