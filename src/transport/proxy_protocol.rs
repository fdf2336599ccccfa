use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest version 1 line, CRLF included (PROXY protocol specification, 2.1).
const V1_LENGTH_MAX: usize = 107;

/// The first bytes of version 2 (2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const V2_FIXED_LENGTH: usize = 16;

/// Addresses and TLVs of version 2: the protocol allows 64 KiB, proxies in the field send some hundred bytes.
const V2_REST_LENGTH_MAX: usize = 4096;

/// Both versions are longer than this, so that a first read of it takes nothing of what follows the header.
const FIRST_READ: usize = 12;

/// What the proxy says about the connection that it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client's address. None where the proxy speaks for itself (`LOCAL`, a health check), does not know (`UNKNOWN`) or
    /// got the connection over a Unix socket: then the connection's own address stands.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to.
    pub destination: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header, and the bytes that it takes; MQTT, TLS or HTTP begin after it.
    Complete(Header, usize),
    /// At least so many more bytes belong to the header.
    Needs(usize),
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MalformedHeader {
    #[error("no PROXY protocol header in front of the connection")]
    Missing,
    #[error("PROXY protocol version 1 line longer than 107 bytes")]
    LineTooLong,
    #[error("malformed PROXY protocol version 1 line")]
    Line,
    #[error("PROXY protocol version 2 with unknown version or command {0:#04x}")]
    Command(u8),
    #[error("PROXY protocol version 2 with unknown address family or protocol {0:#04x}")]
    Family(u8),
    #[error("PROXY protocol version 2 with {0} bytes of addresses and TLVs")]
    Length(usize),
}

/// Parses a PROXY protocol header, version 1 or 2, at the start of `bytes`. The TLVs of version 2 are passed over.
pub fn parse(bytes: &[u8]) -> Result<Progress, MalformedHeader> {
    let first = bytes.len().min(FIRST_READ);
    if bytes[..first] == V2_SIGNATURE[..first] {
        return if first == FIRST_READ { parse_v2(bytes) } else { Ok(Progress::Needs(FIRST_READ - first)) };
    }
    let word = b"PROXY ";
    let first = bytes.len().min(word.len());
    if bytes[..first] != word[..first] {
        return Err(MalformedHeader::Missing);
    }
    parse_v1(bytes)
}

/// Reads the header from `stream`, and not one byte more. The caller bounds the time.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(V1_LENGTH_MAX);
    loop {
        match parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Progress::Complete(header, _) => return Ok(header),
            Progress::Needs(more) => {
                let have = bytes.len();
                bytes.resize(have + more, 0);
                stream.read_exact(&mut bytes[have..]).await?;
            }
        }
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Progress, MalformedHeader> {
    let searched = &bytes[..bytes.len().min(V1_LENGTH_MAX)];
    let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() {
            V1_LENGTH_MAX.. => Err(MalformedHeader::LineTooLong),
            length @ FIRST_READ.. => Ok(Progress::Needs(if bytes[length - 1] == b'\r' { 1 } else { 2 })),
            length => Ok(Progress::Needs(FIRST_READ - length)),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(MalformedHeader::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| MalformedHeader::Line)?;
    let fields = line.strip_prefix("PROXY ").ok_or(MalformedHeader::Line)?;
    parse_v1_fields(fields).map(|header| Progress::Complete(header, end + 1)).ok_or(MalformedHeader::Line)
}

fn parse_v1_fields(fields: &str) -> Option<Header> {
    let mut fields = fields.split(' ');
    let family = fields.next()?;
    if family == "UNKNOWN" {
        // "The receiver must ignore anything presented before the CRLF" (2.1).
        return Some(Header { source: None, destination: None });
    }
    let (source, destination) = (fields.next()?, fields.next()?);
    let (source_port, destination_port) = (port(fields.next()?)?, port(fields.next()?)?);
    if fields.next().is_some() {
        return None;
    }
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return None,
    };
    Some(Header {
        source: Some(SocketAddr::new(source, source_port)),
        destination: Some(SocketAddr::new(destination, destination_port)),
    })
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// Decimal without sign or leading zeros (2.1).
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Progress, MalformedHeader> {
    if bytes.len() < V2_FIXED_LENGTH {
        return Ok(Progress::Needs(V2_FIXED_LENGTH - bytes.len()));
    }
    let (command, family) = (bytes[12], bytes[13]);
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(MalformedHeader::Command(command)),
    };
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if rest > V2_REST_LENGTH_MAX || (!is_local && rest < v2_address_length(family)?) {
        return Err(MalformedHeader::Length(rest));
    }
    let length = V2_FIXED_LENGTH + rest;
    if bytes.len() < length {
        return Ok(Progress::Needs(length - bytes.len()));
    }
    let (source, destination) = if is_local { (None, None) } else { v2_addresses(family, &bytes[V2_FIXED_LENGTH..length]) };
    Ok(Progress::Complete(Header { source, destination }, length))
}

/// The bytes that the addresses of a family take; only streams, since no door takes datagrams.
fn v2_address_length(family: u8) -> Result<usize, MalformedHeader> {
    match family {
        0x00 => Ok(0),
        0x11 => Ok(12),
        0x21 => Ok(36),
        0x31 => Ok(216),
        _ => Err(MalformedHeader::Family(family)),
    }
}

