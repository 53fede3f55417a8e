//! An authority outside of the cluster, as a flag says it.

use std::fs;

use swarmkit_api::{wire, wire::external_ca::CaProtocol};

use crate::units::split_csv;

/// Reads `protocol=cfssl,url=URL[,cacert=FILE][,KEY=VALUE…]`. Keys that mean nothing here are options of the protocol.
///
/// # Errors
///
/// What is missing or malformed, or a certificate that cannot be read.
pub(crate) fn parse_external_ca(text: &str) -> Result<wire::ExternalCa, String> {
    let mut authority = wire::ExternalCa::default();
    let mut protocol = false;
    for field in split_csv(text)? {
        let (key, value) =
            field.split_once('=').ok_or_else(|| format!("invalid field {field:?}: it is not KEY=VALUE"))?;
        match key.to_ascii_lowercase().as_str() {
            "protocol" if value.eq_ignore_ascii_case("cfssl") => {
                authority.protocol = CaProtocol::Cfssl.into();
                protocol = true;
            }
            "protocol" => return Err(format!("unrecognized external CA protocol {value:?}: it is cfssl")),
            "url" => value.clone_into(&mut authority.url),
            "cacert" => {
                let text = fs::read(value).map_err(|error| format!("cannot read {value}: {error}"))?;
                authority.ca_cert = text.into();
            }
            _ => drop(authority.options.insert(key.to_owned(), value.to_owned())),
        }
    }
    match (protocol, authority.url.is_empty()) {
        (false, _) => Err("the external CA needs a protocol= parameter".to_owned()),
        (_, true) => Err("the external CA needs a url= parameter".to_owned()),
        (true, false) => Ok(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_and_an_address_make_an_authority_and_the_rest_are_options() {
        for (text, url, options) in [
            ("protocol=cfssl,url=https://ca", "https://ca", vec![]),
            ("PROTOCOL=CFSSL,URL=https://ca/sign?a=b", "https://ca/sign?a=b", vec![]),
            (r#""url=https://ca/a,b",protocol=Cfssl,K=v=w"#, "https://ca/a,b", vec![("K", "v=w")]),
        ] {
            let read = parse_external_ca(text).unwrap();
            let shown: Vec<_> = read.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(
                (read.url.as_str(), shown, read.protocol(), read.ca_cert.is_empty()),
                (url, options, CaProtocol::Cfssl, true)
            );
        }
    }

    #[test]
    fn what_is_malformed_is_told_with_the_piece_that_is_missing() {
        for (text, told) in [
            ("", "is not KEY=VALUE"),
            ("anything", "is not KEY=VALUE"),
            (" ", "is not KEY=VALUE"),
            ("protocol", "is not KEY=VALUE"),
            ("protocol=cfssl,url", "is not KEY=VALUE"),
            ("protocol=foobar,url=https://ca", "unrecognized external CA protocol \"foobar\""),
            ("protocol=,url=https://ca", "unrecognized external CA protocol \"\""),
            ("protocol=cfssl", "needs a url="),
            ("protocol=cfssl,url=", "needs a url="),
            ("url=https://ca", "needs a protocol="),
            ("protocol=cfssl,url=https://ca,cacert=/no/such/file", "cannot read /no/such/file"),
            (r#"protocol=cfssl,"url=https://ca"#, "a quote is not closed"),
        ] {
            let error = parse_external_ca(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_root_that_an_authority_signs_for_is_read_from_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a root").unwrap();
        let text = format!("protocol=cfssl,url=https://ca,cacert={}", file.path().display());
        assert_eq!(parse_external_ca(&text).unwrap().ca_cert, "a root");
    }
}
