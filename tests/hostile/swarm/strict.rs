//! Reads what a broker sends, by the letter, without the broker's own codec: an error that both ends shared would hide itself.

use std::collections::{BTreeMap, BTreeSet};

/// What one connection is sent.
#[derive(Default)]
pub struct Reader {
    unread: Vec<u8>,
    is_v5: bool,
    is_welcome: bool,
    /// Nothing may come any more.
    is_over: bool,
    aliases: BTreeSet<u16>,
    /// What the client has asked for in its CONNECT; `None` if the broker may have read another one.
    pub terms: Option<Terms>,
}

/// What an honest client can hold the broker to.
#[derive(Default)]
pub struct Terms {
    pub receive_maximum: usize,
    pub maximum_packet_size: usize,
    pub topic_alias_maximum: u16,
    /// Messages of QoS 1 and 2 that it has not answered.
    pub unanswered: BTreeSet<u16>,
    /// It has answered what it had not seen, which may have freed anything.
    pub is_blind: bool,
    /// How many of its packets wait for an answer, by the answer's first byte and identifier.
    pub owed: BTreeMap<(u8, u16), usize>,
}

/// What a client may want to answer, or to say again.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    Publish { qos: u8, id: u16 },
    PubRec(u16),
    PubRel(u16),
    Other,
}

type Result<T> = std::result::Result<T, String>;

const PUBLISH: &[u32] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
const CONNACK: &[u32] = &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A];
const ACK: &[u32] = &[0x1F, 0x26];
const DISCONNECT: &[u32] = &[0x1C, 0x1F, 0x26]; // [MQTT-3.14.2-2]: no Session Expiry Interval from a server.
const AUTH: &[u32] = &[0x15, 0x16, 0x1F, 0x26];

impl Reader {
    /// All whole packets of what came.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Seen>> {
        self.unread.extend_from_slice(bytes);
        let mut seen = Vec::new();
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((first, body, length)) = cut(rest)? {
            let what = self.packet(first, body, length);
            seen.push(what.map_err(|wrong| format!("{wrong}: {:02x?}", &rest[..length.min(200)]))?);
            rest = &rest[length..];
        }
        self.unread = rest.to_vec();
        Ok(seen)
    }

    pub fn is_between_packets(&self) -> bool {
        self.unread.is_empty()
    }

    fn packet(&mut self, first: u8, body: &[u8], length: usize) -> Result<Seen> {
        check(!self.is_over, "something comes behind the end")?;
        check(self.is_welcome || [0x20, 0xF0].contains(&first), "something comes before CONNACK")?;
        let mut fields = Fields(body);
        let seen = match first {
            0x20 => self.connack(&mut fields)?,
            0x30..=0x3F => self.publish(first, &mut fields)?,
            0x40 | 0x50 | 0x62 | 0x70 => self.ack(first, &mut fields)?,
            0x90 | 0xB0 => self.subscription(first, &mut fields)?,
            0xD0 => Seen::Other,
            0xE0 => self.disconnect(&mut fields)?,
            0xF0 => self.auth(&mut fields)?,
            _ => return Err("a packet that no server sends, or its flags".into()),
        };
        check(fields.0.is_empty(), "bytes behind the last field")?;
        let maximum = self.terms.as_ref().map_or(usize::MAX, |terms| terms.maximum_packet_size);
        check(length <= maximum, "longer than the client's Maximum Packet Size")?;
        Ok(seen)
    }

    fn connack(&mut self, fields: &mut Fields<'_>) -> Result<Seen> {
        check(!self.is_welcome, "a second CONNACK")?;
        self.is_welcome = true;
        // Which version the broker has understood; with 5.0 there is a length of properties at least.
        self.is_v5 = fields.0.len() > 2;
        let (flags, reason) = (fields.byte()?, fields.byte()?);
        check(flags <= 1, "reserved flags")?;
        check(reason == 0 || flags == 0, "a session of a refused client")?;
        if self.is_v5 {
            let reasons = [
                0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B,
                0x9C, 0x9D, 0x9F,
            ];
            check(reasons.contains(&reason), "no reason code of CONNACK")?;
            fields.properties(CONNACK)?;
        } else {
            check(reason <= 5, "no return code of CONNACK")?;
        }
        self.is_over = reason != 0;
        Ok(Seen::Other)
    }

    fn publish(&mut self, first: u8, fields: &mut Fields<'_>) -> Result<Seen> {
        let qos = (first >> 1) & 3;
        check(qos < 3, "QoS 3")?;
        check(qos > 0 || first & 8 == 0, "DUP with QoS 0")?;
        let topic = fields.text()?;
        check(!topic.contains(['+', '#']), "a wildcard in a Topic Name")?;
        let id = if qos > 0 { fields.id()? } else { 0 };
        let alias = if self.is_v5 { fields.properties(PUBLISH)?.alias } else { None };
        match alias {
            Some(alias) => {
                let is_known = self.aliases.contains(&alias);
                check(alias > 0 && (is_known || !topic.is_empty()), "a Topic Alias that stands for nothing")?;
                self.aliases.insert(alias);
                let maximum = self.terms.as_ref().map_or(u16::MAX, |terms| terms.topic_alias_maximum);
                check(alias <= maximum, "a Topic Alias over the maximum")?;
            }
            None => check(!topic.is_empty(), "no Topic Name")?,
        }
        fields.0 = &[];
        if let Some(terms) = self.terms.as_mut().filter(|terms| qos > 0 && !terms.is_blind) {
            check(terms.unanswered.insert(id), "an identifier that is in use")?;
            check(terms.unanswered.len() <= terms.receive_maximum, "more than Receive Maximum")?;
        }
        Ok(Seen::Publish { qos, id })
    }

    fn ack(&mut self, first: u8, fields: &mut Fields<'_>) -> Result<Seen> {
        let id = fields.id()?;
        let mut reason = 0;
        if self.is_v5 && !fields.0.is_empty() {
            reason = fields.byte()?;
            if !fields.0.is_empty() {
                fields.properties(ACK)?;
            }
        }
        let reasons: &[u8] = match first {
            0x40 | 0x50 => &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
            _ => &[0, 0x92],
        };
        check(reasons.contains(&reason), "no reason code of this acknowledgement")?;
        if first != 0x62 {
            self.answers(first, id)?;
        }
        Ok(match first {
            0x50 => Seen::PubRec(id),
            0x62 => Seen::PubRel(id),
            _ => Seen::Other,
        })
    }

    fn subscription(&mut self, first: u8, fields: &mut Fields<'_>) -> Result<Seen> {
        let id = fields.id()?;
        if self.is_v5 {
            fields.properties(ACK)?;
        }
        let reasons: &[u8] = match (first, self.is_v5) {
            (0x90, true) => &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
            (0x90, false) => &[0, 1, 2, 0x80],
            (_, true) => &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
            (_, false) => &[],
        };
        check(fields.0.is_empty() == (first == 0xB0 && !self.is_v5), "no codes, or some where there are none")?;
        check(fields.0.iter().all(|reason| reasons.contains(reason)), "no reason code of this acknowledgement")?;
        fields.0 = &[];
        self.answers(first, id)?;
        Ok(Seen::Other)
    }

    fn disconnect(&mut self, fields: &mut Fields<'_>) -> Result<Seen> {
        check(self.is_v5, "DISCONNECT to an older client")?;
        self.is_over = true;
        if fields.0.is_empty() {
            return Ok(Seen::Other);
        }
        let reason = fields.byte()?;
        let is_one = matches!(reason, 0 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2) && reason != 0x91;
        check(is_one && reason != 0x92, "no reason code of DISCONNECT")?;
        if !fields.0.is_empty() {
            fields.properties(DISCONNECT)?;
        }
        Ok(Seen::Other)
    }

    fn auth(&mut self, fields: &mut Fields<'_>) -> Result<Seen> {
        self.is_v5 = true;
        if fields.0.is_empty() {
            return Ok(Seen::Other);
        }
        check([0, 0x18].contains(&fields.byte()?), "no reason code of AUTH")?;
        fields.properties(AUTH)?;
        Ok(Seen::Other)
    }

    /// An answer to something that an honest client has asked.
    fn answers(&mut self, first: u8, id: u16) -> Result<()> {
        let Some(terms) = &mut self.terms else { return Ok(()) };
        let owed = terms.owed.entry((first, id)).or_default();
        check(*owed > 0, "an answer that nobody has asked for")?;
        *owed -= 1;
        Ok(())
    }
}

