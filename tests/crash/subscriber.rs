//! A subscriber that keeps the rules: it records a message before it acknowledges it, and a QoS 2 message once until its PUBREL,
//! over all its reconnects. It comes and goes, and may change its subscriptions.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use dunlin::packet::{
    Packet, PacketId, PublishAck, PublishReason, QoS, Release, ReleaseReason, Subscribe, SubscriptionOptions, TopicFilter,
    Unsubscribe, UserProperties,
};

use crate::login::Login;
use crate::model::{Delivery, Subscription, key_of};
use crate::support::PATIENCE;
use crate::support::dice::Dice;
use crate::wire::{Arrived, Gone, Got, Wire};
use crate::world::{Phase, World};

pub struct Subscriber {
    pub login: Login,
    /// The audience that it is, or is a member of.
    pub audience: usize,
    pub member: usize,
    /// `$share/NAME/` for members of a group.
    pub prefix: &'static str,
    pub filters: Vec<(&'static str, QoS)>,
    pub habits: Habits,
}

#[derive(Clone, Copy)]
pub struct Habits {
    /// How long it stays and how long it is away at most, in milliseconds.
    pub stays: usize,
    pub away: usize,
    /// Holds acknowledgements back for a while.
    pub dawdles: bool,
    /// Drops and makes subscriptions.
    pub changes: bool,
    /// Gives its session up now and then.
    pub forgets: bool,
}

struct State<'a> {
    world: &'a World,
    subscriber: Subscriber,
    dice: Dice,
    /// QoS 2 identifiers that were received and not released.
    unreleased: HashSet<PacketId>,
    /// Which session it is, of those that this client has had.
    session: usize,
    /// The subscriptions that it has asked for and not dropped: their places among those of the audience.
    own: HashMap<&'static str, usize>,
    /// A SUBSCRIBE or UNSUBSCRIBE that waits for its answer.
    asked: Option<Asked>,
    answers: Vec<Packet<'static>>,
}

struct Asked {
    id: PacketId,
    /// Its place among the subscriptions of the audience.
    place: usize,
    is_dropping: bool,
    /// Whether it was sent before, to a broker that may have done it.
    is_repeated: bool,
}

impl Subscriber {
    pub fn run(self, world: &World) {
        let dice = Dice::new(world.seed, &self.login.name);
        let mut state = State {
            world,
            subscriber: self,
            dice,
            unreleased: HashSet::new(),
            session: 0,
            own: HashMap::new(),
            asked: None,
            answers: Vec::new(),
        };
        while let Some(address) = world.wait_for_broker() {
            let forgets = state.subscriber.habits.forgets && world.phase() == Phase::Storm && state.dice.once_in(4);
            let connected = if forgets {
                state.forget();
                state.subscriber.login.begin(world, address, None)
            } else {
                state.subscriber.login.resume(world, address, None)
            };
            match connected.and_then(|(wire, present)| state.visit(wire, present)) {
                Ok(wire) if world.phase() >= Phase::Drain => return wire.leave(),
                Ok(wire) if state.dice.once_in(2) => wire.leave(),
                Ok(wire) => wire.cut(),
                Err(Gone) => world.take_breath(),
            }
            if world.phase() < Phase::Drain {
                let away = state.dice.millis(0, state.subscriber.habits.away);
                world.pause(away, world.phase());
            }
        }
    }
}

