use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What a TLS connection is made with; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authorities that may have signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// A folder of files with such authorities.
    pub ca_folder: Option<PathBuf>,
    /// Trust the authorities of this machine as well.
    pub system_authorities: bool,
    /// Our own certificate chain and its private key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Do not compare the server's name with that in its certificate; who signed it is still checked.
    pub any_server_name: bool,
    /// Names of protocols for ALPN, such as `mqtt`.
    pub alpn: Vec<String>,
}

/// Makes TLS of a TCP connection.
#[derive(Clone)]
pub struct TlsConnector(tokio_rustls::TlsConnector);

/// Where Debian, Red Hat, SUSE and Alpine keep the authorities that the machine trusts.
const SYSTEM_FILES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

impl TlsConnector {
    /// Reads the files. The error names the one that is wrong.
    pub fn new(options: &TlsOptions) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(options)?);
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = if options.any_server_name {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let inner = inner.map_err(|error| format!("authorities: {error}"))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(inner)))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let wrong = |error: &dyn fmt::Display| format!("{}: {error}", key.display());
                let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| wrong(&error))?;
                builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| wrong(&error))?
            }
        };
        config.alpn_protocols = options.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Ok(Self(tokio_rustls::TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let mut files: Vec<PathBuf> = options.ca_file.iter().cloned().collect();
    if let Some(folder) = &options.ca_folder {
        files.extend(files_of(folder)?);
    }
    for file in &files {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    if options.system_authorities {
        let file = SYSTEM_FILES.iter().map(Path::new).find(|file| file.exists());
        let file = file.ok_or("this machine has no file of trusted authorities where it is looked for")?;
        // Among hundreds there may be one that is too old to be understood.
        roots.add_parsable_certificates(certificates(file)?);
    }
    if roots.is_empty() {
        return Err("no authority is trusted: name a file of certificates".into());
    }
    Ok(roots)
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let is_certificate = path.extension().is_some_and(|end| end == "pem" || end == "crt" || end == "0");
        files.extend((is_certificate && path.is_file()).then_some(path));
    }
    files.sort();
    Ok(files)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(format!("{}: no CERTIFICATE section", path.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Checks a certificate in all but the name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
