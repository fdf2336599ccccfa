use thiserror::Error;

/// The longest frame header that a client sends: two bytes, eight of length, four of mask (RFC 6455, 5.2).
const HEADER_LENGTH_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_LENGTH_MAX: usize = 125;

/// The longest header of a frame that we send: no mask.
pub(super) const OWN_HEADER_LENGTH_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// Why the connection is failed; the code goes into our close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// [MQTT-6.0.0-1] MQTT travels in binary frames only.
    #[error("WebSocket text frame")]
    Text,
    #[error("WebSocket frame that is not masked")]
    NotMasked,
    #[error("WebSocket frame with reserved bits or opcode")]
    Reserved,
    #[error("WebSocket control frame that is fragmented or longer than 125 bytes")]
    Control,
    #[error("WebSocket frame whose length is not encoded in the fewest bytes")]
    Length,
    #[error("WebSocket continuation without a beginning, or a message within a message")]
    Fragmentation,
}

impl FrameError {
    /// The status code (RFC 6455, 7.4.1).
    pub(super) const fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::NotMasked | Self::Reserved | Self::Control | Self::Length | Self::Fragmentation => 1002,
        }
    }
}

/// Takes the frames of a client apart where they lie: the payload of binary frames is unmasked in the read buffer and moved to
/// its front, so that nothing is kept between reads but a partial header or control frame.
///
/// Frames and messages have no meaning for MQTT [MQTT-6.0.0-2], so their length is no limit either: a frame of any length is
/// a stretch of the byte stream, and the limit on packets holds as it does on TCP.
#[derive(Default)]
pub(super) struct FrameReader {
    step: Step,
    /// Between the first and the last frame of a message.
    is_in_message: bool,
    /// The payload of the last ping that is not answered yet; answering the newest is enough (RFC 6455, 5.5.3).
    pub(super) ping: Option<Vec<u8>>,
    /// The payload of the close frame, when there was one; nothing after it counts.
    pub(super) close: Option<Vec<u8>>,
}

enum Step {
    Header { bytes: [u8; HEADER_LENGTH_MAX], have: u8 },
    Data { left: u64, mask: [u8; 4] },
    Control { opcode: Opcode, left: u8, mask: [u8; 4], payload: Vec<u8> },
}

struct Header {
    opcode: Opcode,
    is_final: bool,
    length: u64,
    mask: [u8; 4],
}

impl Default for Step {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER_LENGTH_MAX], have: 0 }
    }
}

impl FrameReader {
    /// Takes in `raw`, the next bytes from the client, and returns how many bytes of MQTT are now at its front, and the error
    /// that comes after them.
    pub(super) fn unwrap(&mut self, raw: &mut [u8]) -> (usize, Result<(), FrameError>) {
        let (mut at, mut data) = (0, 0);
        while at < raw.len() && self.close.is_none() {
            match &mut self.step {
                Step::Header { bytes, have } => {
                    bytes[usize::from(*have)] = raw[at];
                    *have += 1;
                    at += 1;
                    match parse_header(&bytes[..usize::from(*have)]).and_then(|header| self.begin(header)) {
                        Ok(()) => {}
                        Err(error) => return (data, Err(error)),
                    }
                }
                Step::Data { left, mask } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len() - at);
                    raw.copy_within(at..at + length, data);
                    *mask = unmask(&mut raw[data..data + length], *mask);
                    *left -= length as u64;
                    if *left == 0 {
                        self.step = Step::default();
                    }
                    at += length;
                    data += length;
                }
                Step::Control { left, mask, payload, .. } => {
                    let length = usize::from(*left).min(raw.len() - at);
                    *mask = unmask(&mut raw[at..at + length], *mask);
                    payload.extend_from_slice(&raw[at..at + length]);
                    *left -= length as u8;
                    at += length;
                    self.end_control();
                }
            }
        }
        (data, Ok(()))
    }

    /// Goes on to the payload, once the header is whole.
    fn begin(&mut self, header: Option<Header>) -> Result<(), FrameError> {
        let Some(Header { opcode, is_final, length, mask }) = header else { return Ok(()) };
        match opcode {
            Opcode::Text => return Err(FrameError::Text),
            Opcode::Binary | Opcode::Continuation => {
                if self.is_in_message != (opcode == Opcode::Continuation) {
                    return Err(FrameError::Fragmentation);
                }
                self.is_in_message = !is_final;
                self.step = if length == 0 { Step::default() } else { Step::Data { left: length, mask } };
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                let left = u8::try_from(length).map_err(|_| FrameError::Control)?;
                self.step = Step::Control { opcode, left, mask, payload: Vec::with_capacity(usize::from(left)) };
                self.end_control();
            }
        }
        Ok(())
    }

    /// Keeps a control frame, once it is whole.
    fn end_control(&mut self) {
        if !matches!(self.step, Step::Control { left: 0, .. }) {
            return;
        }
        let Step::Control { opcode, payload, .. } = std::mem::take(&mut self.step) else { return };
        match opcode {
            Opcode::Ping => self.ping = Some(payload),
            Opcode::Close => self.close = Some(payload),
            // A pong that nobody asked for is as good as silence (RFC 6455, 5.5.3).
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }
}

