//! The connection of one client: TCP, or TLS over it; neither ever waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Socket, Type};

use super::websocket::WebSocket;

#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    websocket: Option<Box<WebSocket>>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Got {
    /// 0 is the end.
    pub(super) count: usize,
    /// Perhaps there is more than the buffer held; or the end is there already, behind what was read, and nothing will tell of it.
    pub(super) more: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<(TcpStream, ClientConnection)>),
}

/// Begins a connection; whether it comes about is known when it can be written to.
pub(super) fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream, tls: Option<&Arc<ClientConfig>>, host: &str) -> Result<Self, String> {
        let Some(config) = tls else { return Ok(Self { stream: Stream::Plain(stream), websocket: None }) };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host:?} is no name for TLS: {error}"))?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
        connection.set_buffer_limit(None);
        Ok(Self { stream: Stream::Tls(Box::new((stream, connection))), websocket: None })
    }

    /// The same with WebSocket over it.
    pub(super) fn with_websocket(self, host: &str, path: &str) -> Self {
        Self { websocket: Some(Box::new(WebSocket::new(host, path))), ..self }
    }

    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        match &mut self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(both) => &mut both.0,
        }
    }

    /// Fills the buffer as far as bytes are there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        if self.is_closed() {
            return Ok(Got { count: 0, more: false });
        }
        let got = self.stream.read(buffer)?;
        match &mut self.websocket {
            Some(websocket) if got.count > 0 => match websocket.unwrap(&mut buffer[..got.count]) {
                Ok(count) => Ok(Got { count, more: got.more || websocket.is_closed() }),
                // Nothing of MQTT's was in it, and what is behind it is to be read without waiting.
                Err(error) if error.kind() == ErrorKind::WouldBlock && got.more => Err(ErrorKind::Interrupted.into()),
                Err(error) => Err(error),
            },
            _ => Ok(got),
        }
    }

    /// The broker has said goodbye, and whether it closes the socket does not matter.
    fn is_closed(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.is_closed())
    }

    /// Takes bytes; fewer than given means that the rest must wait until the connection can be written to.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(websocket) = &mut self.websocket else { return self.stream.write(bytes) };
        // First what has been taken: if nothing of it must wait, no event would tell that there is room again.
        match websocket.send(|bytes| self.stream.write(bytes)) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(websocket.wrap(bytes)),
        }
    }

    /// Sends what was taken and not sent yet; an error of `WouldBlock` if that must wait.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            websocket.send(|bytes| self.stream.write(bytes))?;
        }
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(both) => send(&mut both.0, &mut both.1),
        }
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        match self {
            Self::Plain(socket) => {
                let count = socket.read(buffer)?;
                Ok(Got { count, more: count == buffer.len() })
            }
            Self::Tls(both) => receive(&mut both.0, &mut both.1, buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(both) => {
                let (socket, connection) = &mut **both;
                send(socket, connection)?;
                let taken = connection.writer().write(bytes)?;
                match send(socket, connection) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                    Ok(()) | Err(_) => Ok(taken),
                }
            }
        }
    }
}

fn send(socket: &mut TcpStream, connection: &mut ClientConnection) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(socket)?;
    }
    Ok(())
}

/// Reads and decrypts until the buffer is full or nothing more is there.
fn receive(socket: &mut TcpStream, connection: &mut ClientConnection, buffer: &mut [u8]) -> io::Result<Got> {
    let mut filled = 0;
    loop {
        match connection.reader().read(&mut buffer[filled..]) {
            Ok(0) => return Ok(Got { count: filled, more: true }),
            Ok(count) => filled += count,
            // It closed the socket without a goodbye of TLS, which many do.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Got { count: filled, more: true }),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
        if filled == buffer.len() {
            return Ok(Got { count: filled, more: true });
        }
        match connection.read_tls(socket) {
            // What was read before is handled first; the end is found again.
            Ok(0) => return Ok(Got { count: filled, more: true }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && filled > 0 => {
                return Ok(Got { count: filled, more: false });
            }
            Err(error) => return Err(error),
        }
        connection.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        match send(socket, connection) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_waits_in_a_websocket_goes_before_more_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = open(listener.local_addr().unwrap(), None).unwrap();
        let mut wire = Wire::new(stream, None, "h").unwrap().with_websocket("h", "/");
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x01!").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !wire.read(&mut [0; 1024]).is_ok_and(|got| got.count == 1) {
            assert!(Instant::now() < deadline, "the answer and a frame come");
            thread::sleep(Duration::from_millis(1));
        }
        while wire.write(&[0; 1 << 18]).unwrap() > 0 {}
        let reader = thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
        while wire.write(b"more").unwrap() == 0 {
            assert!(Instant::now() < deadline, "there is room once the other side has read");
            thread::sleep(Duration::from_millis(1));
        }
        drop(wire);
        assert!(reader.join().unwrap().unwrap() > 1 << 20);
    }
}
