//! `dunlin certs`: certificates for trying TLS on one's own machine.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::say;

/// Apple's TLS refuses server certificates that are valid for longer than 825 days.
const VALID_DAYS: u64 = 825;

/// Between clocks that do not agree.
const CLOCK_SKEW: Duration = Duration::from_secs(86_400);

/// Writes ca.pem, server.pem, server-key.pem, client.pem and client-key.pem. For development: the key of the authority is
/// thrown away, so that nothing else can be signed with it; make all of them anew when they end after 825 days.
#[derive(Debug, Args)]
pub(super) struct CertsArgs {
    /// Folder to write to; made if it is not there.
    dir: PathBuf,
    /// A name or address that clients reach the server by, besides localhost, 127.0.0.1 and ::1; can be given several times.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Common name of the client certificate, its user name where the listener says identity = "common-name".
    #[arg(long, value_name = "NAME", default_value = "client")]
    client: String,
    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
}

pub(super) fn certs(args: &CertsArgs) -> Result<(), String> {
    write(args)?;
    say(usage(&args.dir));
    Ok(())
}

fn write(args: &CertsArgs) -> Result<(), String> {
    let files = generate(&args.hosts, &args.client).map_err(|error| format!("cannot make the certificates: {error}"))?;
    fs::create_dir_all(&args.dir).map_err(|error| format!("cannot make {}: {error}", args.dir.display()))?;
    if !args.force {
        refuse_to_overwrite(&args.dir, &files)?;
    }
    put_in_place(&args.dir, &files)
}

/// All are written before the first takes its place: a disk that gets full leaves the old ones, which fit each other.
fn put_in_place(dir: &Path, files: &[PemFile]) -> Result<(), String> {
    let written = files.iter().try_for_each(|file| file.write_beside(dir));
    let done = written.and_then(|()| files.iter().try_for_each(|file| file.take_place(dir)));
    if done.is_err() {
        for file in files {
            // The first error is the one to tell.
            let _ = fs::remove_file(file.beside(dir));
        }
    }
    done
}

struct PemFile {
    name: &'static str,
    text: String,
    mode: u32,
}

impl PemFile {
    const fn certificate(name: &'static str, text: String) -> Self {
        Self { name, text, mode: 0o644 }
    }

    fn key(name: &'static str, key: &KeyPair) -> Self {
        Self { name, text: key.serialize_pem(), mode: 0o600 }
    }

    fn beside(&self, dir: &Path) -> PathBuf {
        dir.join(format!(".{}.new", self.name))
    }

