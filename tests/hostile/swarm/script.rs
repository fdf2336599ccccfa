//! What attackers say: any packet at any time, about the same few names.

use super::draft::{Draft, Field, Property, Value};
use super::strict::{Seen, Terms};
use crate::support::dice::Dice;

/// Attackers push each other out, and come back to each other's sessions.
pub const CLIENT_IDS: [&str; 4] = ["swarm-a", "swarm-b", "swarm-c", ""];
const TOPICS: [&str; 9] =
    ["s/a", "s/b", "s/a/b", "s", "s//", "$delayed/1/s/a", "$queue/swarm/$put/s/a", "$queue/swarm/$ack/1", "$SYS/s"];
const FILTERS: [&str; 12] = [
    "s/a",
    "s/+",
    "s/#",
    "#",
    "+/+/b",
    "$share/g/s/#",
    "$share/h/+/a",
    "$share/g",
    "$queue/swarm",
    "$queue/swarm/s/b",
    "$queue/swarm/$lease/#",
    "s/#/b",
];
const SERVERS_OWN: [u8; 5] = [0x20, 0x90, 0xB0, 0xD0, 0x00];

/// One end of a conversation.
pub struct Script {
    /// 3, 4 or 5, as in CONNECT.
    pub version: u8,
    /// What of the broker's it has not answered.
    pub seen: Vec<Seen>,
}

impl Script {
    pub fn new(dice: &mut Dice) -> Self {
        Self { version: dice.one_of(&[3, 4, 5, 5]), seen: Vec::new() }
    }

    fn is_v5(&self) -> bool {
        self.version == 5
    }

    /// A CONNECT, and what an honest client may expect after it.
    pub fn connect(&self, dice: &mut Dice) -> (Draft, Terms) {
        let client_id = dice.one_of(&CLIENT_IDS);
        let has_will = dice.once_in(3);
        let (has_user, is_clean) = (dice.once_in(4), dice.once_in(2) || client_id.is_empty());
        let mut flags = u8::from(is_clean) << 1;
        if has_will {
            flags |= 0x04 | (dice.below(3) as u8) << 3 | u8::from(dice.once_in(3)) << 5;
        }
        if has_user {
            flags |= 0xC0;
        }
        let name = if self.version == 3 { "MQIsdp" } else { "MQTT" };
        let keep_alive = dice.one_of(&[0, 1, 60, 0xFFFF]);
        let mut fields = vec![Field::text(name), Field::Byte(self.version), Field::Byte(flags), Field::Short(keep_alive)];
        let mut terms = Terms { receive_maximum: 0xFFFF, maximum_packet_size: usize::MAX, ..Terms::default() };
        if self.is_v5() {
            fields.push(Field::Properties(self.connect_properties(dice, &mut terms)));
        }
        fields.push(Field::text(client_id));
        if has_will {
            if self.is_v5() {
                let properties = [Property(0x18, Value::Long(dice.below(3) as u32)), expiry(dice), user(dice)];
                fields.push(Field::Properties(some(properties, dice)));
            }
            fields.extend([Field::text(dice.one_of(&TOPICS[..5])), Field::Text(payload(dice))]);
        }
        if has_user {
            fields.extend([Field::text("user"), Field::Text(vec![dice.byte(); dice.below(9)])]);
        }
        (Draft { first: 0x10, fields }, terms)
    }

