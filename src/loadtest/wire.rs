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
    /// Perhaps there is more than the buffer held.
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
        let count = self.stream.read(buffer)?;
        let more = count == buffer.len();
        match &mut self.websocket {
            Some(websocket) if count > 0 => Ok(Got { count: websocket.unwrap(&mut buffer[..count])?, more }),
            _ => Ok(Got { count, more }),
        }
    }

    /// Takes bytes; fewer than given means that the rest must wait until the connection can be written to.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.websocket {
            Some(websocket) => Ok(websocket.wrap(bytes)),
            None => self.stream.write(bytes),
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
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
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
fn receive(socket: &mut TcpStream, connection: &mut ClientConnection, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        match connection.reader().read(&mut buffer[filled..]) {
            Ok(0) if filled < buffer.len() => return Ok(filled),
            Ok(count) => filled += count,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
        if filled == buffer.len() {
            return Ok(filled);
        }
        match connection.read_tls(socket) {
            Ok(0) => return Ok(filled),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && filled > 0 => return Ok(filled),
            Err(error) => return Err(error),
        }
        connection.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        match send(socket, connection) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
}
