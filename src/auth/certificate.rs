//! The user name that a verified client certificate stands for.

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::config::CertificateIdentity;

/// What MQTT can carry as a user name.
const MAX_NAME: usize = 65_535;

/// The user name in a DER certificate; the caller has verified the certificate.
///
/// - `CommonName`: the subject's; `None` if there are several, since programs disagree on which one counts.
/// - `Subject`: the whole subject as RFC 4514 writes it, the most specific part first: `CN=device 7,OU=Sensors,O=Example\, Inc.`
/// - `San`: the first DNS name, or else the first e-mail address, or else the first URI.
///
/// `None` too if there is no such name, if it is empty, longer than 65,535 bytes, in an alphabet other than UTF-8 and its subsets, or
/// if it contains a control character: a NUL ends the name for one program and not for another.
pub fn identity(der: &[u8], kind: CertificateIdentity) -> Option<String> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let name = match kind {
        CertificateIdentity::None => None,
        CertificateIdentity::CommonName => common_name(certificate.subject()),
        CertificateIdentity::Subject => subject(certificate.subject()),
        CertificateIdentity::San => alternative_name(&certificate),
    }?;
    let usable = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    usable.then_some(name)
}

/// The value of an attribute of the subject, by its short name in RFC 4514 (`CN`, `O`, `OU` …); `None` if it is not there once.
pub(super) fn subject_attribute(der: &[u8], name: &str) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut values = certificate.subject().iter_attributes().filter(|attribute| attribute_name(attribute.attr_type()) == name);
    let value = values.next()?.as_str().ok()?;
    values.next().is_none().then(|| value.into())
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| name.into())
}

/// RFC 4514, 2: from the last to the first, parts that belong together joined by `+`.
fn subject(subject: &X509Name<'_>) -> Option<String> {
    let groups: Option<Vec<String>> = subject
        .iter()
        .map(|group| group.iter().map(attribute).collect::<Option<Vec<_>>>().map(|attributes| attributes.join("+")))
        .collect();
    let mut groups = groups?;
    groups.reverse();
    Some(groups.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.as_str().ok()?;
    Some(format!("{}={}", attribute_name(attribute.attr_type()), escape(value)))
}

/// The short names of RFC 4514, 3, and two more that device certificates use, as OpenSSL writes them; else the number.
fn attribute_name(oid: &Oid<'_>) -> String {
    let number = oid.to_id_string();
    let name = match number.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "2.5.4.5" => "serialNumber",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return number,
    };
    name.into()
}

/// RFC 4514, 2.4.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.char_indices() {
        let at_end = index + character.len_utf8() == value.len();
        let special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => index == 0,
            ' ' => index == 0 || at_end,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn alternative_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let first = |wanted: fn(&GeneralName<'_>) -> Option<String>| names.iter().find_map(wanted);
    first(|name| match name {
        GeneralName::DNSName(name) => Some((*name).into()),
        _ => None,
    })
    .or_else(|| {
        first(|name| match name {
            GeneralName::RFC822Name(name) => Some((*name).into()),
            _ => None,
        })
    })
    .or_else(|| {
        first(|name| match name {
            GeneralName::URI(name) => Some((*name).into()),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use CertificateIdentity::{CommonName, San, Subject};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(subject: &[(DnType, &str)], alternative_names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = alternative_names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn mail(name: &str) -> SanType {
        SanType::Rfc822Name(name.try_into().unwrap())
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    #[test]
    fn each_kind_of_identity_has_its_place_in_the_certificate() {
        let subject = [
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::OrganizationalUnitName, "Sensors"),
            (DnType::CommonName, "device 7"),
        ];
        let der = certificate(&subject, vec![dns("device-7.example.org")]);
        assert_eq!(identity(&der, CommonName).as_deref(), Some("device 7"));
        assert_eq!(identity(&der, Subject).as_deref(), Some(r"CN=device 7,OU=Sensors,O=Example\, Inc."));
        assert_eq!(identity(&der, San).as_deref(), Some("device-7.example.org"));
        assert_eq!(identity(&der, CertificateIdentity::None), None);
    }

    #[test]
    fn a_certificate_without_the_name_names_nobody() {
        let der = certificate(&[], vec![]);
        for kind in [CommonName, Subject, San] {
            assert_eq!(identity(&der, kind), None, "{kind:?}");
        }
        assert_eq!(identity(&certificate(&[(DnType::CommonName, "")], vec![]), CommonName), None);
    }

    #[test]
    fn dns_goes_before_mail_and_mail_before_uri() {
        let san = |names| identity(&certificate(&[], names), San);
        assert_eq!(san(vec![uri("urn:x"), mail("a@b"), dns("one"), dns("two")]).as_deref(), Some("one"));
        assert_eq!(san(vec![uri("urn:x"), mail("a@b")]).as_deref(), Some("a@b"));
        assert_eq!(san(vec![SanType::IpAddress([127, 0, 0, 1].into()), uri("urn:x")]).as_deref(), Some("urn:x"));
        assert_eq!(san(vec![SanType::IpAddress([127, 0, 0, 1].into())]), None);
    }

    #[test]
    fn a_name_with_a_nul_or_a_control_character_names_nobody() {
        for name in ["admin\0.example.org", "a\nb", "\u{7f}", "a\u{85}b"] {
            let der = certificate(&[(DnType::CommonName, name)], vec![]);
            assert_eq!(identity(&der, CommonName), None, "{name:?}");
            assert_eq!(identity(&der, Subject), None, "{name:?}");
        }
        assert_eq!(identity(&certificate(&[], vec![dns("admin\0.example.org")]), San), None);
    }

    #[test]
    fn other_alphabets_name_nobody_and_utf8_does() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let bmp = rcgen::DnValue::BmpString("admin".try_into().unwrap());
        params.distinguished_name.push(DnType::CommonName, bmp);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(identity(&der, CommonName), None);
        assert_eq!(identity(&certificate(&[(DnType::CommonName, "Gerät é")], vec![]), CommonName).as_deref(), Some("Gerät é"));
    }

    #[test]
    fn the_subject_is_escaped_so_that_it_cannot_be_forged() {
        for (value, escaped) in [
            ("a,CN=admin", r"a\,CN=admin"),
            ("a+CN=admin", r"a\+CN=admin"),
            (" a ", r"\ a\ "),
            (" ", r"\ "),
            ("#a#", r"\#a#"),
            (r#"a\"<>;"#, r#"a\\\"\<\>\;"#),
        ] {
            assert_eq!(escape(value), escaped, "{value}");
        }
        let unknown = certificate(
            &[(DnType::CustomDnType(vec![2, 5, 4, 65]), "x"), (DnType::CustomDnType(vec![2, 5, 4, 5]), "1")],
            vec![],
        );
        assert_eq!(identity(&unknown, Subject).as_deref(), Some("serialNumber=1,2.5.4.65=x"));
    }

    #[test]
    fn bytes_behind_the_certificate_are_refused() {
        let mut der = certificate(&[(DnType::CommonName, "a")], vec![]);
        der.push(0);
        assert_eq!(identity(&der, CommonName), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_certificate_is_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
            let mut der = certificate(&[(DnType::CommonName, "device 7")], vec![dns("a.example"), uri("urn:x")]);
            for (index, byte) in changes {
                let index = index.index(der.len());
                der[index] = byte;
            }
            for kind in [CommonName, Subject, San] {
                let _ = identity(&der, kind);
                let _ = identity(&der[..cut.index(der.len())], kind);
            }
        }
    }
}
