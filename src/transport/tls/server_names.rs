use std::sync::Arc;

use hashbrown::HashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

/// Chooses the certificate by the server name that the client asks for (RFC 6066, 3): an exact name, else a wildcard for its
/// first label, else the default. A name that no certificate has is no reason to refuse: the client decides what it trusts.
#[derive(Debug)]
pub(super) struct ServerNames {
    default: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the star and its dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ServerNames {
    /// The names are those of each certificate's Subject Alternative Name; the first certificate with a name has it.
    pub(super) fn new(default: Arc<CertifiedKey>, more: impl IntoIterator<Item = Arc<CertifiedKey>>) -> Self {
        let mut names = Self { default: default.clone(), exact: HashMap::new(), wildcard: HashMap::new() };
        for key in std::iter::once(default).chain(more) {
            for name in dns_names(&key) {
                match name.strip_prefix("*.") {
                    Some(rest) => names.wildcard.entry(rest.into()).or_insert_with(|| key.clone()),
                    None => names.exact.entry(name).or_insert_with(|| key.clone()),
                };
            }
        }
        names
    }

    fn choose(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(&name).or_else(by_wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().map_or(&self.default, |name| self.choose(name)).clone())
    }
}

/// The DNS names of the certificate, in lower case; none where it cannot be read or has none.
fn dns_names(key: &CertifiedKey) -> Vec<String> {
    let Some(Ok((_, certificate))) = key.cert.first().map(|der| x509_parser::parse_x509_certificate(der)) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns_name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns_name).collect()
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    fn key(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let secret = made.signing_key.serialize_der().try_into().unwrap();
        Arc::new(CertifiedKey::from_der(vec![made.cert.der().clone()], secret, &ring::default_provider()).unwrap())
    }

    #[test]
    fn exact_beats_wildcard_beats_default() {
        let [default, exact, wildcard] =
            [&["a.example"][..], &["b.example", "x.c.example"], &["*.c.example", "b.example"]].map(key);
        let names = ServerNames::new(default.clone(), [exact.clone(), wildcard.clone()]);
        for (asked, expected) in [
            ("a.example", &default),
            ("b.example", &exact),
            ("B.Example", &exact),
            ("x.c.example", &exact),
            ("y.c.example", &wildcard),
            ("c.example", &default),
            ("z.y.c.example", &default),
            ("unknown", &default),
        ] {
            assert!(Arc::ptr_eq(names.choose(asked), expected), "{asked}");
        }
    }
}
