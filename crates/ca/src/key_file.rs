//! The contents of a key file: one private key in PEM form, with headers that others keep their data in.

use std::collections::BTreeMap;

use pem::Pem;
use zeroize::Zeroizing;

use crate::{
    error::Error,
    key::{KeyPair, PKCS8},
    pem_text,
};

/// The header that says which version of the unlock key encrypts the file; `0` where none ever did. Always written.
const KEK_VERSION: &str = "kek-version";

/// The named values in a key file, beside the key: the data keys of the raft log live here, as upstream.
pub type KeyHeaders = BTreeMap<String, String>;

/// A key file, read.
pub(crate) struct KeyFile {
    pub(crate) key: KeyPair,
    pub(crate) headers: KeyHeaders,
}

impl KeyFile {
    /// Reads the text of a key file. One that an unlock key encrypts is [`Error::Locked`].
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let block = pem::parse(text).map_err(|_| Error::MalformedKey)?;
        let key = KeyPair::from_block(&block)?;
        let headers = block.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { key, headers })
    }
}

/// Writes the text of a key file, wiped when dropped.
pub(crate) fn encode(key: &KeyPair, headers: &KeyHeaders) -> Result<Zeroizing<String>, Error> {
    let mut block = Pem::new(PKCS8, key.pkcs8());
    let mut headers = headers.clone();
    headers.entry(KEK_VERSION.to_owned()).or_insert_with(|| "0".to_owned());
    for (name, value) in &headers {
        block.headers_mut().add(name, value).map_err(|error| Error::malformed("key file header", error))?;
    }
    let text = Zeroizing::new(pem::encode_config(&block, pem_text::ENCODING));
    drop(Zeroizing::new(block.into_contents()));
    Ok(text)
}