impl State<'_> {
    /// A CONNECT with a clean start is about to be sent: nothing is owed any more.
    fn forget(&mut self) {
        let tick = self.world.tick();
        self.own.clear();
        let mut attendance = self.world.audience(self.subscriber.audience);
        attendance.audience.forgotten = tick;
        for subscription in &mut attendance.audience.subscriptions {
            subscription.dropping.get_or_insert(tick);
        }
    }

    fn visit(&mut self, mut wire: Wire, present: bool) -> Result<Wire, Gone> {
        if !present {
            self.begin();
        }
        self.answers.clear();
        self.asked = self.asked.take().map(|asked| Asked { is_repeated: true, ..asked });
        self.ask_again(&mut wire);
        let stay = self.dice.millis(1, self.subscriber.habits.stays);
        let end = Instant::now() + stay;
        while self.world.phase() < Phase::Drain {
            self.ask(&mut wire);
            // One whose subscriptions stay does not go before it has them.
            if Instant::now() > end && (self.asked.is_none() || self.subscriber.habits.changes) {
                return Ok(wire);
            }
            self.hear(&mut wire)?;
        }
        self.drain(wire)
    }

    /// The session is new.
    fn begin(&mut self) {
        let tick = self.world.tick();
        self.unreleased.clear();
        self.session += 1;
        self.asked = None;
        let mut attendance = self.world.audience(self.subscriber.audience);
        if self.subscriber.habits.forgets {
            for subscription in &mut attendance.audience.subscriptions {
                subscription.dropped.get_or_insert(tick);
            }
        }
    }

    /// Takes all that is left: until nothing is owed, and nothing comes any more.
    fn drain(&mut self, mut wire: Wire) -> Result<Wire, Gone> {
        let mut last = Instant::now();
        let mut pings_unanswered = 0;
        let mut quiet_rounds = 0;
        while self.world.phase() < Phase::Over {
            self.put_answers(&mut wire);
            wire.flush()?;
            match wire.next(Duration::from_millis(100))? {
                Some(Got::Pong) => {
                    pings_unanswered -= 1;
                    quiet_rounds += 1;
                }
                Some(packet) => {
                    self.take(packet)?;
                    (last, quiet_rounds) = (Instant::now(), 0);
                }
                None if pings_unanswered == 0 => {
                    wire.put(&Packet::PingReq);
                    pings_unanswered = 1;
                }
                None => {}
            }
            let is_done = self.asked.is_none() && self.world.audience(self.subscriber.audience).has_all();
            if quiet_rounds > 2 && is_done || last.elapsed() > PATIENCE {
                break;
            }
        }
        Ok(wire)
    }

    /// Asks for what was asked for and not answered, in the session that is there or in the new one.
    fn ask_again(&mut self, wire: &mut Wire) {
        if let Some(asked) = &self.asked {
            let attendance = self.world.audience(self.subscriber.audience);
            let subscription = &attendance.audience.subscriptions[asked.place];
            put(wire, self.subscriber.prefix, subscription, asked);
        }
    }

    /// The next subscription to be made or, for one that changes them, dropped.
    fn ask(&mut self, wire: &mut Wire) {
        if self.asked.is_some() {
            return;
        }
        let Subscriber { audience, filters, prefix, habits, login, .. } = &mut self.subscriber;
        let mut attendance = self.world.audience(*audience);
        let subscriptions = &mut attendance.audience.subscriptions;
        let missing = filters.iter().find(|(filter, _)| !self.own.contains_key(filter)).copied();
        let tick = self.world.tick();
        let id = login.packet_id(|_| true);
        let (place, is_dropping) = match missing {
            Some((filter, qos)) if !habits.changes || self.dice.once_in(5) => {
                self.own.insert(filter, subscriptions.len());
                let filter = filter.to_owned();
                subscriptions.push(Subscription { filter, qos, asked: tick, granted: None, dropping: None, dropped: None });
                (subscriptions.len() - 1, false)
            }
            _ if habits.changes && self.dice.once_in(10) => {
                let (filter, _) = self.dice.pick(filters);
                let Some(place) = self.own.remove(filter) else { return };
                subscriptions[place].dropping = Some(tick);
                (place, true)
            }
            _ => return,
        };
        let asked = Asked { id, place, is_dropping, is_repeated: false };
        put(wire, prefix, &subscriptions[place], &asked);
        self.asked = Some(asked);
    }

    /// Takes what comes in a short while.
    fn hear(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        wire.flush()?;
        let mut got = wire.next(Duration::from_millis(20))?;
        while let Some(packet) = got {
            self.take(packet)?;
            if !self.subscriber.habits.dawdles {
                self.put_answers(wire);
            }
            got = wire.next(Duration::ZERO)?;
        }
        if self.dice.once_in(5) {
            self.put_answers(wire);
        }
        wire.flush()
    }

    fn put_answers(&mut self, wire: &mut Wire) {
        self.answers.drain(..).for_each(|packet| wire.put(&packet));
    }

    fn take(&mut self, packet: Got) -> Result<(), Gone> {
        self.world.advance();
        match packet {
            Got::Publish(arrived) => self.receive(arrived),
            Got::PubRel(id) => {
                let reason = if self.unreleased.remove(&id) || self.subscriber.login.version != crate::support::client::V5 {
                    ReleaseReason::Success
                } else {
                    ReleaseReason::PacketIdentifierNotFound
                };
                self.answers.push(Packet::PubComp(Release::new(id, reason)));
            }
            Got::SubAck(id, reasons) => self.answered(id, &reasons, false),
            Got::UnsubAck(id, reasons) => self.answered(id, &reasons, true),
            Got::Disconnect(_) => return Err(Gone),
            other => self.world.complain(format!("{}: {other:?} was not expected", self.subscriber.login.name)),
        }
        Ok(())
    }

    fn receive(&mut self, arrived: Arrived) {
        let Arrived { topic, payload, qos, id, .. } = arrived;
        let is_repeated = qos == QoS::ExactlyOnce && id.is_some_and(|id| !self.unreleased.insert(id));
        if !is_repeated {
            self.record(&topic, &payload, qos);
        }
        let answer = |id| PublishAck::new(id, PublishReason::Success);
        match (qos, id) {
            (QoS::AtLeastOnce, Some(id)) => self.answers.push(Packet::PubAck(answer(id))),
            (QoS::ExactlyOnce, Some(id)) => self.answers.push(Packet::PubRec(answer(id))),
            _ => {}
        }
    }

    fn record(&mut self, topic: &str, payload: &[u8], qos: QoS) {
        let key = key_of(payload);
        let is_as_sent = key.is_some_and(|key| {
            self.world.has_publisher(key.publisher)
                && self.world.sent_by(key.publisher).get(key.number).is_some_and(|message| message.topic == topic)
        });
        let Some(key) = key.filter(|_| is_as_sent) else {
            let start = String::from_utf8_lossy(&payload[..payload.len().min(20)]).into_owned();
            return self
                .world
                .complain(format!("{}: {start:?}.. to {topic} is not as it was sent", self.subscriber.login.name));
        };
        let (member, session, cycle) = (self.subscriber.member, self.session, self.world.cycle());
        let delivery = Delivery { key, qos, member, session, cycle };
        self.world.audience(self.subscriber.audience).deliver(delivery);
    }

    fn answered(&mut self, id: PacketId, reasons: &[u8], is_dropping: bool) {
        let name = &self.subscriber.login.name;
        let Some(asked) = self.asked.take().filter(|asked| asked.id == id && asked.is_dropping == is_dropping) else {
            return self.world.complain(format!("{name}: an answer to {id} that was not asked"));
        };
        let tick = self.world.tick();
        let mut attendance = self.world.audience(self.subscriber.audience);
        let subscription = &mut attendance.audience.subscriptions[asked.place];
        if !asked.is_dropping {
            subscription.granted = Some(tick);
            if reasons != [subscription.qos as u8] {
                self.world.complain(format!("{name}: {} is answered with {reasons:?}", subscription.filter));
            }
            return;
        }
        subscription.dropped = Some(tick);
        if reasons.iter().any(|reason| *reason != 0 && !asked.is_repeated) {
            self.world.complain(format!("{name}: {} had been granted and is not there", subscription.filter));
        }
    }
}

fn put(wire: &mut Wire, prefix: &str, subscription: &Subscription, asked: &Asked) {
    let filter = TopicFilter::new(&format!("{prefix}{}", subscription.filter)).expect("a filter");
    let packet_id = asked.id;
    let user_properties = UserProperties::default();
    if asked.is_dropping {
        wire.put(&Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters: vec![filter] }));
    } else {
        let options = SubscriptionOptions { qos: subscription.qos, ..Default::default() };
        let filters = vec![(filter, options)];
        wire.put(&Packet::Subscribe(Subscribe { packet_id, subscription_identifier: None, user_properties, filters }));
    }
}
