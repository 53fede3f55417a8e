//! What is composed and put in place is what other readers find.

use std::time::Duration;

use rcgen::IsCa;
use x509_parser::prelude::FromDer as _;

use super::*;
use crate::{
    certificate::{parse, validity},
    chain::signs,
    testing::{DAY, fixture, noon},
};

fn key() -> KeyPair {
    KeyPair::from_pem(fixture!("p521-sec1.key")).unwrap()
}

/// A certificate of somebody who signs it.
fn certificate(serial: &[u8], validity: Validity, subject: &[(DnType, &str)]) -> Vec<u8> {
    let mut params = about(serial, validity, subject).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    self_signed(params, &key()).unwrap()
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
        let der = certificate(serial, today(), &[]);
        assert_eq!(parse(&der).unwrap().raw_serial(), written, "{serial:?}");
    }
}

#[test]
fn times_are_written_in_the_form_of_their_year_and_read_back_to_the_second() {
    // The last second of 2049, and the one after it.
    let turn = SystemTime::UNIX_EPOCH + Duration::from_secs(2_524_608_000);
    let span = Validity { not_before: turn - Duration::from_secs(1), not_after: turn };
    let der = certificate(&[1], span, &[]);
    let certificate = parse(&der).unwrap();
    assert_eq!(validity(&certificate), span);
    assert!(certificate.validity().not_before.is_utctime());
    assert!(certificate.validity().not_after.is_generalizedtime());
}

#[test]
fn times_that_no_certificate_can_say_are_refused() {
    // The last second of 9999.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let until = |not_after| about(&[1], Validity { not_before: noon(), not_after }, &[]);
    assert!(until(last).is_ok());
    for moment in [last + Duration::from_secs(1), last + 10_000 * 365 * DAY, SystemTime::UNIX_EPOCH - DAY] {
        assert!(matches!(until(moment), Err(Error::Crypto { .. })), "{moment:?}");
    }
}

#[test]
fn names_keep_their_order_and_any_text() {
    let parts = [
        (DnType::OrganizationName, "Gänse & Söhne"),
        (DnType::OrganizationalUnitName, "one"),
        (DnType::CommonName, "two?"),
    ];
    let der = certificate(&[1], today(), &parts);
    let certificate = parse(&der).unwrap();
    for read in [certificate.subject(), certificate.issuer()] {
        assert_eq!(read.to_string(), "O=Gänse & Söhne, OU=one, CN=two?");
        let tags: Vec<u32> = read.iter_attributes().map(|part| part.attr_value().header.tag().0).collect();
        // UTF8String where it must be, PrintableString where it will do.
        assert_eq!(tags, [12, 19, 12]);
    }
}

#[test]
fn every_text_of_ascii_can_be_a_name() {
    let all: String = (0..128_u8).map(char::from).collect();
    for text in all.chars().map(String::from).chain([all.clone(), String::new()]) {
        let der = certificate(&[1], today(), &[(DnType::CommonName, &text)]);
        let read = parse(&der).unwrap();
        assert_eq!(read.subject().iter_common_name().next().unwrap().as_str().unwrap(), text);
    }
}

#[test]
fn nothing_of_the_stand_in_is_left() {
    let (signer, der) = (key(), certificate(&[1], today(), &[(DnType::CommonName, "somebody")]));
    let (rest, authority) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(authority.version(), x509_parser::x509::X509Version::V3);
    assert_eq!(authority.public_key().raw, signer.spki());
    assert!(signs(&authority, &authority));
    let other = KeyPair::from_pem(fixture!("p384-sec1.key")).unwrap();
    let below = signed_by(about(&[2], today(), &[]).unwrap(), other.spki(), &authority, &signer).unwrap();
    let below = parse(&below).unwrap();
    assert_eq!(below.public_key().raw, other.spki());
    assert_eq!(below.issuer().as_raw(), authority.subject().as_raw());
    assert!(signs(&authority, &below));
}