fn v2_addresses(family: u8, rest: &[u8]) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match family {
        0x11 => {
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&rest[at..at + 4]).expect("four bytes"));
            (Some(SocketAddr::from((address(0), port(8)))), Some(SocketAddr::from((address(4), port(10)))))
        }
        0x21 => {
            let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&rest[at..at + 16]).expect("sixteen bytes"));
            (Some(SocketAddr::from((address(0), port(32)))), Some(SocketAddr::from((address(16), port(34)))))
        }
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn source(bytes: &[u8]) -> Option<SocketAddr> {
        match parse(bytes).unwrap() {
            Progress::Complete(header, length) => {
                assert_eq!(length, bytes.len());
                header.source
            }
            Progress::Needs(more) => panic!("needs {more} more"),
        }
    }

    #[test]
    fn version_1_tells_the_client_of_both_families() {
        let four = source(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n");
        assert_eq!(four, Some("192.0.2.7:56324".parse().unwrap()));
        let six = source(b"PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n");
        assert_eq!(six, Some("[2001:db8::7]:65535".parse().unwrap()));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), None);
    }

    #[test]
    fn version_2_tells_the_client_of_each_family() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xDC, 4, 0x07, 0x5B];
        assert_eq!(source(&v2(0x21, 0x11, &four)), Some("192.0.2.7:56324".parse().unwrap()));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[32..34].copy_from_slice(&1000_u16.to_be_bytes());
        assert_eq!(source(&v2(0x21, 0x21, &six)), Some("[2001:db8::7]:1000".parse().unwrap()));
        assert_eq!(source(&v2(0x21, 0x31, &[0; 216])), None);
        assert_eq!(source(&v2(0x21, 0x00, &[])), None);
        assert_eq!(source(&v2(0x20, 0x00, &[])), None);
        assert_eq!(source(&v2(0x20, 0x11, &four)), None, "LOCAL: the proxy speaks for itself");
        let with_tlv = [&four[..], &[0x02, 0, 3, b'a', b'b', b'c']].concat();
        assert_eq!(source(&v2(0x21, 0x11, &with_tlv)), Some("192.0.2.7:56324".parse().unwrap()));
    }

    #[test]
    fn what_is_no_header_is_refused_as_early_as_it_shows() {
        use MalformedHeader::*;
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 93]].concat();
        let cases: [(&[u8], MalformedHeader); 16] = [
            (b"\x10\x0c\x00\x04MQTT", Missing),
            (b"GET /mqtt HTTP/1.1\r\n", Missing),
            (b"PROXX", Missing),
            (b"\r\n\r\n\0\r\nQUIT ", Missing),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\n", Line),
            (b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 1883\r\n", Line),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883 \r\n", Line),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 1883\r\n", Line),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 1883\r\n", Line),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 1883\r\n", Line),
            (b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", Line),
            (b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", Line),
            (b"PROXY \xff\xfe\r\n", Line),
            (&long, LineTooLong),
            (&v2(0x11, 0x11, &[0; 12]), Command(0x11)),
            (&v2(0x21, 0x12, &[0; 12]), Family(0x12)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), Err(expected), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 11])), Err(Length(11)));
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 4097])[..16]), Err(Length(4097)), "before its bytes are waited for");
    }

    #[tokio::test]
    async fn reading_takes_the_header_and_leaves_what_follows() {
        let four = v2(0x21, 0x11, &[0; 12]);
        for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", &four] {
            let bytes = [header, b"rest"].concat();
            let mut stream = &bytes[..];
            read(&mut stream).await.unwrap();
            assert_eq!(stream, b"rest");
        }
        let mut cut = &four[..20];
        assert_eq!(read(&mut cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    fn any_header() -> impl Strategy<Value = (Vec<u8>, Option<SocketAddr>)> {
        let v1 = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
            let ip = Ipv4Addr::from(ip);
            (format!("PROXY TCP4 {ip} 10.0.0.1 {port} 1883\r\n").into_bytes(), Some(SocketAddr::from((ip, port))))
        });
        let v1_six = (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| {
            let ip = Ipv6Addr::from(ip);
            (format!("PROXY TCP6 {ip} ::1 {port} 1883\r\n").into_bytes(), Some(SocketAddr::from((ip, port))))
        });
        let v2 = (any::<[u8; 12]>(), proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(addresses, tlv)| {
            let port = u16::from_be_bytes([addresses[8], addresses[9]]);
            let ip = Ipv4Addr::new(addresses[0], addresses[1], addresses[2], addresses[3]);
            (v2(0x21, 0x11, &[&addresses[..], &tlv].concat()), Some(SocketAddr::from((ip, port))))
        });
        prop_oneof![v1, v1_six, v2]
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic_and_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            match parse(&bytes) {
                Ok(Progress::Complete(_, length)) => prop_assert!(length <= bytes.len()),
                Ok(Progress::Needs(more)) => {
                    prop_assert!(more > 0 && bytes.len() + more <= V2_FIXED_LENGTH + V2_REST_LENGTH_MAX);
                }
                Err(_) => {}
            }
        }

        #[test]
        fn a_header_is_found_whole_and_every_prefix_asks_for_no_more_than_it((bytes, expected) in any_header(), after in any::<[u8; 8]>()) {
            let followed = [&bytes[..], &after].concat();
            let header = Header { source: expected, destination: None };
            match parse(&followed).unwrap() {
                Progress::Complete(found, length) => {
                    prop_assert_eq!(found.source, header.source);
                    prop_assert_eq!(length, bytes.len());
                }
                Progress::Needs(_) => prop_assert!(false, "a whole header needs more"),
            }
            for cut in 0..bytes.len() {
                match parse(&bytes[..cut]).unwrap() {
                    Progress::Needs(more) => prop_assert!(more > 0 && cut + more <= bytes.len()),
                    Progress::Complete(..) => prop_assert!(false, "complete at {cut} of {}", bytes.len()),
                }
            }
        }

        #[test]
        fn a_changed_header_never_panics((bytes, _) in any_header(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = bytes;
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = parse(&bytes);
        }
    }
}