    fn connect_properties(&self, dice: &mut Dice, terms: &mut Terms) -> Vec<Property> {
        let mut properties = some([Property(0x19, Value::Byte(1)), Property(0x17, Value::Byte(0)), user(dice)], dice);
        if dice.once_in(2) {
            properties.push(Property(0x11, Value::Long(dice.one_of(&[0, 1, 100, u32::MAX]))));
        }
        if dice.once_in(3) {
            terms.receive_maximum = dice.one_of(&[1, 2, 10]);
            properties.push(Property(0x21, Value::Short(terms.receive_maximum as u16)));
        }
        if dice.once_in(4) {
            terms.maximum_packet_size = dice.one_of(&[20, 64, 1000]);
            properties.push(Property(0x27, Value::Long(terms.maximum_packet_size as u32)));
        }
        if dice.once_in(3) {
            terms.topic_alias_maximum = dice.one_of(&[1, 2, 100]);
            properties.push(Property(0x22, Value::Short(terms.topic_alias_maximum)));
        }
        if dice.once_in(12) {
            properties.push(Property(0x15, Value::Text(dice.one_of(&["SCRAM-SHA-256", "x"]).into())));
            properties.push(Property(0x16, Value::Text(vec![dice.byte(); dice.below(40)])));
        }
        properties
    }

    /// Any other packet.
    pub fn packet(&mut self, dice: &mut Dice) -> Draft {
        match dice.below(40) {
            0..14 => self.publish(dice),
            14..21 => self.answer(dice),
            21..26 => self.ack(dice),
            26..32 => self.subscribe(dice),
            32..34 => self.unsubscribe(dice),
            34 | 35 => Draft { first: 0xC0, fields: Vec::new() },
            36 => self.disconnect(dice),
            37 => self.auth(dice),
            38 => self.connect(dice).0,
            _ => Draft { first: dice.one_of(&SERVERS_OWN), fields: vec![Field::Short(1), Field::Byte(0)] },
        }
    }

    pub fn subscribe(&self, dice: &mut Dice) -> Draft {
        let mut fields = vec![Field::Short(id(dice))];
        if self.is_v5() {
            let identifier = Property(0x0B, Value::Variable(dice.one_of(&[1, 200, 268_435_455])));
            fields.push(Field::Properties(some([identifier, user(dice)], dice)));
        }
        for _ in 0..=dice.below(3) {
            let options = if self.is_v5() { dice.one_of(&[0, 1, 2, 0x04, 0x09, 0x11, 0x2A]) } else { dice.below(3) as u8 };
            fields.extend([Field::text(dice.one_of(&FILTERS)), Field::Byte(options)]);
        }
        Draft { first: 0x82, fields }
    }

    fn unsubscribe(&self, dice: &mut Dice) -> Draft {
        let mut fields = vec![Field::Short(id(dice))];
        if self.is_v5() {
            fields.push(Field::Properties(some([user(dice)], dice)));
        }
        fields.extend((0..=dice.below(2)).map(|_| Field::text(dice.one_of(&FILTERS))));
        Draft { first: 0xA2, fields }
    }

    fn publish(&self, dice: &mut Dice) -> Draft {
        let qos = dice.below(3) as u8;
        let (retain, dup) = (u8::from(dice.once_in(5)), u8::from(qos > 0 && dice.once_in(5)));
        let mut fields = vec![Field::text(dice.one_of(&TOPICS))];
        if qos > 0 {
            fields.push(Field::Short(id(dice)));
        }
        if self.is_v5() {
            let correlation = Property(0x09, Value::Text(vec![dice.byte(); dice.below(5)]));
            let response = Property(0x08, Value::Text("s/b".into()));
            let kind = Property(0x03, Value::Text("text/plain".into()));
            let mut properties = some([expiry(dice), correlation, response, kind, user(dice), user(dice)], dice);
            if dice.once_in(4) {
                properties.push(Property(0x23, Value::Short(dice.one_of(&[1, 2, 32]))));
                if dice.once_in(2) {
                    fields[0] = Field::text("");
                }
            }
            fields.push(Field::Properties(properties));
        }
        fields.push(Field::Rest(payload(dice)));
        Draft { first: 0x30 | dup << 3 | qos << 1 | retain, fields }
    }

