//! A thread with its clients: one `epoll`, one turn after the other, each client at most one read and one write in it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::book::Book;
use super::campaign::Campaign;
use super::client::{Client, Role};
use super::clock;
use super::codec::SessionWish;
use super::desk::{AllTimes, Desk};
use super::tally::Figure;
use super::timer::Timer;

/// Tokens below are indices of clients.
pub(super) const MAIL: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// What is read at once; longer packets make it grow.
const BUFFER: usize = 256 * 1024;

/// Connections that one worker has on the way at once. A queue of unanswered ones in the kernel is 128 long in old systems.
const OPENING_MAX: usize = 64;

const TICK: Duration = Duration::from_secs(1);

/// What whoever leads the run tells a worker.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Connect {
        group: Group,
        wish: SessionWish,
        interval: Duration,
    },
    Subscribe,
    Publish(Campaign),
    /// Publishers send nothing new.
    Stop,
    Disconnect(Group),
    /// Those who have not been let go yet go without.
    Drop(Group),
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Publishers,
    /// Subscribers, and clients that do nothing.
    Others,
}

/// What a worker knows at the end.
pub(super) struct Outcome {
    pub(super) times: AllTimes,
    /// Identifier, topic and number of messages of each stream that it sent.
    pub(super) streams: Vec<(u32, String, u64)>,
    /// Each with the client whose it is.
    pub(super) books: Vec<(String, Book)>,
}

pub(super) struct Worker {
    poll: Poll,
    clients: Vec<Client>,
    desk: Desk,
    commands: Receiver<Command>,
    timer: Timer,
    buffer: Vec<u8>,
    /// Clients that are to have a turn without an event.
    again: Vec<usize>,
    /// Publishers of an open loop by when they send next.
    paced: BinaryHeap<Reverse<(u64, usize)>>,
    opening: Opening,
    ticked_at: u64,
    is_done: bool,
    has_mail: bool,
}

/// Clients that are to connect.
struct Opening {
    queue: VecDeque<usize>,
    /// How many are on the way.
    under_way: usize,
    wish: SessionWish,
    interval: u64,
    /// When the first one of all workers connects.
    start: u64,
}

impl Opening {
    /// When the client of this number connects: the interval is that of all workers together, who take turns as numbers do.
    const fn due(&self, number: usize) -> u64 {
        self.start.saturating_add(self.interval.saturating_mul(number as u64))
    }
}

impl Worker {
    pub(super) fn new(poll: Poll, clients: Vec<Client>, desk: Desk, commands: Receiver<Command>) -> io::Result<Self> {
        let timer = Timer::new(poll.registry(), TIMER)?;
        let opening = Opening { queue: VecDeque::new(), under_way: 0, wish: SessionWish::Clean, interval: 0, start: 0 };
        Ok(Self {
            poll,
            clients,
            desk,
            commands,
            timer,
            buffer: vec![0; BUFFER],
            again: Vec::new(),
            paced: BinaryHeap::new(),
            opening,
            ticked_at: 0,
            is_done: false,
            has_mail: false,
        })
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        while !self.is_done {
            self.set_timer()?;
            let timeout = if self.again.is_empty() { TICK } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.turn(&events);
        }
        Ok(self.outcome())
    }

    fn turn(&mut self, events: &Events) {
        self.desk.begin(clock::now());
        for index in std::mem::take(&mut self.again) {
            self.attend(index);
        }
        for event in events {
            self.handle_event(event);
        }
        if std::mem::take(&mut self.has_mail) {
            // Behind what others have said meanwhile: a worker that was late may not blame the broker for it.
            self.read_mail();
        }
        self.pace();
        self.open_more();
        while let Some(index) = self.desk.ready.pop() {
            self.attend(index);
        }
        self.tick();
        self.desk.shared.tallies[self.desk.worker].store(&self.desk.tally);
    }

    fn handle_event(&mut self, event: &Event) {
        match event.token() {
            MAIL => self.has_mail = true,
            TIMER => self.timer.rang(),
            Token(index) => {
                let (is_error, is_hung_up) = (event.is_error(), event.is_read_closed());
                let is_readable = event.is_readable() || is_hung_up || is_error;
                self.clients[index].note_event(is_readable, event.is_writable() || is_error, is_hung_up);
                self.attend(index);
            }
        }
    }

    fn read_mail(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        let mail = self.desk.shared.mailboxes[self.desk.worker].take();
        self.desk.ready.extend(mail);
    }

    fn attend(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let was_settling = client.is_settling();
        if client.turn(&mut self.desk, &mut self.buffer) {
            self.again.push(index);
        }
        if was_settling && !client.is_settling() {
            self.opening.under_way = self.opening.under_way.saturating_sub(1);
        }
        self.schedule(index);
    }