    /// Always makes a new file: writing into one that is there would keep its mode.
    fn write_beside(&self, dir: &Path) -> Result<(), String> {
        let path = self.beside(dir);
        let wrong = |error| format!("cannot write {}: {error}", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(wrong(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&path).map_err(wrong)?;
        file.write_all(self.text.as_bytes()).map_err(wrong)?;
        file.sync_all().map_err(wrong)
    }

    fn take_place(&self, dir: &Path) -> Result<(), String> {
        let path = dir.join(self.name);
        fs::rename(self.beside(dir), &path).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

fn refuse_to_overwrite(dir: &Path, files: &[PemFile]) -> Result<(), String> {
    match files.iter().map(|file| dir.join(file.name)).find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(format!("{} is there already; --force overwrites it", path.display())),
        None => Ok(()),
    }
}

fn generate(hosts: &[String], client: &str) -> Result<[PemFile; 5], rcgen::Error> {
    let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
    let server_key = KeyPair::generate()?;
    let server = server(hosts)?.signed_by(&server_key, &authority)?;
    let client_key = KeyPair::generate()?;
    let client = leaf(Vec::new(), client, ExtendedKeyUsagePurpose::ClientAuth)?.signed_by(&client_key, &authority)?;
    Ok([
        PemFile::certificate("ca.pem", authority.pem()),
        PemFile::certificate("server.pem", server.pem()),
        PemFile::key("server-key.pem", &server_key),
        PemFile::certificate("client.pem", client.pem()),
        PemFile::key("client-key.pem", &client_key),
    ])
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(Vec::new(), "Dunlin development CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server(hosts: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    for host in hosts {
        if !names.contains(host) {
            names.push(host.clone());
        }
    }
    let common_name = hosts.first().map_or("localhost", String::as_str);
    leaf(names, common_name, ExtendedKeyUsagePurpose::ServerAuth)
}

fn leaf(names: Vec<String>, common_name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(names, common_name)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let start = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = start - CLOCK_SKEW;
    params.not_after = params.not_before + Duration::from_secs(VALID_DAYS * 86_400);
    Ok(params)
}

fn usage(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let (dir, absolute) = (dir.display(), absolute.display());
    format!(
        r#"Wrote ca.pem, server.pem, server-key.pem, client.pem, client-key.pem to {dir}.

In the config:

    [[listeners]]
    name = "tls"
    url = "tls://127.0.0.1:8883"

    [listeners.tls]
    certificate = "{absolute}/server.pem"
    key = "{absolute}/server-key.pem"

Then try it:

    mosquitto_pub -h localhost -p 8883 --cafile {dir}/ca.pem -t hello -m world

With client_ca = "{absolute}/ca.pem" and client_certificates = "required" under [listeners.tls], clients show theirs:

    mosquitto_pub -h localhost -p 8883 --cafile {dir}/ca.pem --cert {dir}/client.pem --key {dir}/client-key.pem -t hello -m world"#
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn args(dir: &Path) -> CertsArgs {
        CertsArgs { dir: dir.join("certs"), hosts: vec!["broker.example.org".into()], client: "sensor".into(), force: false }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(dir.path());
        write(&args).unwrap();
        assert_eq!(mode(&args.dir.join("server-key.pem")), 0o600);
        assert_eq!(mode(&args.dir.join("client-key.pem")), 0o600);
        assert_eq!(fs::read_dir(&args.dir).unwrap().count(), 5);
    }

    #[test]
    fn files_that_are_there_are_kept_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = args(dir.path());
        fs::create_dir_all(&args.dir).unwrap();
        let key = args.dir.join("client-key.pem");
        fs::write(&key, "mine").unwrap();
        let error = write(&args).unwrap_err();
        assert_eq!(error, format!("{} is there already; --force overwrites it", key.display()));
        assert_eq!(fs::read_dir(&args.dir).unwrap().count(), 1);
        args.force = true;
        write(&args).unwrap();
        assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(mode(&key), 0o600);
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_the_old_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let args = CertsArgs { force: true, ..args(dir.path()) };
        // In the way of the last one.
        fs::create_dir_all(args.dir.join(".client-key.pem.new/full")).unwrap();
        fs::write(args.dir.join("server-key.pem"), "mine").unwrap();
        assert!(write(&args).unwrap_err().contains("client-key.pem"));
        assert_eq!(fs::read_to_string(args.dir.join("server-key.pem")).unwrap(), "mine");
        assert_eq!(fs::read_dir(&args.dir).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn certificates_carry_their_names_and_are_signed_by_the_authority() {
        let files = generate(&["broker.example.org".into()], "sensor").unwrap();
        let der = |index: usize| x509_parser::pem::parse_x509_pem(files[index].text.as_bytes()).unwrap().1.contents;
        let (authority, server, client) = (der(0), der(1), der(3));
        let parse = |der| x509_parser::parse_x509_certificate(der).unwrap().1;
        let (authority, server, client) = (parse(&authority), parse(&server), parse(&client));
        assert!(authority.is_ca() && !server.is_ca());
        assert_eq!(server.issuer(), authority.subject());
        assert_eq!(client.subject().to_string(), "CN=sensor");
        let names = server.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        assert_eq!(names.len(), 4);
        assert!(names.contains(&x509_parser::extensions::GeneralName::DNSName("broker.example.org")));
    }
}
