//! Certificates, and clients that speak TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dunlin::packet::{Connect, ProtocolVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::support::client::{Client, Stream, connect};
use crate::support::{Broker, PATIENCE};

/// Signs certificates and revokes them.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

pub struct Issued {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("test authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    /// An authority whose certificate lies in `folder` as `ca.pem`, with one for `localhost` as `server.pem`, `server-key.pem`.
    pub fn with_server(folder: &Path) -> Self {
        let authority = Self::new();
        write(folder, "ca.pem", &authority.pem());
        authority.issue("localhost", &["localhost"], 1).write(folder, "server");
        authority
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn issue(&self, common_name: &str, names: &[&str], serial: u64) -> Pem {
        self.issue_until(common_name, names, serial, (4096, 1, 1))
    }

    /// One that ends at the beginning of a day.
    pub fn issue_until(&self, common_name: &str, names: &[&str], serial: u64, (year, month, day): (i32, u8, u8)) -> Pem {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).into()).collect::<Vec<_>>()).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued =
            Issued { chain: vec![certificate.der().clone()], key: key.serialize_der().try_into().expect("a private key") };
        Pem { certificate: certificate.pem(), key: key.serialize_pem(), issued }
    }

    /// Writes `crl.pem`.
    pub fn revoke(&self, folder: &Path, serials: &[u64]) {
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
        let list = params.signed_by(&self.issuer).and_then(|list| list.pem()).expect("a revocation list");
        write(folder, "crl.pem", &list);
    }

    /// A client that trusts this authority.
    pub fn caller(&self, identity: Option<&Issued>) -> Caller {
        self.caller_of(identity, ALL_VERSIONS)
    }

    pub fn caller_of(&self, identity: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Caller {
        Caller::new(self.issuer.der().clone(), identity, versions)
    }
}

/// A certificate with its key.
pub struct Pem {
    pub certificate: String,
    pub key: String,
    pub issued: Issued,
}

impl Pem {
    pub fn write(&self, folder: &Path, name: &str) {
        write(folder, &format!("{name}.pem"), &self.certificate);
        write(folder, &format!("{name}-key.pem"), &self.key);
    }
}

pub fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the file can be written");
}

/// Makes TLS connections.
pub struct Caller(Arc<ClientConfig>);

impl Caller {
    pub fn new(
        root: CertificateDer<'static>,
        identity: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("an authority");
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut client = match identity {
            Some(issued) => client.with_client_auth_cert(issued.chain.clone(), issued.key.clone_key()).expect("a certificate"),
            None => client.with_no_client_auth(),
        };
        client.resumption = Resumption::disabled();
        Self(Arc::new(client))
    }

    /// The whole handshake with the server of this name.
    pub fn dial(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream> {
        self.dial_after(address, name, b"")
    }

    /// The same after some bytes in the clear.
    pub fn dial_after(&self, address: SocketAddr, name: &str, before: &[u8]) -> io::Result<TlsStream> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        socket.write_all(before)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(TlsStream(StreamOwned::new(connection, socket)))
    }

    /// A client of `localhost` that is let in.
    pub fn connect(&self, address: SocketAddr, version: ProtocolVersion, id: &str) -> Client {
        let mut client = Client::over(self.dial(address, "localhost").expect("a handshake"), version);
        client.log_in(Connect { client_id: id, ..connect(version) });
        client
    }

    /// Whether TLS keeps the client out. In 1.3 the client finds out about its certificate when it reads.
    pub fn is_refused(&self, address: SocketAddr) -> bool {
        let Ok(mut stream) = self.dial(address, "localhost") else { return true };
        let _ = stream.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0");
        !matches!(stream.read(&mut [0; 16]), Ok(1..))
    }
}

pub struct TlsStream(StreamOwned<ClientConnection, TcpStream>);

impl TlsStream {
    pub fn tls(&self) -> &ClientConnection {
        &self.0.conn
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for TlsStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.sock.set_read_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.sock.shutdown(how)
    }
}

/// A broker with one TLS door; `tls` is what stands in its table beside certificate and key, `rest` what follows.
pub fn broker(folder: tempfile::TempDir, tls: &str, rest: &str) -> Broker {
    let config = format!(
        r#"
[[listeners]]
name = "tls"
url = "tls://127.0.0.1:0"
[listeners.tls]
certificate = "@DIR@/server.pem"
key = "@DIR@/server-key.pem"
{tls}
{rest}
"#
    );
    Broker::with_config_in(folder, &config)
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The authority and the client's certificate that `dunlin certs` has written to this folder.
pub fn read_certs(folder: &Path) -> (CertificateDer<'static>, Issued) {
    use rustls::pki_types::pem::PemObject;
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("client-key.pem")).expect("a private key");
    (certificate("ca.pem"), Issued { chain: vec![certificate("client.pem")], key })
}
