//! PEM text as it is stored and sent: blocks without headers, in order.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::CertificateDer;

use crate::error::Error;

/// The tag of a certificate block.
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
/// The tag of a signing request block.
pub(crate) const REQUEST: &str = "CERTIFICATE REQUEST";

/// Line ends are those of the wire, on every platform.
pub(crate) const ENCODING: EncodeConfig = EncodeConfig::new().set_line_ending(LineEnding::LF);

/// Re-encodes every block without headers and surrounding text, in the same order.
///
/// # Errors
///
/// When the text holds something that begins like a block and is none.
pub fn normalize(text: &str) -> Result<String, Error> {
    let blocks = pem::parse_many(text).map_err(|error| Error::malformed("PEM text", error))?;
    Ok(blocks.into_iter().map(|block| encode(block.tag(), block.contents())).collect())
}

/// The certificates of a bundle, in order. Blocks of another kind are an error; no block at all is an empty list.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let blocks = pem::parse_many(text).map_err(|error| Error::malformed("certificate", error))?;
    blocks
        .into_iter()
        .map(|block| match block.tag() {
            CERTIFICATE => Ok(CertificateDer::from(block.into_contents())),
            other => Err(Error::malformed("certificate", format!("a block of kind {other:?}"))),
        })
        .collect()
}

/// The one certificate of a text. None and several are an error.
pub(crate) fn single_certificate(text: &str) -> Result<CertificateDer<'static>, Error> {
    let [certificate] = <[_; 1]>::try_from(certificates(text)?)
        .map_err(|found| Error::malformed("certificate", format!("{} certificates instead of one", found.len())))?;
    Ok(certificate)
}

/// Writes one block.
pub(crate) fn encode(tag: &str, contents: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, contents), ENCODING)
}

/// Writes a chain.
pub(crate) fn encode_certificates<'a>(chain: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    chain.into_iter().map(|certificate| encode(CERTIFICATE, certificate)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizing_drops_headers_and_space_and_keeps_the_order() {
        let first = encode(CERTIFICATE, b"first");
        let second = encode(CERTIFICATE, b"second");
        let untidy = format!(
            "\n\n  {}\n\n{second}\n \n",
            first.replace("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nheader: value\n\n")
        );
        assert_eq!(normalize(&untidy).unwrap(), format!("{first}{second}"));
    }

    #[test]
    fn text_without_blocks_is_an_empty_list_and_other_blocks_are_refused() {
        assert!(certificates("nothing here").unwrap().is_empty());
        assert!(certificates(&encode("PRIVATE KEY", b"key")).is_err());
    }
}
