//! A packet as the fields that it is made of, and how it is written with lies about them: that is where other brokers broke.

use crate::support::dice::Dice;

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

    pub fn write(&mut self, mut draft: Draft, dice: &mut Dice) -> Vec<u8> {
        self.has_lied = false;
        if self.lies(dice) {
            let at = dice.below(draft.fields.len() + 1);
            match (draft.fields.get(at).cloned(), dice.below(3)) {
                (Some(_), 0) => drop(draft.fields.remove(at)),
                (Some(field), _) => draft.fields.insert(at, field),
                (None, _) => draft.fields.push(Field::Rest(vec![dice.byte(); 1 + dice.below(8)])),
            }
        }
        if self.lies(dice) {
            let bits = dice.one_of(&[4, 4, 4, 8]);
            draft.first ^= 1 << dice.below(bits);
        }
        let mut body = Vec::new();
        for field in draft.fields {
            self.write_field(field, dice, &mut body);
        }
        let mut packet = vec![draft.first];
        self.write_length(body.len(), dice, &mut packet);
        packet.append(&mut body);
        if self.lies(dice) {
            packet.truncate(1 + dice.below(packet.len()));
        }
        packet
    }

    fn lies(&mut self, dice: &mut Dice) -> bool {
        let lies = self.odds.is_some_and(|odds| dice.once_in(odds));
        self.has_lied |= lies;
        lies
    }

    fn write_field(&mut self, field: Field, dice: &mut Dice, out: &mut Vec<u8>) {
        match field {
            Field::Byte(byte) => out.push(if self.lies(dice) { byte ^ (1 << dice.below(8)) } else { byte }),
            Field::Short(short) => {
                let short = if self.lies(dice) { dice.one_of(&[0, 1, 0xFF, 0xFFFF]) } else { short };
                out.extend(short.to_be_bytes());
            }
            Field::Text(text) => self.write_text(text, dice, out),
            Field::Rest(mut rest) => out.append(&mut rest),
            Field::Properties(properties) => {
                let mut bytes = Vec::new();
                for property in properties {
                    let times = if self.lies(dice) { 2 } else { 1 };
                    (0..times).for_each(|_| self.write_property(property.clone(), dice, &mut bytes));
                }
                self.write_length(bytes.len(), dice, out);
                out.append(&mut bytes);
            }
        }
    }

    fn write_property(&mut self, Property(name, value): Property, dice: &mut Dice, out: &mut Vec<u8>) {
        write_variable(if self.lies(dice) { dice.below(0x30) as u32 } else { name }, out);
        match value {
            Value::Byte(byte) => self.write_field(Field::Byte(byte), dice, out),
            Value::Short(short) => self.write_field(Field::Short(short), dice, out),
            Value::Long(long) => {
                let long = if self.lies(dice) { dice.one_of(&[0, 1, u32::MAX]) } else { long };
                out.extend(long.to_be_bytes());
            }
            Value::Variable(value) => self.write_length(value as usize, dice, out),
            Value::Text(text) => self.write_text(text, dice, out),
            Value::Pair(name, value) => {
                self.write_text(name, dice, out);
                self.write_text(value, dice, out);
            }
        }
    }

    /// A text that is longer or shorter than it says, or not one.
    fn write_text(&mut self, mut text: Vec<u8>, dice: &mut Dice, out: &mut Vec<u8>) {
        if self.lies(dice) {
            let at = dice.below(text.len() + 1);
            // NUL, a lone continuation, a surrogate, an overlong slash, U+FFFF, more than Unicode has; wildcards.
            let strange: &[&[u8]] =
                &[b"\0", b"\x80", b"\xED\xA0\x80", b"\xC0\xAF", b"\xEF\xBF\xBF", b"\xF4\x90\x80\x80", b"#", b"+"];
            text.splice(at..at, dice.one_of(strange).iter().copied());
        }
        let mut length = text.len() as u16;
        if self.lies(dice) {
            length = dice.one_of(&[0, length.wrapping_sub(1), length.wrapping_add(1), length.wrapping_add(2), 0x7FFF, 0xFFFF]);
        }
        out.extend(length.to_be_bytes());
        out.append(&mut text);
    }

    /// A variable integer that says too little or too much, or says it in more bytes than it needs, or never ends.
    fn write_length(&mut self, length: usize, dice: &mut Dice, out: &mut Vec<u8>) {
        let length = length as u32;
        if !self.lies(dice) {
            return write_variable(length, out);
        }
        match dice.below(8) {
            0 => write_variable(0, out),
            1 => write_variable(length.saturating_sub(1), out),
            2 => write_variable(length + 1, out),
            3 => write_variable(length + 1 + dice.below(4) as u32, out),
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