/// The header, when all of it is there; a wrong one is refused with the byte that makes it wrong.
fn parse_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let (opcode, is_final) = parse_opcode(bytes[0])?;
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let short = usize::from(second & 0x7F);
    let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
    if is_control && (!is_final || short > CONTROL_LENGTH_MAX) {
        return Err(FrameError::Control);
    }
    let length_end = match short {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    if bytes.len() < length_end {
        return Ok(None);
    }
    let long = bytes[2..length_end].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    let (length, fewest) = match short {
        126 => (long, 126..=0xFFFF),
        127 => (long, 0x1_0000..=u64::MAX >> 1),
        _ => (short as u64, 0..=125),
    };
    if !fewest.contains(&length) {
        return Err(FrameError::Length);
    }
    let Ok(mask) = <[u8; 4]>::try_from(&bytes[length_end..]) else { return Ok(None) };
    Ok(Some(Header { opcode, is_final, length, mask }))
}

fn parse_opcode(first: u8) -> Result<(Opcode, bool), FrameError> {
    let opcode = match first & 0x7F {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        _ => return Err(FrameError::Reserved),
    };
    Ok((opcode, first & 0x80 != 0))
}

/// Unmasks `bytes` and returns the mask as it stands for the byte after them.
fn unmask(bytes: &mut [u8], mut mask: [u8; 4]) -> [u8; 4] {
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, mask) in word.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    let rest = words.into_remainder();
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    mask.rotate_left(rest.len());
    mask
}

