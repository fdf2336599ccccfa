use super::varint::VARINT_MAX;
use super::writer::{Sink, count, packet_length};
use super::{Packet, PacketTooLarge, ProtocolVersion, UserProperties};

/// Appends a packet in the language of `version`: older versions get no properties, and reason codes as they know them. CONNECT
/// is written in the version that it names. What a version does not know (AUTH before 5.0) and what no Remaining Length can
/// tell is not written at all; strings and binary data are cut at 65,535 bytes.
pub fn encode(packet: &Packet<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    if write_short(packet, version, out).is_none() {
        let _ = write_within(packet, version, None, out);
    }
}

/// As [`encode`], for a receiver with a Maximum Packet Size (bytes with the fixed header). User Properties and Reason String are
/// left out where they would make the packet too large `[MQTT-3.2.2-19, -20]`, `[MQTT-3.4.2-2, -3]` and their likes. Fails, and
/// writes nothing, where that does not help `[MQTT-3.1.2-24]`.
pub fn encode_within(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    maximum_packet_size: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), PacketTooLarge> {
    if maximum_packet_size.is_none_or(|maximum| maximum >= 4) && write_short(packet, version, out).is_some() {
        return Ok(());
    }
    if write_within(packet, version, maximum_packet_size, out).is_ok() {
        return Ok(());
    }
    let mut packet = packet.clone();
    if version.has_properties() && drop_user_properties(&mut packet) {
        if write_within(&packet, version, maximum_packet_size, out).is_ok() {
            return Ok(());
        }
        drop_reason_string(&mut packet);
        return write_within(&packet, version, maximum_packet_size, out);
    }
    Err(PacketTooLarge)
}

/// The answers of the hot path where an identifier is all that they carry.
#[inline]
fn write_short(packet: &Packet<'_>, version: ProtocolVersion, out: &mut Vec<u8>) -> Option<()> {
    let packet_id = match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) if ack.is_plain() || !version.has_properties() => ack.packet_id,
        Packet::PubRel(release) | Packet::PubComp(release) if release.is_plain() || !version.has_properties() => {
            release.packet_id
        }
        _ => return None,
    };
    let [high, low] = packet_id.get().to_be_bytes();
    out.extend_from_slice(&[packet.packet_type().first_byte(), 2, high, low]);
    Some(())
}

fn write_within(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    maximum_packet_size: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), PacketTooLarge> {
    if matches!(packet, Packet::Auth(_)) && !version.has_properties() {
        return Ok(());
    }
    let remaining_length = count(|sink| write_body(packet, version, sink));
    let length = packet_length(remaining_length);
    if remaining_length > VARINT_MAX as usize || maximum_packet_size.is_some_and(|maximum| length > maximum as usize) {
        return Err(PacketTooLarge);
    }
    out.reserve(length);
    out.push(first_byte(packet));
    out.varint(remaining_length as u32);
    write_body(packet, version, out);
    Ok(())
}

fn first_byte(packet: &Packet<'_>) -> u8 {
    match packet {
        Packet::Publish(publish) => publish.first_byte(),
        _ => packet.packet_type().first_byte(),
    }
}

fn write_body(packet: &Packet<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    match packet {
        Packet::Connect(connect) => connect.write(sink),
        Packet::ConnAck(connack) => connack.write(sink, version),
        Packet::Publish(publish) => publish.write(sink, version),
        Packet::PubAck(ack) | Packet::PubRec(ack) => ack.write(sink, version),
        Packet::PubRel(release) | Packet::PubComp(release) => release.write(sink, version),
        Packet::Subscribe(subscribe) => subscribe.write(sink, version),
        Packet::SubAck(ack) => ack.write(sink, version),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(sink, version),
        Packet::UnsubAck(ack) => ack.write(sink, version),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => disconnect.write(sink, version),
        Packet::Auth(auth) => auth.write(sink),
    }
}

/// Empties the User Properties of a packet that may do without them; `false` for one whose properties are not the sender's own
/// to leave out.
fn drop_user_properties(packet: &mut Packet<'_>) -> bool {
    let user_properties = match packet {
        Packet::ConnAck(connack) => &mut connack.properties.user_properties,
        Packet::PubAck(ack) | Packet::PubRec(ack) => &mut ack.user_properties,
        Packet::PubRel(release) | Packet::PubComp(release) => &mut release.user_properties,
        Packet::SubAck(ack) => &mut ack.user_properties,
        Packet::UnsubAck(ack) => &mut ack.user_properties,
        Packet::Disconnect(disconnect) => &mut disconnect.user_properties,
        Packet::Auth(auth) => &mut auth.user_properties,
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => return false,
    };
    *user_properties = UserProperties::default();
    true
}

fn drop_reason_string(packet: &mut Packet<'_>) {
    match packet {
        Packet::ConnAck(connack) => connack.properties.reason_string = None,
        Packet::PubAck(ack) | Packet::PubRec(ack) => ack.reason_string = None,
        Packet::PubRel(release) | Packet::PubComp(release) => release.reason_string = None,
        Packet::SubAck(ack) => ack.reason_string = None,
        Packet::UnsubAck(ack) => ack.reason_string = None,
        Packet::Disconnect(disconnect) => disconnect.reason_string = None,
        Packet::Auth(auth) => auth.reason_string = None,
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => {}
    }
}
