use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::transport::config::{CertificateAndKey, ClientCertificates};
use crate::transport::{TlsConfig, Wire};

/// An authority, and a folder for what it issues.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

struct Issued {
    files: CertificateAndKey,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { folder: tempfile::tempdir().unwrap(), issuer };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn issue(&self, name: &str, serial: u64) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateAndKey {
            certificate: self.write(&format!("{serial}.pem"), &certificate.pem()),
            key: self.write(&format!("{serial}.key"), &key.serialize_pem()),
        };
        Issued { files, chain: vec![certificate.der().clone()], key: key.serialize_der().try_into().unwrap() }
    }

    fn revoke(&self, serials: &[u64]) -> PathBuf {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2050, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("crl.pem", &params.signed_by(&self.issuer).unwrap().pem().unwrap())
    }

    fn client(&self, identity: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            Some(issued) => client.with_client_auth_cert(issued.chain.clone(), issued.key.clone_key()).unwrap(),
            None => client.with_no_client_auth(),
        }
    }
}

fn config(server: &Issued) -> TlsConfig {
    TlsConfig {
        certificate: server.files.certificate.clone(),
        key: server.files.key.clone(),
        more: Vec::new(),
        client_ca: None,
        client_certificates: ClientCertificates::None,
        crl: Vec::new(),
        identity: Default::default(),
        min_version: "1.2".into(),
    }
}

type Ends = (TlsWire<DuplexStream>, ClientStream<DuplexStream>);

/// A handshake, both sides of it; the client's side fails when either does.
async fn connect(slot: &Arc<TlsAcceptorSlot>, client: &Arc<ClientConfig>, name: &str) -> io::Result<Ends> {
    let (server_end, client_end) = duplex(100_000);
    let slot = slot.clone();
    let accepting = tokio::spawn(async move { slot.accept(server_end).await });
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = TlsConnector::from(client.clone()).connect(name, client_end).await?;
    let mut wire = TlsWire::new(accepting.await.unwrap()?);
    // In TLS 1.3 the client is done before the server has judged its certificate, and tickets come with the first bytes.
    assert_eq!(poll_fn(|cx| wire.poll_write(cx, &[io::IoSlice::new(b"hi")])).await?, 2);
    poll_fn(|cx| wire.poll_flush(cx)).await?;
    client.read_exact(&mut [0; 2]).await?;
    Ok((wire, client))
}

fn slot(config: &TlsConfig) -> Arc<TlsAcceptorSlot> {
    Arc::new(TlsAcceptorSlot::new(config, b"mqtt").unwrap())
}

#[tokio::test]
async fn bytes_flow_both_ways_and_the_end_is_told() {
    let authority = Authority::new();
    let slot = slot(&config(&authority.issue("localhost", 1)));
    let (mut wire, mut client) = connect(&slot, &Arc::new(authority.client(None)), "localhost").await.unwrap();
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 241) as u8).collect();
    let expected = sent.clone();
    let echo = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.flush().await.unwrap();
        let mut back = vec![0; sent.len()];
        client.read_exact(&mut back).await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        (back, rest)
    });
    let mut received = vec![0; expected.len()];
    let mut have = 0;
    while have < received.len() {
        have += poll_fn(|cx| wire.poll_read(cx, &mut received[have..])).await.unwrap();
    }
    let mut done = 0;
    while done < received.len() {
        let middle = (done + 1000).min(received.len());
        let slices = [io::IoSlice::new(&received[done..middle]), io::IoSlice::new(&received[middle..])];
        done += poll_fn(|cx| wire.poll_write(cx, &slices)).await.unwrap();
    }
    poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
    poll_fn(|cx| wire.poll_shutdown(cx)).await.unwrap();
    let (back, rest) = echo.await.unwrap();
    assert!(back == expected && rest.is_empty());
}

#[tokio::test]
async fn a_client_that_goes_without_close_notify_ends_the_stream() {
    let authority = Authority::new();
    let slot = slot(&config(&authority.issue("localhost", 1)));
    let (mut wire, client) = connect(&slot, &Arc::new(authority.client(None)), "localhost").await.unwrap();
    drop(client);
    assert_eq!(poll_fn(|cx| wire.poll_read(cx, &mut [0; 8])).await.unwrap(), 0);
}