/// The header of a frame that we send, whole and not masked, and the bytes that it takes.
pub(super) fn own_header(opcode: Opcode, length: usize) -> ([u8; OWN_HEADER_LENGTH_MAX], usize) {
    let code = match opcode {
        Opcode::Continuation => 0x0,
        Opcode::Text => 0x1,
        Opcode::Binary => 0x2,
        Opcode::Close => 0x8,
        Opcode::Ping => 0x9,
        Opcode::Pong => 0xA,
    };
    let mut header = [0; OWN_HEADER_LENGTH_MAX];
    header[0] = 0x80 | code;
    let end = match length {
        0..=125 => {
            header[1] = length as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    (header, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let (header, end) = own_header(Opcode::Binary, payload.len());
        let masked = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]);
        let mut bytes = header[..end].to_vec();
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend(mask);
        bytes.extend(masked);
        bytes
    }

    fn unwrap_all(reader: &mut FrameReader, bytes: &[u8], piece: usize) -> Result<Vec<u8>, FrameError> {
        let mut data = Vec::new();
        for raw in bytes.chunks(piece) {
            let mut raw = raw.to_vec();
            let (length, end) = reader.unwrap(&mut raw);
            data.extend(&raw[..length]);
            end?;
        }
        Ok(data)
    }

    #[test]
    fn frames_come_apart_however_they_are_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| (n % 255) as u8).collect();
        let bytes = [
            frame(0x82, b"one"),
            frame(0x02, b"two "),
            frame(0x89, b"are you there"),
            frame(0x00, b""),
            frame(0x80, b"three"),
            frame(0x8A, b"unasked"),
            frame(0x82, b""),
            frame(0x82, &long[..200]),
            frame(0x82, &long),
        ]
        .concat();
        let expected = [b"onetwo three", &long[..200], &long].concat();
        for piece in [1, 2, 3, 7, 64, 4096, 100_000] {
            let mut reader = FrameReader::default();
            assert!(unwrap_all(&mut reader, &bytes, piece) == Ok(expected.clone()), "in pieces of {piece}");
            assert_eq!(reader.ping.as_deref(), Some(&b"are you there"[..]));
            assert_eq!(reader.close, None);
        }
    }

    #[test]
    fn what_comes_before_a_bad_frame_is_still_read() {
        let mut raw = [frame(0x82, b"good"), frame(0x81, b"text")].concat();
        let (length, end) = FrameReader::default().unwrap(&mut raw);
        assert_eq!((&raw[..length], end), (&b"good"[..], Err(FrameError::Text)));
    }

    #[test]
    fn each_broken_rule_fails_the_connection_with_its_code() {
        let unmasked = vec![0x82, 0x01, 0];
        let cases = [
            (frame(0x81, b"text"), FrameError::Text, 1003),
            (frame(0x01, b"text"), FrameError::Text, 1003),
            (unmasked, FrameError::NotMasked, 1002),
            (frame(0xC2, b""), FrameError::Reserved, 1002),
            (frame(0x83, b""), FrameError::Reserved, 1002),
            (frame(0x8B, b""), FrameError::Reserved, 1002),
            (frame(0x09, b"ping"), FrameError::Control, 1002),
            (frame(0x89, &[0; 126]), FrameError::Control, 1002),
            (frame(0x80, b"continued"), FrameError::Fragmentation, 1002),
            ([frame(0x02, b"a"), frame(0x82, b"b")].concat(), FrameError::Fragmentation, 1002),
            (vec![0x82, 0xFE, 0, 125], FrameError::Length, 1002),
            (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], FrameError::Length, 1002),
            (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameError::Length, 1002),
        ];
        for (bytes, error, code) in cases {
            for piece in [1, 1000] {
                assert_eq!(unwrap_all(&mut FrameReader::default(), &bytes, piece), Err(error), "{bytes:02x?}");
            }
            assert_eq!(error.close_code(), code);
        }
    }

    #[test]
    fn nothing_counts_after_a_close_frame() {
        let bytes = [frame(0x82, b"x"), frame(0x88, &[0x03, 0xE8]), frame(0x82, b"late"), vec![0xFF]].concat();
        let mut reader = FrameReader::default();
        assert_eq!(unwrap_all(&mut reader, &bytes, 5), Ok(b"x".to_vec()));
        assert_eq!(reader.close.as_deref(), Some(&[0x03, 0xE8][..]));
    }

    #[test]
    fn a_frame_of_any_announced_length_costs_no_memory() {
        let mut huge = vec![0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
        huge.extend(b"begin");
        let mut reader = FrameReader::default();
        assert_eq!(unwrap_all(&mut reader, &huge, 100), Ok(b"begin".to_vec()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
            if let Ok(data) = unwrap_all(&mut FrameReader::default(), &bytes, piece) {
                prop_assert!(data.len() <= bytes.len());
            }
        }

        #[test]
        fn a_split_stream_reads_back_as_it_was(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20), piece in 1..500_usize) {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| frame(0x82, part)).collect();
            prop_assert_eq!(unwrap_all(&mut FrameReader::default(), &bytes, piece).unwrap(), parts.concat());
        }
    }
}