    /// What the broker waits for, if it does.
    fn answer(&mut self, dice: &mut Dice) -> Draft {
        if self.seen.is_empty() {
            return self.ack(dice);
        }
        let (first, id) = match self.seen.remove(dice.below(self.seen.len())) {
            Seen::Publish { qos: 1, id } => (0x40, id),
            Seen::Publish { qos: 2, id } => (0x50, id),
            Seen::PubRec(id) => (0x62, id),
            Seen::PubRel(id) => (0x70, id),
            Seen::Publish { .. } | Seen::Other => return self.ack(dice),
        };
        Draft { first, fields: self.ack_fields(id, dice.one_of(&[0, 0, 0, 0x10]), dice) }
    }

    /// An acknowledgement of anything.
    fn ack(&self, dice: &mut Dice) -> Draft {
        let first = dice.one_of(&[0x40, 0x50, 0x62, 0x70]);
        let reason = dice.one_of(&[0, 0, 0x10, 0x80, 0x92, 0x97]);
        Draft { first, fields: self.ack_fields(id(dice), reason, dice) }
    }

    fn ack_fields(&self, id: u16, reason: u8, dice: &mut Dice) -> Vec<Field> {
        let mut fields = vec![Field::Short(id)];
        if self.is_v5() && (reason > 0 || dice.once_in(3)) {
            fields.push(Field::Byte(reason));
            if dice.once_in(2) {
                let why = Property(0x1F, Value::Text("why".into()));
                fields.push(Field::Properties(some([why, user(dice)], dice)));
            }
        }
        fields
    }

    pub fn disconnect(&self, dice: &mut Dice) -> Draft {
        let mut fields = Vec::new();
        if self.is_v5() && dice.once_in(2) {
            fields.push(Field::Byte(dice.one_of(&[0, 0x04, 0x80, 0x99])));
            let expiry = Property(0x11, Value::Long(dice.one_of(&[0, 5])));
            fields.push(Field::Properties(some([expiry, user(dice)], dice)));
        }
        Draft { first: 0xE0, fields }
    }

    fn auth(&self, dice: &mut Dice) -> Draft {
        let properties = [Property(0x15, Value::Text("SCRAM-SHA-256".into())), Property(0x16, Value::Text(payload(dice)))];
        let fields = vec![Field::Byte(dice.one_of(&[0x18, 0x19])), Field::Properties(some(properties, dice))];
        Draft { first: 0xF0, fields }
    }
}

/// What an honest packet entitles its sender to, and what it frees.
pub fn note(draft: &Draft, terms: &mut Terms) {
    let id = |at: usize| match draft.fields.get(at) {
        Some(Field::Short(id)) => *id,
        _ => 0,
    };
    let mut owe = |answer, id| *terms.owed.entry((answer, id)).or_default() += 1;
    match draft.first {
        0x30..=0x3F if draft.first & 6 == 2 => owe(0x40, id(1)),
        0x30..=0x3F if draft.first & 6 == 4 => owe(0x50, id(1)),
        0x62 => owe(0x70, id(0)),
        0x82 => owe(0x90, id(0)),
        0xA2 => owe(0xB0, id(0)),
        // Whatever the broker makes of them, it is not held to an identifier any more.
        0x40 | 0x50 => terms.is_blind |= !terms.unanswered.remove(&id(0)),
        _ => {}
    }
}

fn id(dice: &mut Dice) -> u16 {
    dice.one_of(&[1, 1, 2, 3, 4, 5, 0xFFFF])
}

fn user(_: &mut Dice) -> Property {
    Property(0x26, Value::Pair("name".into(), "value".into()))
}

fn expiry(dice: &mut Dice) -> Property {
    Property(0x02, Value::Long(dice.one_of(&[0, 1, 60])))
}

fn payload(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.once_in(30) { dice.below(70_000) } else { dice.below(40) };
    vec![b'0' + dice.below(10) as u8; length.min(65_535)]
}

/// Some of these, each with one chance in three.
fn some<const N: usize>(properties: [Property; N], dice: &mut Dice) -> Vec<Property> {
    properties.into_iter().filter(|_| dice.once_in(3)).collect()
}