#[tokio::test]
async fn the_name_that_the_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let [default, other] = [authority.issue("localhost", 1), authority.issue("*.fleet.example", 2)];
    let slot = slot(&TlsConfig { more: vec![other.files.clone()], ..config(&default) });
    let client = Arc::new(authority.client(None));
    // Both are verified against the name by the client.
    let (_, asked) = connect(&slot, &client, "berlin.fleet.example").await.unwrap();
    assert_eq!(asked.get_ref().1.peer_certificates().unwrap(), other.chain);
    let (_, asked) = connect(&slot, &client, "localhost").await.unwrap();
    assert_eq!(asked.get_ref().1.peer_certificates().unwrap(), default.chain);
}

#[tokio::test]
async fn nobody_is_refused_for_the_protocols_that_it_offers() {
    let authority = Authority::new();
    let slot = slot(&config(&authority.issue("localhost", 1)));
    for (offers, chosen) in
        [(&["mqtt"][..], Some(&b"mqtt"[..])), (&["x-other", "mqtt"], Some(b"mqtt")), (&["h2"], None), (&[], None)]
    {
        let mut client = authority.client(None);
        client.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
        let (_, asked) = connect(&slot, &Arc::new(client), "localhost").await.unwrap();
        assert_eq!(asked.get_ref().1.alpn_protocol(), chosen, "{offers:?}");
    }
}

#[tokio::test]
async fn a_required_client_certificate_is_demanded_verified_and_handed_on() {
    let authority = Authority::new();
    let [server, device, stranger] =
        [authority.issue("localhost", 1), authority.issue("device-7", 2), Authority::new().issue("device-7", 3)];
    let mut config = TlsConfig { client_ca: Some(authority.path("ca.pem")), ..config(&server) };
    config.client_certificates = ClientCertificates::Required;
    let required = slot(&config);
    assert!(connect(&required, &Arc::new(authority.client(None)), "localhost").await.is_err());
    assert!(connect(&required, &Arc::new(authority.client(Some(&stranger))), "localhost").await.is_err());
    let (wire, _client) = connect(&required, &Arc::new(authority.client(Some(&device))), "localhost").await.unwrap();
    assert_eq!(wire.peer_certificate().as_deref(), Some(&device.chain[0][..]));

    config.client_certificates = ClientCertificates::Optional;
    let optional = slot(&config);
    let (wire, _client) = connect(&optional, &Arc::new(authority.client(None)), "localhost").await.unwrap();
    assert_eq!(wire.peer_certificate(), None);
    assert!(connect(&optional, &Arc::new(authority.client(Some(&stranger))), "localhost").await.is_err());
    assert!(connect(&optional, &Arc::new(authority.client(Some(&device))), "localhost").await.is_ok());
}

