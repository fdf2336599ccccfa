use crate::packet::{Delivery, PacketId, QoS};

/// What a packet is that is larger than we take, so far as its beginning tells: an older broker cannot be told how much that is, and would
/// send it first over each new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Oversized {
    /// More bytes are needed.
    Unknown,
    Publish {
        delivery: Delivery,
        /// Of the whole packet.
        length: usize,
    },
    /// Nothing that can be passed over.
    Other,
}

const PUBLISH: u8 = 3;

/// Reads the beginning of a packet whose fixed header is known to be right.
pub(super) fn oversized(bytes: &[u8]) -> Oversized {
    let Some((first, rest)) = bytes.split_first() else { return Oversized::Unknown };
    let Some(end) = rest.iter().position(|byte| byte & 0x80 == 0) else { return Oversized::Unknown };
    let remaining = rest[..=end].iter().rev().fold(0_usize, |value, byte| value << 7 | usize::from(byte & 0x7F));
    let length = 2 + end + remaining;
    let Some(qos) = QoS::from_bits(first >> 1 & 3).filter(|_| first >> 4 == PUBLISH) else { return Oversized::Other };
    let body = &rest[end + 1..];
    // The topic comes first, and then the identifier (3.3.2).
    let Some(topic) = u16_at(body, 0) else { return Oversized::Unknown };
    let at = 2 + usize::from(topic);
    if at + 2 > remaining {
        return Oversized::Other;
    }
    let delivery = match (qos, u16_at(body, at).map(PacketId::new)) {
        (QoS::AtMostOnce, _) => Delivery::AtMostOnce,
        (_, None) => return Oversized::Unknown,
        (_, Some(None)) => return Oversized::Other,
        (QoS::AtLeastOnce, Some(Some(id))) => Delivery::AtLeastOnce(id),
        (QoS::ExactlyOnce, Some(Some(id))) => Delivery::ExactlyOnce(id),
    };
    Oversized::Publish { delivery, length }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([two[0], two[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ProtocolVersion, Publish, PublishProperties, TopicName, encode};

    fn written(delivery: Delivery) -> Vec<u8> {
        let mut bytes = Vec::new();
        let publish = Publish {
            dup: true,
            retain: true,
            delivery,
            topic: Some(TopicName::new("a/b").unwrap()),
            properties: PublishProperties::default(),
            payload: &[0; 20_000],
        };
        encode(&Packet::Publish(publish), ProtocolVersion::V311, &mut bytes);
        bytes
    }

    #[test]
    fn the_beginning_of_a_message_says_under_which_identifier_it_came() {
        let id = PacketId::new(0x1234).unwrap();
        for (delivery, needed) in [(Delivery::AtMostOnce, 6), (Delivery::AtLeastOnce(id), 11), (Delivery::ExactlyOnce(id), 11)]
        {
            let bytes = written(delivery);
            for length in 0..needed {
                assert_eq!(oversized(&bytes[..length]), Oversized::Unknown, "{delivery:?} {length}");
            }
            assert_eq!(oversized(&bytes[..needed]), Oversized::Publish { delivery, length: bytes.len() });
        }
    }

    #[test]
    fn what_is_no_message_is_not_passed_over() {
        assert_eq!(oversized(b"\x62\xff\xff\x01\0\x01"), Oversized::Other, "a PUBREL");
        assert_eq!(oversized(b"\x36\xff\xff\x01\0\0\0\x01"), Oversized::Other, "QoS 3");
        assert_eq!(oversized(b"\x32\xff\xff\x01\0\x01a\0\0"), Oversized::Other, "identifier 0");
        assert_eq!(oversized(b"\x32\x05\0\x05aaaaa\0\x01"), Oversized::Other, "a topic that ends behind the packet");
    }
}
