use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::transport::{DirectWrite, Wire};

/// MQTT straight over TCP.
pub struct TcpWire(Arc<TcpStream>);

/// MQTT straight over a Unix socket.
pub struct UnixWire(Arc<UnixStream>);

/// tokio's two stream types have the same methods by name, but no trait for them.
///
/// **Reading costs one system call a wake.** The sockets are registered edge-triggered, so a read that does not fill the
/// buffer has drained the socket, and the readiness is cleared right there instead of by a second read that finds nothing.
/// Nothing can be lost: `try_io` notes the readiness event *before* the read and clears that event only, so what arrives
/// after the read is a newer event, which stays. The end of the stream and errors are readiness that clearing leaves standing,
/// so a FIN that came with the last bytes is found by the next poll.
macro_rules! plain_wire {
    ($wire:ident, $stream:ident) => {
        impl $wire {
            pub fn new(stream: $stream) -> Self {
                Self(Arc::new(stream))
            }
        }

        impl Wire for $wire {
            fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                let socket = &*self.0;
                loop {
                    ready!(socket.poll_read_ready(cx))?;
                    let mut short = 0;
                    let read = socket.try_io(Interest::READABLE, || match socket.try_read(buffer)? {
                        n if 0 < n && n < buffer.len() => {
                            short = n;
                            Err(io::ErrorKind::WouldBlock.into())
                        }
                        n => Ok(n),
                    });
                    match read {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock && short > 0 => return Poll::Ready(Ok(short)),
                        Err(error) if is_passing(&error) => {}
                        read => return Poll::Ready(read),
                    }
                }
            }

            fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
                loop {
                    match self.0.try_write_vectored(slices) {
                        Err(error) if is_passing(&error) => ready!(self.0.poll_write_ready(cx))?,
                        written => return Poll::Ready(written),
                    }
                }
            }

            fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(match SockRef::from(&*self.0).shutdown(Shutdown::Write) {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    done => done,
                })
            }

            fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
                Some(self.0.clone())
            }
        }

        impl DirectWrite for $stream {
            fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                self.try_write_vectored(slices)
            }
        }
    };
}

plain_wire!(TcpWire, TcpStream);
plain_wire!(UnixWire, UnixStream);

/// Whether the call is to be tried again, after waiting for readiness.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn tcp_pair() -> (TcpWire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (TcpWire::new(listener.accept().await.unwrap().0), client)
    }

    async fn read(wire: &mut impl Wire, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| wire.poll_read(cx, buffer)).await
    }

    #[tokio::test]
    async fn a_short_read_leaves_the_socket_unready_until_more_comes() {
        let (mut wire, mut client) = tcp_pair().await;
        let mut buffer = [0; 64];
        client.write_all(b"one").await.unwrap();
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 3);
        let stale = wire.0.try_io(Interest::READABLE, || Ok(()));
        assert_eq!(stale.unwrap_err().kind(), io::ErrorKind::WouldBlock, "the readiness is cleared without a second read");
        let waiting = wire.poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        assert!(waiting.is_pending());
        client.write_all(b"three").await.unwrap();
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"three");
    }

    #[tokio::test]
    async fn a_full_buffer_is_followed_by_the_rest() {
        let (mut wire, mut client) = tcp_pair().await;
        client.write_all(b"abcdefgh").await.unwrap();
        let mut buffer = [0; 4];
        for expected in [b"abcd", b"efgh"] {
            let mut have = 0;
            while have < 4 {
                have += read(&mut wire, &mut buffer[have..]).await.unwrap();
            }
            assert_eq!(&buffer, expected);
        }
    }

    #[tokio::test]
    async fn the_end_that_comes_with_the_last_bytes_is_seen() {
        let (mut wire, mut client) = tcp_pair().await;
        client.write_all(b"last").await.unwrap();
        drop(client);
        let mut buffer = [0; 64];
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 4);
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 0);
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 0, "and stays seen");
    }

    #[tokio::test]
    async fn a_reset_is_an_error_or_an_end_but_never_a_hang() {
        let (mut wire, client) = tcp_pair().await;
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        let error = read(&mut wire, &mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn every_byte_arrives_in_order_though_the_reader_is_slow() {
        let (mut wire, mut client) = tcp_pair().await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            let mut done = 0;
            while done < sent.len() {
                let middle = (done + 10_000).min(sent.len());
                let slices = [IoSlice::new(&sent[done..middle]), IoSlice::new(&sent[middle..])];
                done += poll_fn(|cx| wire.poll_write(cx, &slices)).await.unwrap();
            }
            poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
            wire
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn another_task_writes_directly_until_the_peer_takes_no_more() {
        let (wire, mut client) = tcp_pair().await;
        let direct = wire.direct().unwrap();
        assert_eq!(direct.try_write(&[IoSlice::new(b"hel"), IoSlice::new(b"lo")]).unwrap(), 5);
        let mut five = [0; 5];
        client.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"hello");
        let block = vec![0; 1 << 20];
        let full = loop {
            if let Err(error) = direct.try_write(&[IoSlice::new(&block)]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_unix_socket_reads_writes_and_ends_alike() {
        let (server, mut client) = UnixStream::pair().unwrap();
        let mut wire = UnixWire::new(server);
        client.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 4);
        assert_eq!(wire.direct().unwrap().try_write(&[IoSlice::new(b"pong")]).unwrap(), 4);
        poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"pong");
        drop(client);
        assert_eq!(read(&mut wire, &mut buffer).await.unwrap(), 0);
    }
}