#[tokio::test]
async fn a_session_is_resumed_until_a_reload_and_a_revoked_certificate_is_refused_after_it() {
    let authority = Authority::new();
    let [server, device, other] =
        [("localhost", 1), ("device-7", 2), ("device-8", 3)].map(|(name, n)| authority.issue(name, n));
    let mut config = TlsConfig { client_ca: Some(authority.path("ca.pem")), ..config(&server) };
    config.client_certificates = ClientCertificates::Required;
    let slot = slot(&config);
    let mut client = authority.client(Some(&device));
    client.resumption = Resumption::in_memory_sessions(4);
    let client = Arc::new(client);
    let (mut wire, mut before) = connect(&slot, &client, "localhost").await.unwrap();
    assert_eq!(before.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    let (resumed_wire, resumed) = connect(&slot, &client, "localhost").await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(resumed_wire.peer_certificate().as_deref(), Some(&device.chain[0][..]), "the identity is resumed too");

    config.crl = vec![authority.revoke(&[2])];
    slot.reload(&config).unwrap();
    assert!(connect(&slot, &client, "localhost").await.is_err(), "not by resumption either");
    assert!(connect(&slot, &Arc::new(authority.client(Some(&other))), "localhost").await.is_ok());
    before.write_all(b"on").await.unwrap();
    let mut buffer = [0; 8];
    assert_eq!(poll_fn(|cx| wire.poll_read(cx, &mut buffer)).await.unwrap(), 2, "the connection from before goes on");
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let authority = Authority::new();
    let server = authority.issue("localhost", 1);
    let slot = slot(&config(&server));
    std::fs::write(&server.files.key, "").unwrap();
    assert!(slot.reload(&config(&server)).is_err());
    assert!(connect(&slot, &Arc::new(authority.client(None)), "localhost").await.is_ok());
}

#[tokio::test]
async fn min_version_shuts_out_the_older_one() {
    let authority = Authority::new();
    let server = authority.issue("localhost", 1);
    let mut config = config(&server);
    let client = |versions| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        Arc::new(client.with_protocol_versions(versions).unwrap().with_root_certificates(roots).with_no_client_auth())
    };
    let (old, new) = (client(&[&rustls::version::TLS12]), client(&[&rustls::version::TLS13]));
    let (_, asked) = connect(&slot(&config), &old, "localhost").await.unwrap();
    assert_eq!(asked.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    config.min_version = "1.3".into();
    assert!(connect(&slot(&config), &old, "localhost").await.is_err());
    assert!(connect(&slot(&config), &new, "localhost").await.is_ok());
}

#[tokio::test]
async fn who_does_not_speak_tls_is_refused() {
    let authority = Authority::new();
    let slot = slot(&config(&authority.issue("localhost", 1)));
    let (server_end, mut client) = duplex(4096);
    client.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0").await.unwrap();
    assert_eq!(slot.accept(server_end).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn errors_name_the_file_and_what_is_wrong_with_it() {
    let authority = Authority::new();
    let [server, other] = [authority.issue("localhost", 1), authority.issue("other", 2)];
    let empty = authority.write("empty.pem", "nothing here\n");
    let broken = authority.write("broken.pem", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let no_der = authority.write("no-der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted =
        authority.write("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let missing = authority.path("missing.pem");
    let good = config(&server);
    let mutual = TlsConfig {
        client_certificates: ClientCertificates::Required,
        client_ca: Some(authority.path("ca.pem")),
        ..good.clone()
    };
    let shown = |path: &PathBuf| path.display().to_string();
    for (config, expected) in [
        (TlsConfig { certificate: missing.clone(), ..good.clone() }, format!("certificate {}: No such file", shown(&missing))),
        (
            TlsConfig { certificate: empty.clone(), ..good.clone() },
            format!("certificate {}: no CERTIFICATE section", shown(&empty)),
        ),
        (TlsConfig { certificate: broken.clone(), ..good.clone() }, format!("certificate {}: ", shown(&broken))),
        (TlsConfig { certificate: no_der.clone(), ..good.clone() }, format!("certificate {}: ", shown(&no_der))),
        (TlsConfig { key: empty.clone(), ..good.clone() }, format!("key {}: no PRIVATE KEY section", shown(&empty))),
        (TlsConfig { key: encrypted.clone(), ..good.clone() }, format!("key {}: the key is encrypted", shown(&encrypted))),
        (
            TlsConfig { key: other.files.key.clone(), ..good.clone() },
            format!("key {}: does not belong to certificate {}", shown(&other.files.key), shown(&good.certificate)),
        ),
        (
            TlsConfig { client_ca: Some(empty.clone()), ..mutual.clone() },
            format!("client_ca {}: no CERTIFICATE section", shown(&empty)),
        ),
        (TlsConfig { crl: vec![empty.clone()], ..mutual.clone() }, format!("crl {}: no X509 CRL section", shown(&empty))),
        (TlsConfig { client_ca: None, ..mutual.clone() }, "client_certificates is not".into()),
        (TlsConfig { min_version: "1.1".into(), ..good.clone() }, "min_version \"1.1\" is neither".into()),
    ] {
        let error = server_config(&config).unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error:?} does not start with {expected:?}");
    }
}
