//! What goes on while somebody outside is asked about a client, or about a packet.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::auth::{
    Answering, Hook, Kind, LoginAnswer, LoginQuestion, Method, PasswordFile, RightAnswer, RightQuestion, Welcome, hash_password,
};
use crate::broker::login_flow::LoginState;

/// Allows all, once it is told to.
#[derive(Debug, Default)]
struct Outside {
    told: Arc<Notify>,
    asked: AtomicUsize,
}

impl Hook for Outside {
    fn authenticates(&self) -> bool {
        true
    }

    fn authorizes(&self) -> bool {
        true
    }

    fn memory(&self) -> (Duration, usize) {
        (Duration::from_secs(3600), 10)
    }

    fn authenticate(&self, _: LoginQuestion) -> Answering<LoginAnswer> {
        let told = self.told.clone();
        Box::pin(async move {
            told.notified().await;
            LoginAnswer::Allow(Welcome::default())
        })
    }

    fn authorize(&self, _: RightQuestion) -> Answering<RightAnswer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let told = self.told.clone();
        Box::pin(async move {
            told.notified().await;
            RightAnswer::Allow
        })
    }
}

fn read_rights(house: &House, outside: &Arc<Outside>) {
    let authorizer = Authorizer::new(None).with_others(false, Some(outside.clone()));
    house.door.rights.replace(Authenticator::new(true, None), authorizer);
}

/// Says what was asked for, and waits until the client has it.
async fn answer(house: &House, peer: &mut Peer, outside: &Outside) {
    outside.told.notify_one();
    while !peer.client.poll_login(&mut Context::from_waker(Waker::noop()), house.now) {
        tokio::task::yield_now().await;
    }
}

/// A publish that is asked about, with something done before the answer comes.
async fn ask(house: &House, peer: &mut Peer, outside: &Outside, meanwhile: impl FnOnce()) {
    let mut bytes = Vec::new();
    encode(&Packet::Publish(message("x", "", q1(1), false)), V5, &mut bytes);
    peer.send_bytes(house, &bytes);
    assert!(!peer.client.takes_bytes(), "somebody is asked");
    meanwhile();
    answer(house, peer, outside).await;
    peer.send_bytes(house, &bytes);
    assert_eq!(peer.receive(house), [Seen::Ack("puback", 1, 0x10)]);
}

const V5: ProtocolVersion = ProtocolVersion::V5;

/// 4.12.1: other packets flow meanwhile.
#[tokio::test]
async fn a_new_authentication_goes_on_when_somebody_was_asked_about_a_packet() {
    let (house, outside) = (House::new(), Arc::new(Outside::default()));
    read_rights(&house, &outside);
    let mut peer = house.client(V5, "c");
    let hash = hash_password(b"secret", Kind::ScramSha256).unwrap();
    let users = PasswordFile::parse(&format!("alice:{hash}\n")).unwrap();
    let scram = Authenticator::new(true, Some(Arc::new(users))).scram().unwrap();
    let (exchange, _) = scram.start(b"n,,n=alice,r=nonce").unwrap();
    peer.client.login = LoginState::Rechallenged(Box::new(exchange));
    ask(&house, &mut peer, &outside, || ()).await;
    assert!(matches!(peer.client.login, LoginState::Rechallenged(_)));
}

#[tokio::test]
async fn an_answer_from_before_rights_were_read_anew_is_not_kept() {
    let (house, outside) = (House::new(), Arc::new(Outside::default()));
    read_rights(&house, &outside);
    let mut peer = house.client(V5, "c");
    ask(&house, &mut peer, &outside, || {
        read_rights(&house, &outside);
        house.broker.recheck_rights(house.now);
    })
    .await;
    ask(&house, &mut peer, &outside, || ()).await;
    peer.publish(&house, "x", "", q1(1));
    assert_eq!(peer.receive(&house), [Seen::Ack("puback", 1, 0x10)]);
    assert_eq!(outside.asked.load(Ordering::Relaxed), 2);
}

/// Every certificate is revoked.
#[derive(Debug)]
struct All;

impl Revocations for All {
    fn contains(&self, _: &[u8]) -> bool {
        true
    }
}

/// Whoever looks for those to disconnect may look before the session is there.
#[tokio::test]
async fn a_certificate_that_is_revoked_while_its_client_is_looked_at_does_not_let_it_stay() {
    let (house, outside) = (House::new(), Arc::new(Outside::default()));
    house.door.rights.replace(Authenticator::of(vec![Method::Hook(outside.clone())]), Authorizer::new(None));
    let mut peer = house.dial(V5);
    peer.client.origin.certificate = Some(Box::new(Certificate { identity: None, der: b"DER"[..].into(), is_nameless: false }));
    peer.send(&house, &Packet::Connect(Connect { client_id: "c", ..connect(V5) }));
    house.door.revoked.store(Some(Arc::new(Box::new(All))));
    answer(&house, &mut peer, &outside).await;
    assert_eq!(peer.receive(&house), [Seen::ConnAck { present: false, reason: 0 }, Seen::Disconnect(0x87)]);
    let mut late = house.dial(V5);
    late.client.origin.certificate = peer.client.origin.certificate.clone();
    late.send(&house, &Packet::Connect(Connect { client_id: "d", ..connect(V5) }));
    assert_eq!(late.receive(&house), [Seen::ConnAck { present: false, reason: 0x87 }]);
}
