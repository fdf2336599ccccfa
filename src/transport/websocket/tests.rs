use std::future::poll_fn;
use std::io::{self, IoSlice};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;
use crate::transport::Wire;

type Client = WebSocketStream<DuplexStream>;

fn rules() -> HandshakeRules {
    HandshakeRules { path: "/mqtt".into(), allowed_origins: vec!["https://example.org".into()] }
}

/// Both ends after a handshake that nothing is left of.
async fn pair(room: usize) -> (WebSocketWire<DuplexStream>, Client) {
    let (server, client) = duplex(room);
    (WebSocketWire::new(server), Client::from_raw_socket(client, Role::Client, None).await)
}

async fn read(wire: &mut WebSocketWire<DuplexStream>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    let length = poll_fn(|cx| wire.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Connects with these headers, and returns the subprotocol or the status that came back.
async fn connect(path: &str, headers: &[(&'static str, &str)]) -> Result<String, u16> {
    let (mut server, client) = duplex(4096);
    let accepting = tokio::spawn(async move { accept(&mut server, &rules()).await.map(|()| server) });
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let answer = tokio_tungstenite::client_async(request, client).await;
    let accepted = accepting.await.unwrap();
    match answer {
        Ok((_, response)) => {
            accepted.unwrap();
            Ok(response.headers()["sec-websocket-protocol"].to_str().unwrap().into())
        }
        Err(Error::Http(response)) => {
            assert!(matches!(accepted, Err(HandshakeError::Refused { status, .. }) if status == response.status().as_u16()));
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_first_subprotocol_that_we_speak_is_chosen() {
    for (offers, chosen) in
        [("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("soap, mqttv3.1, mqtt", "mqttv3.1"), ("chat,mqtt", "mqtt")]
    {
        // The client refuses an answer with a subprotocol that it did not offer.
        assert_eq!(connect("/mqtt", &[("sec-websocket-protocol", offers)]).await.as_deref(), Ok(chosen));
    }
}

#[tokio::test]
async fn requests_for_something_else_are_told_so() {
    let mqtt = ("sec-websocket-protocol", "mqtt");
    assert_eq!(connect("/other", &[mqtt]).await, Err(404));
    assert_eq!(connect("/mqtt/", &[mqtt]).await, Err(404));
    assert_eq!(connect("/mqtt", &[]).await, Err(400));
    assert_eq!(connect("/mqtt", &[("sec-websocket-protocol", "MQTT-SN, soap")]).await, Err(400));
    assert_eq!(connect("/mqtt", &[mqtt, ("origin", "https://evil.example")]).await, Err(403));
    let both = [mqtt, ("origin", "https://example.org"), ("origin", "https://evil.example")];
    assert_eq!(connect("/mqtt", &both).await, Err(403));
    assert_eq!(connect("/mqtt?token=1", &[mqtt, ("origin", "https://Example.org")]).await.as_deref(), Ok("mqtt"));
}

#[tokio::test]
async fn a_request_that_is_no_websocket_gets_an_answer_in_http() {
    for (request, status) in [
        ("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 "),
        ("POST /mqtt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400 "),
        ("\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", "HTTP/1.1 400 "),
    ] {
        let (mut server, mut client) = duplex(4096);
        client.write_all(request.as_bytes()).await.unwrap();
        let refused = accept(&mut server, &rules()).await;
        assert!(matches!(refused, Err(HandshakeError::NotWebSocket(_))), "{refused:?}");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.contains("MQTT over WebSocket is spoken here"), "{answer}");
    }
}

#[tokio::test]
async fn bytes_flow_both_ways_however_they_are_framed() {
    let (mut wire, mut client) = pair(100_000).await;
    for part in [&b"\x10"[..], b"\x0c\0\x04MQ", b"", b"TT\x05"] {
        client.send(Message::binary(part.to_vec())).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < 9 {
        received.extend(read(&mut wire).await.unwrap());
    }
    assert_eq!(received, b"\x10\x0c\0\x04MQTT\x05");
    let slices = [IoSlice::new(b"\x20\x02"), IoSlice::new(b""), IoSlice::new(b"\0\0")];
    assert_eq!(poll_fn(|cx| wire.poll_write(cx, &slices)).await.unwrap(), 4);
    poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&b"\x20\x02\0\0"[..]));
}

#[tokio::test]
async fn a_large_write_goes_out_in_bounded_messages_and_whole() {
    let (mut wire, mut client) = pair(1000).await;
    let sent: Vec<u8> = (0..500_000_u32).map(|n| (n % 253) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        let mut done = 0;
        while done < sent.len() {
            let middle = (done + 777).min(sent.len());
            let slices = [IoSlice::new(&sent[done..middle]), IoSlice::new(&sent[middle..])];
            done += poll_fn(|cx| wire.poll_write(cx, &slices)).await.unwrap();
        }
        poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
        poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
    });
    let mut received = Vec::new();
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Binary(part) => {
                assert!(part.len() <= 64 * 1024);
                received.extend(part);
            }
            Message::Close(frame) => break assert_eq!(frame.unwrap().code, CloseCode::Normal),
            other => panic!("{other:?}"),
        }
    }
    assert!(received == expected);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_text_frame_closes_with_1003() {
    let (mut wire, mut client) = pair(4096).await;
    client.send(Message::text("hello")).await.unwrap();
    let error = read(&mut wire).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
    let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else { panic!("no close frame") };
    assert_eq!(frame.code, CloseCode::Unsupported);
}

#[tokio::test]
async fn a_ping_is_answered_while_reading_and_a_flood_of_them_is_not_hoarded() {
    let (mut wire, mut client) = pair(100_000).await;
    for number in 0..1000_u32 {
        client.feed(Message::Ping(number.to_be_bytes().to_vec().into())).await.unwrap();
    }
    client.send(Message::binary(&b"end"[..])).await.unwrap();
    assert_eq!(read(&mut wire).await.unwrap(), b"end");
    let mut last = None;
    while last.as_deref() != Some(&999_u32.to_be_bytes()[..]) {
        let Message::Pong(payload) = client.next().await.unwrap().unwrap() else { panic!("no pong") };
        last = Some(payload.to_vec());
    }
}

#[tokio::test]
async fn a_pong_is_not_put_into_the_middle_of_a_message() {
    let (mut wire, mut client) = pair(64).await;
    let message = [7; 500];
    let accepted = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(&message)])).await.unwrap();
    assert_eq!(accepted, 500, "accepted whole, though the peer has taken 64 bytes");
    client.send(Message::Ping(vec![1].into())).await.unwrap();
    let pumping = tokio::spawn(async move { read(&mut wire).await });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(message.to_vec()));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(vec![1].into()));
    drop(client);
    assert_eq!(pumping.await.unwrap().unwrap(), b"");
}

#[tokio::test]
async fn a_close_frame_is_answered_and_ends_the_stream() {
    let (mut wire, mut client) = pair(4096).await;
    let frame = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    client.send(Message::Close(Some(frame))).await.unwrap();
    assert_eq!(read(&mut wire).await.unwrap(), b"");
    let Message::Close(Some(answer)) = client.next().await.unwrap().unwrap() else { panic!("no close frame") };
    assert_eq!(answer.code, CloseCode::Away);
    let late = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(b"x")])).await;
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
    assert!(client.next().await.is_none(), "one close frame is enough");
}

#[tokio::test]
async fn a_peer_that_is_gone_without_closing_ends_the_stream() {
    let (mut wire, client) = pair(4096).await;
    drop(client);
    assert_eq!(read(&mut wire).await.unwrap(), b"");
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut wire, mut client) = pair(4096).await;
    client.send(Message::binary(vec![1; 800])).await.unwrap();
    read(&mut wire).await.unwrap();
    poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(&[2; 3000])])).await.unwrap();
    assert_eq!(wire.held_back_capacity(), 0);
    assert!(size_of::<WebSocketWire<()>>() < 256);
}
