use crate::metrics::{Batch, PacketType};

/// Counts the packets in `bytes`, which hold whole ones of our own making.
pub fn count_sent(bytes: &[u8], batch: &mut Batch) {
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        if let Some(kind) = PacketType::of_first_byte(*first) {
            batch.packet_sent(kind);
        }
        let mut length = 0_usize;
        let mut used = 0;
        for byte in after.iter().take(4) {
            length |= usize::from(byte & 0x7F) << (7 * used);
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest = after.get(used + length..).unwrap_or_default();
    }
    batch.bytes_sent(bytes.len());
}
