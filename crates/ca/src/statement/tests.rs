//! What is written down is what other readers find.

use std::time::Duration;

use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::*;
use crate::{
    certificate::{parse, validity},
    der::signed,
    key::KeyPair,
    testing::{DAY, fixture, noon},
};

/// A certificate with a serial number and a span.
fn certificate(serial: &[u8], span: Validity) -> Vec<u8> {
    let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
    let name = name(&[(Part::CommonName, "somebody")]).unwrap();
    let extensions = vec![Extension::authority(false)];
    let statement = Statement { serial, issuer: &name, validity: span, subject: &name, key: key.spki(), extensions };
    signed(&statement.encode(&key.algorithm().of_signature()).unwrap(), &key).unwrap()
}

fn today() -> Validity {
    Validity { not_before: noon(), not_after: noon() + DAY }
}

#[test]
fn a_serial_number_is_positive_and_as_short_as_it_can_be() {
    for (serial, written) in [
        (&[0x7f, 1][..], &[0x7f, 1][..]),
        (&[0x80, 1], &[0, 0x80, 1]),
        (&[0, 0, 5], &[5]),
        (&[0, 0x80], &[0, 0x80]),
        (&[0, 0], &[0]),
        (&[], &[0]),
    ] {
        let der = certificate(serial, today());
        assert_eq!(parse(&der).unwrap().raw_serial(), written, "{serial:?}");
    }
}

#[test]
fn times_are_written_in_the_form_of_their_year_and_read_back_to_the_second() {
    // The last second of 2049, and the one after it.
    let turn = SystemTime::UNIX_EPOCH + Duration::from_secs(2_524_608_000);
    let span = Validity { not_before: turn - Duration::from_secs(1), not_after: turn };
    let der = certificate(&[1], span);
    let certificate = parse(&der).unwrap();
    assert_eq!(validity(&certificate), span);
    assert!(certificate.validity().not_before.is_utctime());
    assert!(certificate.validity().not_after.is_generalizedtime());
}

#[test]
fn names_keep_their_order_and_any_text() {
    let parts = [(Part::Organization, "Gänse & Söhne"), (Part::OrganizationalUnit, "one"), (Part::CommonName, "two")];
    let der = name(&parts).unwrap();
    let (rest, read) = x509_parser::x509::X509Name::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read.to_string(), "O=Gänse & Söhne, OU=one, CN=two");
    let tags: Vec<u32> = read.iter_attributes().map(|part| part.attr_value().header.tag().0).collect();
    // UTF8String where it must be, PrintableString where it will do.
    assert_eq!(tags, [12, 19, 19]);
}

#[test]
fn uses_are_the_bits_that_the_standard_numbers() {
    let bits = |usages: &[Usage]| Extension::key_usage(usages).0[12..].to_vec();
    assert_eq!(bits(&[Usage::DigitalSignature, Usage::KeyEncipherment]), [0x03, 0x02, 0x05, 0xa0]);
    assert_eq!(bits(&[Usage::CertificateSigning, Usage::RevocationSigning]), [0x03, 0x02, 0x01, 0x06]);
}

#[test]
fn names_that_are_not_ascii_cannot_be_dns_names() {
    assert!(Extension::dns_names(&["gänse"]).is_err());
}

#[test]
fn a_statement_has_the_third_version_and_nothing_behind_it() {
    let der = certificate(&[1], today());
    let (rest, read) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read.version(), x509_parser::x509::X509Version::V3);
    assert_eq!(read.extensions().len(), 1);
}