/// First byte, body and whole length of the first packet, if it is whole.
fn cut(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut fields = Fields(rest);
    let Some(length) = fields.variable_if_whole()? else { return Ok(None) };
    let head = bytes.len() - fields.0.len();
    Ok(fields.0.get(..length as usize).map(|body| (first, body, head + body.len())))
}

fn check(holds: bool, wrong: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(wrong.into()) }
}

struct Fields<'a>(&'a [u8]);

/// Properties that mean something here.
#[derive(Default)]
struct Properties {
    alias: Option<u16>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a field is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn id(&mut self) -> Result<u16> {
        let id = self.short()?;
        check(id > 0, "Packet Identifier 0")?;
        Ok(id)
    }

    fn binary(&mut self) -> Result<&'a [u8]> {
        let length = self.short()?;
        self.take(length.into())
    }

    fn text(&mut self) -> Result<&'a str> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| "a string that is not UTF-8")?;
        check(!text.contains('\0'), "NUL in a string")?;
        Ok(text)
    }

    fn variable_if_whole(&mut self) -> Result<Option<u32>> {
        let mut value = 0;
        for at in 0..4 {
            let Some(byte) = self.0.get(at) else { return Ok(None) };
            value |= u32::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                check(at == 0 || *byte != 0, "a variable integer with more bytes than it needs")?;
                self.0 = &self.0[at + 1..];
                return Ok(Some(value));
            }
        }
        Err("a variable integer of five bytes".into())
    }

    fn variable(&mut self) -> Result<u32> {
        Ok(self.variable_if_whole()?.ok_or("a field is cut short")?)
    }

    fn properties(&mut self, allowed: &[u32]) -> Result<Properties> {
        let length = self.variable()?;
        let mut fields = Fields(self.take(length as usize)?);
        let mut seen = BTreeSet::new();
        let mut properties = Properties::default();
        while !fields.0.is_empty() {
            let name = fields.variable()?;
            check(allowed.contains(&name), &format!("a property {name:#x} that may not be here"))?;
            check(seen.insert(name) || [0x0B, 0x26].contains(&name), "a property comes twice")?;
            match name {
                0x01 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => check(fields.byte()? <= 1, "neither 0 nor 1")?,
                0x21 => check(fields.short()? > 0, "Receive Maximum 0")?,
                0x13 | 0x22 => drop(fields.short()?),
                0x23 => properties.alias = Some(fields.short()?),
                0x27 => check(fields.take(4)? != [0; 4], "Maximum Packet Size 0")?,
                0x02 | 0x11 => drop(fields.take(4)?),
                0x0B => check(fields.variable()? > 0, "Subscription Identifier 0")?,
                0x09 | 0x16 => drop(fields.binary()?),
                0x26 => drop((fields.text()?, fields.text()?)),
                _ => drop(fields.text()?),
            }
        }
        Ok(properties)
    }
}
