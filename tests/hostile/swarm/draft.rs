//! A packet as the fields that it is made of, and how it is written with lies about them: that is where other brokers broke.

use super::random::Random;

pub struct Draft {
    pub first: u8,
    pub fields: Vec<Field>,
}

#[derive(Clone)]
pub enum Field {
    Byte(u8),
    Short(u16),
    /// Two bytes of length before it.
    Text(Vec<u8>),
    /// To the end of the packet.
    Rest(Vec<u8>),
    /// Their length before them, as a variable integer.
    Properties(Vec<Property>),
}

#[derive(Clone)]
pub struct Property(pub u32, pub Value);

#[derive(Clone)]
pub enum Value {
    Byte(u8),
    Short(u16),
    Long(u32),
    Variable(u32),
    Text(Vec<u8>),
    Pair(Vec<u8>, Vec<u8>),
}

impl Field {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Who writes packets, and how often wrongly.
pub struct Liar {
    /// One field in so many is wrong; `None` for those who never lie.
    odds: Option<usize>,
    /// What was written last is not as it should be.
    pub has_lied: bool,
}

impl Liar {
    pub fn new(odds: Option<usize>) -> Self {
        Self { odds, has_lied: false }
    }

    pub fn write(&mut self, mut draft: Draft, random: &mut Random) -> Vec<u8> {
        self.has_lied = false;
        if self.lies(random) {
            let at = random.below(draft.fields.len() + 1);
            match (draft.fields.get(at).cloned(), random.below(3)) {
                (Some(_), 0) => drop(draft.fields.remove(at)),
                (Some(field), _) => draft.fields.insert(at, field),
                (None, _) => draft.fields.push(Field::Rest(vec![random.byte(); 1 + random.below(8)])),
            }
        }
        if self.lies(random) {
            let bits = random.pick(&[4, 4, 4, 8]);
            draft.first ^= 1 << random.below(bits);
        }
        let mut body = Vec::new();
        for field in draft.fields {
            self.write_field(field, random, &mut body);
        }
        let mut packet = vec![draft.first];
        self.write_length(body.len(), random, &mut packet);
        packet.append(&mut body);
        if self.lies(random) {
            packet.truncate(1 + random.below(packet.len()));
        }
        packet
    }

    fn lies(&mut self, random: &mut Random) -> bool {
        let lies = self.odds.is_some_and(|odds| random.one_in(odds));
        self.has_lied |= lies;
        lies
    }

    fn write_field(&mut self, field: Field, random: &mut Random, out: &mut Vec<u8>) {
        match field {
            Field::Byte(byte) => out.push(if self.lies(random) { byte ^ (1 << random.below(8)) } else { byte }),
            Field::Short(short) => {
                let short = if self.lies(random) { random.pick(&[0, 1, 0xFF, 0xFFFF]) } else { short };
                out.extend(short.to_be_bytes());
            }
            Field::Text(text) => self.write_text(text, random, out),
            Field::Rest(mut rest) => out.append(&mut rest),
            Field::Properties(properties) => {
                let mut bytes = Vec::new();
                for property in properties {
                    let times = if self.lies(random) { 2 } else { 1 };
                    (0..times).for_each(|_| self.write_property(property.clone(), random, &mut bytes));
                }
                self.write_length(bytes.len(), random, out);
                out.append(&mut bytes);
            }
        }
    }

    fn write_property(&mut self, Property(name, value): Property, random: &mut Random, out: &mut Vec<u8>) {
        write_variable(if self.lies(random) { random.below(0x30) as u32 } else { name }, out);
        match value {
            Value::Byte(byte) => self.write_field(Field::Byte(byte), random, out),
            Value::Short(short) => self.write_field(Field::Short(short), random, out),
            Value::Long(long) => {
                let long = if self.lies(random) { random.pick(&[0, 1, u32::MAX]) } else { long };
                out.extend(long.to_be_bytes());
            }
            Value::Variable(value) => self.write_length(value as usize, random, out),
            Value::Text(text) => self.write_text(text, random, out),
            Value::Pair(name, value) => {
                self.write_text(name, random, out);
                self.write_text(value, random, out);
            }
        }
    }

    /// A text that is longer or shorter than it says, or not one.
    fn write_text(&mut self, mut text: Vec<u8>, random: &mut Random, out: &mut Vec<u8>) {
        if self.lies(random) {
            let at = random.below(text.len() + 1);
            // NUL, a lone continuation, a surrogate, an overlong slash, U+FFFF, more than Unicode has; wildcards.
            let strange: &[&[u8]] =
                &[b"\0", b"\x80", b"\xED\xA0\x80", b"\xC0\xAF", b"\xEF\xBF\xBF", b"\xF4\x90\x80\x80", b"#", b"+"];
            text.splice(at..at, random.pick(strange).iter().copied());
        }
        let mut length = text.len() as u16;
        if self.lies(random) {
            length = random.pick(&[0, length.wrapping_sub(1), length.wrapping_add(1), length.wrapping_add(2), 0x7FFF, 0xFFFF]);
        }
        out.extend(length.to_be_bytes());
        out.append(&mut text);
    }

    /// A variable integer that says too little or too much, or says it in more bytes than it needs, or never ends.
    fn write_length(&mut self, length: usize, random: &mut Random, out: &mut Vec<u8>) {
        let length = length as u32;
        if !self.lies(random) {
            return write_variable(length, out);
        }
        match random.below(8) {
            0 => write_variable(0, out),
            1 => write_variable(length.saturating_sub(1), out),
            2 => write_variable(length + 1, out),
            3 => write_variable(length + 1 + random.below(4) as u32, out),
            4 => write_variable(length * 2, out),
            5 => out.extend([0xFF, 0xFF, 0xFF, 0x7F]),
            6 => out.extend([0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            _ => {
                write_variable(length, out);
                let last = out.len() - 1;
                out[last] |= 0x80;
                out.push(0);
            }
        }
    }
}

fn write_variable(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