    /// Notes when a publisher of an open loop sends next. It may be noted twice, then it is looked at once for nothing.
    fn schedule(&mut self, index: usize) {
        let Role::Publisher(publisher) = &mut self.clients[index].role else { return };
        if let Some(due) = publisher.next_due()
            && due > publisher.scheduled
        {
            publisher.scheduled = due;
            self.paced.push(Reverse((due, index)));
        }
    }

    fn pace(&mut self) {
        while let Some(Reverse((due, index))) = self.paced.peek().copied()
            && due <= self.desk.now
        {
            self.paced.pop();
            self.attend(index);
        }
    }

    fn open_more(&mut self) {
        while self.opening.under_way < OPENING_MAX && self.next_opening().is_some_and(|due| due <= self.desk.now) {
            let Some(index) = self.opening.queue.pop_front() else { break };
            let client = &mut self.clients[index];
            client.open(self.opening.wish, &mut self.desk, self.poll.registry(), Token(index));
            self.opening.under_way += usize::from(client.is_settling());
        }
    }

    /// When the next client is to connect, if one is.
    fn next_opening(&self) -> Option<u64> {
        let index = self.opening.queue.front()?;
        Some(self.opening.due(self.clients[*index].number))
    }

    /// When somebody is to be woken next. Those who are late have been attended to, and wait for something else.
    fn set_timer(&mut self) -> io::Result<()> {
        let paced = self.paced.peek().map(|Reverse((due, _))| *due);
        let opening = self.next_opening().filter(|_| self.opening.under_way < OPENING_MAX);
        let next = [paced, opening].into_iter().flatten().min().unwrap_or(u64::MAX);
        self.timer.set(next, clock::now())
    }

    /// Once a second: those who have been silent for half their keep alive say that they are there.
    fn tick(&mut self) {
        if self.desk.now < self.ticked_at + clock::nanoseconds(TICK) {
            return;
        }
        self.ticked_at = self.desk.now;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.is_too_silent(self.desk.now) {
                client.ping();
                self.attend(index);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        self.desk.count(Figure::Obeyed);
        match command {
            Command::Connect { group, wish, interval } => {
                let queue = self.members(group);
                let interval = clock::nanoseconds(interval);
                self.opening = Opening { queue: queue.into(), under_way: 0, wish, interval, start: self.desk.now };
            }
            Command::Subscribe => self.each(Group::Others, |client, _| client.subscribe()),
            Command::Publish(campaign) => {
                if self.desk.filler.len() < campaign.size {
                    self.desk.filler.resize(campaign.size, b'.');
                }
                self.each(Group::Publishers, |client, _| {
                    if let Role::Publisher(publisher) = &mut client.role {
                        publisher.orders = Some(campaign.orders(client.number));
                    }
                });
            }
            Command::Stop => {
                // What is due now goes first, as it would in this turn without the command.
                self.pace();
                self.each(Group::Publishers, Client::stop);
            }
            Command::Disconnect(group) => {
                self.opening.queue.clear();
                self.each(group, Client::disconnect);
            }
            Command::Drop(group) => self.each(group, |client, _| client.drop_connection()),
            Command::Finish => self.is_done = true,
        }
    }

    /// Does something with each client of a group and gives it a turn.
    fn each(&mut self, group: Group, mut act: impl FnMut(&mut Client, &mut Desk)) {
        for index in self.members(group) {
            act(&mut self.clients[index], &mut self.desk);
            self.again.push(index);
        }
    }

    fn members(&self, group: Group) -> Vec<usize> {
        let is_member = |client: &Client| matches!(client.role, Role::Publisher(_)) == (group == Group::Publishers);
        (0..self.clients.len()).filter(|index| is_member(&self.clients[*index])).collect()
    }

    fn outcome(self) -> Outcome {
        let mut owners = vec![String::new(); self.desk.books.len()];
        let mut streams = Vec::new();
        for client in self.clients {
            match client.role {
                Role::Publisher(publisher) => {
                    streams.extend(publisher.streams.iter().map(|stream| (stream.id, stream.topic(), stream.sent)));
                }
                Role::Subscriber(subscriber) if subscriber.member == 0 => owners[subscriber.book] = client.id,
                Role::Subscriber(subscriber) => owners[subscriber.book] += " and others",
                Role::Idle => {}
            }
        }
        Outcome { times: self.desk.times, streams, books: owners.into_iter().zip(self.desk.books).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_between_connections_is_that_of_all_workers_together() {
        let opening = |queue: &[usize]| Opening {
            queue: queue.iter().copied().collect(),
            under_way: 0,
            wish: SessionWish::Clean,
            interval: 10,
            start: 1000,
        };
        // Numbers are dealt out to two workers.
        let mut all: Vec<_> = [opening(&[0, 2, 4]), opening(&[1, 3])]
            .iter()
            .flat_map(|opening| opening.queue.iter().map(move |number| opening.due(*number)))
            .collect();
        all.sort_unstable();
        assert_eq!(all, [1000, 1010, 1020, 1030, 1040]);
    }
}
