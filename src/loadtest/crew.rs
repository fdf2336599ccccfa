//! The workers of a run, and their leader's side of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::{io, thread};

use mio::{Poll, Waker};
use parking_lot::Mutex;

use super::book::Book;
use super::client::{Client, Role};
use super::desk::Desk;
use super::plan::{self, BookPlan, ClientPlan, RolePlan};
use super::publisher::{Publisher, Stream};
use super::settings::{Settings, Version};
use super::shared::{Flight, Mailbox, Shared};
use super::subscriber::Subscriber;
use super::tally::{Figure, SharedTally, Tally};
use super::tls;
use super::worker::{Command, MAIL, Outcome, Worker};

pub(super) struct Crew {
    pub(super) shared: Arc<Shared>,
    members: Vec<Member>,
    pub(super) publishers: usize,
    /// Subscribers, and clients that do nothing.
    pub(super) others: usize,
    pub(super) filters: u64,
    /// Commands that all of them together have been told.
    told: Cell<u64>,
}

struct Member {
    commands: Sender<Command>,
    thread: JoinHandle<io::Result<Outcome>>,
}

/// What one worker is made of, while the run is being laid out.
#[derive(Default)]
struct Seat {
    clients: Vec<Client>,
    books: Vec<Book>,
    /// The book that the consumers of a group share.
    shared_book: Option<usize>,
}

/// What all workers share, while the run is being laid out.
#[derive(Default)]
struct Layout {
    seats: Vec<Seat>,
    flights: Vec<Flight>,
    publisher_of: HashMap<u32, u32>,
    others: usize,
    filters: u64,
}

impl Crew {
    /// Starts the threads; nobody connects yet.
    pub(super) fn start(settings: &Settings, clients: &[ClientPlan], run: u32) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("cannot start the load tester: {error}");
        let mut layout = Layout::default();
        layout.seats.resize_with(settings.threads, Seat::default);
        clients.iter().for_each(|client| layout.seat(client, settings, run));
        let polls: Vec<_> = layout.seats.iter().map(|_| Poll::new()).collect::<Result<_, _>>().map_err(wrong)?;
        let wakers = polls.iter().map(|poll| Waker::new(poll.registry(), MAIL));
        let mailboxes = wakers.map(|waker| waker.map(Mailbox::new)).collect::<Result<_, _>>().map_err(wrong)?;
        let streams = layout.publisher_of.keys().max().map_or(0, |stream| stream + 1);
        let shared = Arc::new(Shared {
            target: settings.target.clone(),
            tls: settings.target.tls.as_ref().map(tls::config).transpose()?,
            run,
            measured_from: AtomicU64::new(u64::MAX),
            publisher_of: (0..streams).map(|stream| layout.publisher_of.get(&stream).copied().unwrap_or(0)).collect(),
            tallies: polls.iter().map(|_| SharedTally::default()).collect(),
            mailboxes,
            reasons: Mutex::new(Vec::new()),
            flights: layout.flights,
        });
        let (publishers, others, filters) = (shared.flights.len(), layout.others, layout.filters);
        let members = polls.into_iter().zip(layout.seats).enumerate();
        let members = members.map(|(index, (poll, seat))| Member::start(&shared, index, poll, seat));
        let members = members.collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Self { shared, members, publishers, others, filters, told: Cell::new(0) })
    }

    pub(super) fn tell(&self, command: &Command) {
        self.told.set(self.told.get() + self.members.len() as u64);
        for (member, mailbox) in self.members.iter().zip(&self.shared.mailboxes) {
            // A worker that is gone is noticed at the end, when its error is told.
            let _ = member.commands.send(command.clone());
            mailbox.wake();
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.shared.tallies.iter().for_each(|tally| sum.add(&tally.load()));
        sum
    }

    /// Whether all that was told has been begun, as of this tally.
    pub(super) fn has_obeyed(&self, tally: &Tally) -> bool {
        tally[Figure::Obeyed] >= self.told.get()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.members.iter().all(|member| !member.thread.is_finished())
    }

    /// From now on what is due is measured.
    pub(super) fn measure_from(&self, now: u64) {
        self.shared.measured_from.store(now, Ordering::Relaxed);
    }

    pub(super) fn finish(self) -> Result<Vec<Outcome>, String> {
        self.tell(&Command::Finish);
        let outcome = |member: Member| match member.thread.join() {
            Ok(outcome) => outcome.map_err(|error| format!("the load tester failed: {error}")),
            Err(_) => Err("the load tester failed: a thread panicked".into()),
        };
        self.members.into_iter().map(outcome).collect()
    }
}

impl Member {
    fn start(shared: &Arc<Shared>, index: usize, poll: Poll, seat: Seat) -> io::Result<Self> {
        let (commands, receiver) = channel();
        let desk = Desk::new(Arc::clone(shared), index, seat.books);
        let worker = Worker::new(poll, seat.clients, desk, receiver)?;
        let thread = thread::Builder::new().name(format!("bench-{index}")).spawn(move || worker.run())?;
        Ok(Self { commands, thread })
    }
}

impl Layout {
    fn seat(&mut self, plan: &ClientPlan, settings: &Settings, run: u32) {
        let worker = plan.lane % self.seats.len();
        let target = &settings.target;
        let total = self.flights.len() + self.others;
        let source = (!target.sources.is_empty()).then(|| target.sources[total % target.sources.len()]);
        let is_publisher = matches!(plan.role, RolePlan::Publisher(_));
        let (kind, index) = if is_publisher { ('p', self.flights.len()) } else { ('s', self.others) };
        let id = plan::client_id(target, run, kind, index);
        let role = self.role(&plan.role, worker, settings, run);
        self.seats[worker].clients.push(Client::new(id, role, index, source));
    }

    fn role(&mut self, plan: &RolePlan, worker: usize, settings: &Settings, run: u32) -> Role {
        let version = settings.target.version;
        match plan {
            RolePlan::Publisher(streams) => {
                let index = u32::try_from(self.flights.len()).expect("there are fewer clients than ports");
                self.flights.push(Flight::new(worker, self.seats[worker].clients.len()));
                self.publisher_of.extend(streams.iter().map(|stream| (stream.id, index)));
                let streams = streams.iter().map(|stream| Stream::new(stream.id, &stream.topic, stream.receivers));
                Role::Publisher(Box::new(Publisher::new(streams.collect(), run, version == Version::V5)))
            }
            RolePlan::Subscriber { filters, book } => {
                self.others += 1;
                self.filters += filters.len() as u64;
                let (book, member) = self.seats[worker].book(book);
                Role::Subscriber(Box::new(Subscriber::new(filters.clone(), settings.subscribe_qos, version, book, member)))
            }
            RolePlan::Idle => {
                self.others += 1;
                Role::Idle
            }
        }
    }
}

impl Seat {
    /// The book of a subscriber, and as which of those who share it.
    fn book(&mut self, plan: &BookPlan) -> (usize, usize) {
        let index = self.books.len();
        match plan {
            BookPlan::Own(streams) => self.books.push(Book::own(streams)),
            BookPlan::Open { is_shared } => self.books.push(Book::open(*is_shared)),
            BookPlan::Shared { streams, consumers, member } => {
                if let Some(book) = self.shared_book {
                    return (book, *member);
                }
                self.shared_book = Some(index);
                self.books.push(Book::shared(streams, *consumers));
                return (index, *member);
            }
        }
        (index, 0)
    }
}
