//! The frames of the hot path, PUBLISH and its acknowledgements, read in place and written without allocation.
//!
//! Everything else goes through mqttbytes. These do not: it takes 92 to 213 ns and up to four allocations to decode a PUBLISH,
//! several times what the rest of a delivery costs here, and a load tester that is slower than the broker measures itself.

/// The kinds of packet that are told apart here, by the upper half of the first byte.
pub(super) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
}

/// Bytes that are not MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// One whole packet as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) first: u8,
    /// Without the fixed header.
    pub(super) body: &'a [u8],
    /// With it.
    pub(super) whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The packet at the beginning of the bytes, or `None` if not all of it is there.
    pub(super) fn next(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((length, taken)) = varint(rest)? else { return Ok(None) };
        let start = 1 + taken;
        let Some(whole) = bytes.get(..start + length) else { return Ok(None) };
        Ok(Some(Self { first: *first, body: &whole[start..], whole }))
    }

    pub(super) const fn kind(&self) -> u8 {
        self.first >> 4
    }

    pub(super) fn publish(&self, is_v5: bool) -> Result<Publish<'a>, Malformed> {
        let qos = self.first >> 1 & 3;
        let mut rest = self.body;
        let topic_length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let topic = rest.split_off(..topic_length).ok_or(Malformed)?;
        let id = if qos == 0 { 0 } else { u16::from_be_bytes(take(&mut rest)?) };
        if is_v5 {
            let (length, taken) = varint(rest)?.ok_or(Malformed)?;
            rest = rest.get(taken + length..).ok_or(Malformed)?;
        }
        Ok(Publish { qos, topic, id, payload: rest })
    }

    /// Packet identifier and reason of PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(super) fn ack(&self) -> Result<(u16, u8), Malformed> {
        let mut rest = self.body;
        let id = u16::from_be_bytes(take(&mut rest)?);
        Ok((id, rest.first().copied().unwrap_or(0)))
    }
}

/// What counts of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) qos: u8,
    pub(super) topic: &'a [u8],
    /// 0 with QoS 0.
    pub(super) id: u16,
    pub(super) payload: &'a [u8],
}

/// The beginning of a PUBLISH up to its payload; `topic` comes with its length before it, `id` is `None` for QoS 0.
pub(super) fn write_publish(out: &mut Vec<u8>, flags: u8, topic: &[u8], id: Option<u16>, is_v5: bool, payload_length: usize) {
    let length = topic.len() + if id.is_some() { 2 } else { 0 } + usize::from(is_v5) + payload_length;
    out.push(kind::PUBLISH << 4 | flags);
    write_varint(out, length);
    out.extend_from_slice(topic);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if is_v5 {
        out.push(0);
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP for success, the same in all versions.
pub(super) fn write_ack(out: &mut Vec<u8>, kind: u8, id: u16) {
    let flags = if kind == kind::PUBREL { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
}

/// A number and how many bytes it takes.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed) }
}

fn write_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take(rest: &mut &[u8]) -> Result<[u8; 2], Malformed> {
    rest.split_off(..2).and_then(|bytes| bytes.first_chunk().copied()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use mqttbytes::{QoS, v4, v5};

    use super::*;

    fn ours(qos: u8, is_v5: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_publish(&mut out, qos << 1, b"\x00\x03a/b", (qos > 0).then_some(513), is_v5, payload.len());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn mqttbytes_reads_what_is_written() {
        for (qos, length) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 200), (QoS::ExactlyOnce, 20_000)] {
            let payload = vec![7; length];
            let mut old = v4::Publish::new("a/b", qos, payload.clone());
            let mut new = v5::Publish::new("a/b", qos, payload.clone());
            if qos != QoS::AtMostOnce {
                (old.pkid, new.pkid) = (513, 513);
            }
            let mut bytes = BytesMut::from(&ours(qos as u8, false, &payload)[..]);
            assert_eq!(v4::read(&mut bytes, 1 << 20), Ok(v4::Packet::Publish(old)));
            let mut bytes = BytesMut::from(&ours(qos as u8, true, &payload)[..]);
            assert_eq!(v5::read(&mut bytes, 1 << 20), Ok(v5::Packet::Publish(new)));
        }
    }

    #[test]
    fn what_mqttbytes_writes_is_read() {
        let mut packet = v5::Publish::new("a/b", QoS::AtLeastOnce, &b"payload"[..]);
        packet.pkid = 7;
        packet.properties = Some(v5::PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(60),
            topic_alias: None,
            response_topic: None,
            correlation_data: Some(Bytes::from_static(b"x")),
            user_properties: vec![("k".into(), "v".into())],
            subscription_identifiers: Vec::new(),
            content_type: None,
        });
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        let frame = Frame::next(&bytes).unwrap().unwrap();
        assert_eq!(frame.kind(), kind::PUBLISH);
        assert_eq!(frame.publish(true), Ok(Publish { qos: 1, topic: b"a/b", id: 7, payload: b"payload" }));
    }

    #[test]
    fn a_beginning_waits_and_nonsense_is_refused() {
        let whole = ours(1, false, &[1; 300]);
        for length in 0..whole.len() {
            assert_eq!(Frame::next(&whole[..length]), Ok(None));
        }
        assert_eq!(Frame::next(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]), Err(Malformed));
        let too_long_a_topic = Frame::next(&[0x30, 3, 0, 9, b'a']).unwrap().unwrap();
        assert_eq!(too_long_a_topic.publish(false), Err(Malformed));
    }

    #[test]
    fn acknowledgements_of_both_forms_are_read() {
        let mut out = Vec::new();
        write_ack(&mut out, kind::PUBREL, 258);
        assert_eq!(out, [0x62, 2, 1, 2]);
        assert_eq!(Frame::next(&out).unwrap().unwrap().ack(), Ok((258, 0)));
        let refused = [0x40, 4, 0, 1, 0x97, 0];
        assert_eq!(Frame::next(&refused).unwrap().unwrap().ack(), Ok((1, 0x97)));
        assert_eq!(Frame::next(&[0x40, 1, 0]).unwrap().unwrap().ack(), Err(Malformed));
    }
}
