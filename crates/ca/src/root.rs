//! The root CA: what a cluster trusts, and, where its key is known, what signs.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, DnType, IsCa, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use swarmkit_runtime::Env;

use crate::{
    algorithm::check_key,
    certificate::{IssuerInfo, Validity, issuer_info, parse, validity},
    chain::{Expiry, check_algorithm, check_time, signs, verify_chain},
    compose,
    digest::RootDigest,
    error::Error,
    identity::{SWARM_CA, common_name},
    issue::{self, MINUTE},
    key::{KeyPair, KeySource},
    pem_text,
};

/// How long a self-made root lasts: 20 years of 365 days, as upstream.
pub const ROOT_VALIDITY: Duration = Duration::from_secs(630_720_000);

/// How far back a self-made root begins, for clocks that are behind. As upstream.
const ROOT_BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Trust roots, checked, with the signer if there is one. Clones share it.
#[derive(Clone)]
pub struct RootCa(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    bundle: String,
    roots: Vec<CertificateDer<'static>>,
    intermediates: Intermediates,
    signer: Option<Arc<Signer>>,
    /// Who issues when the signer is elsewhere.
    issuer: IssuerInfo,
    validity: Validity,
}

/// What every issued leaf is followed by.
#[derive(Clone, Default)]
struct Intermediates {
    text: String,
    chain: Vec<CertificateDer<'static>>,
}

/// The certificate that issues, and its key.
pub(crate) struct Signer {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
    pub(crate) info: IssuerInfo,
}

// === impl RootCa ===

impl RootCa {
    /// Makes a root of its own, with its key.
    ///
    /// # Errors
    ///
    /// When `keys` has none to give, or the key cannot sign.
    pub fn create(keys: &dyn KeySource, env: &Env) -> Result<Self, Error> {
        let key = keys.generate()?;
        let not_before = issue::to_the_minute(env.now()) - ROOT_BACKDATE;
        let validity = Validity { not_before, not_after: not_before + ROOT_VALIDITY };
        let mut params = compose::about(&issue::serial(env), validity, &[(DnType::CommonName, SWARM_CA)])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = compose::self_signed(params, &key)?;
        let bundle = pem_text::encode(pem_text::CERTIFICATE, &certificate);
        Self::from_pem(&bundle, env.now())?.with_key(key, env)
    }

    /// Reads a bundle of trust roots (PEM).
    ///
    /// # Errors
    ///
    /// [`Error::NoRoots`] for an empty one; otherwise the first root that is signed in an unaccepted way, not signed
    /// by itself, or out of time.
    pub fn from_pem(bundle: &str, now: SystemTime) -> Result<Self, Error> {
        let roots = pem_text::certificates(bundle)?;
        let first = parse(roots.first().ok_or(Error::NoRoots)?)?;
        let (issuer, mut span) = (issuer_info(&first), validity(&first));
        for (index, der) in roots.iter().enumerate() {
            let root = parse(der)?;
            check_algorithm(&root)?;
            check_key(root.public_key())?;
            check_time(&root, index + 1, Expiry::Enforced, now)?;
            if !root.is_ca() || !signs(&root, &root) {
                return Err(Error::NotSelfSigned { subject: common_name(&root) });
            }
            span = span.common(validity(&root));
        }
        let intermediates = Intermediates::default();
        let bundle = bundle.to_owned();
        Ok(Self(Arc::new(Inner { bundle, roots, intermediates, signer: None, issuer, validity: span })))
    }

    /// Reads a remote bundle of trust roots, and checks first that it is the pinned one.
    ///
    /// # Errors
    ///
    /// [`Error::FingerprintMismatch`], or as [`RootCa::from_pem`].
    pub fn from_pinned_pem(bundle: &str, pin: RootDigest, now: SystemTime) -> Result<Self, Error> {
        if RootDigest::of(bundle.as_bytes()) != pin {
            return Err(Error::FingerprintMismatch { expected: pin.to_hex() });
        }
        Self::from_pem(bundle, now)
    }

    /// Sets the intermediates (PEM) that follow every issued leaf.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidIntermediates`] when they do not chain to these roots.
    pub fn with_intermediates(self, text: &str, now: SystemTime) -> Result<Self, Error> {
        let invalid = |error| Error::InvalidIntermediates(Box::new(error));
        let chain = pem_text::certificates(text).map_err(invalid)?;
        verify_chain(&self, &chain, Expiry::Enforced, now).map_err(invalid)?;
        let mut inner = Arc::unwrap_or_clone(self.0);
        // An empty chain was refused above.
        inner.issuer = issuer_info(&parse(&chain[0])?);
        inner.intermediates = Intermediates { text: text.to_owned(), chain };
        Ok(Self(Arc::new(inner)))
    }

    /// Lets the first root of the bundle sign.
    ///
    /// # Errors
    ///
    /// As [`RootCa::with_signer`].
    pub fn with_key(self, key: KeyPair, env: &Env) -> Result<Self, Error> {
        let certificate = pem_text::encode_certificates([&self.0.roots[0]]);
        self.with_signer(&certificate, key, env)
    }

    /// Sets the certificate (PEM) that signs, which may be a root or an intermediate, and its key.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAuthority`] when it does not chain to these roots, [`Error::KeyMismatch`] when the key is
    /// another's, [`Error::UnusableSigner`] when what it issues would not be accepted by those who trust the roots.
    pub fn with_signer(self, certificate_pem: &str, key: KeyPair, env: &Env) -> Result<Self, Error> {
        let certificate = pem_text::certificates(certificate_pem)?.into_iter().next().ok_or(Error::NoSigner)?;
        let info = {
            let parsed = parse(&certificate)?;
            check_algorithm(&parsed)?;
            check_key(parsed.public_key())?;
            let info = issuer_info(&parsed);
            match self.0.intermediates.chain.first() {
                None => drop(verify_chain(&self, std::slice::from_ref(&certificate), Expiry::Enforced, env.now())?),
                // The intermediates were checked when they were set.
                Some(first) if issuer_info(&parse(first)?) == info => {
                    check_time(&parsed, 1, Expiry::Enforced, env.now())?;
                }
                Some(_) => return Err(Error::InvalidIntermediates(Box::new(Error::BrokenChain))),
            }
            if !parsed.is_ca() {
                return Err(Error::UnusableSigner { reason: "it is no authority".to_owned() });
            }
            info
        };
        if info.public_key != key.spki() {
            return Err(Error::KeyMismatch);
        }
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.signer = Some(Arc::new(Signer { certificate, key, info }));
        let root = Self(Arc::new(inner));
        issue::try_out(&root, env)?;
        Ok(root)
    }

    /// The same trust without the means to sign.
    #[must_use]
    pub fn without_signer(&self) -> Self {
        Self(Arc::new(Inner { signer: None, ..(*self.0).clone() }))
    }

    /// The bundle's text as it was given.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.0.bundle
    }

    /// The trust roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.0.roots
    }

    /// The span in which all roots count: that of the certificate, where there is one.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// What the certificates issued by this authority say of their signer: its signing certificate, where it has none
    /// the first intermediate, and the first root if there is neither.
    ///
    /// Cross-signing changes neither name nor key, so a new root and its cross certificate say the same.
    #[must_use]
    pub fn issuer_info(&self) -> &IssuerInfo {
        self.0.signer.as_ref().map_or(&self.0.issuer, |signer| &signer.info)
    }

    /// What join tokens pin.
    #[must_use]
    pub fn digest(&self) -> RootDigest {
        RootDigest::of(self.0.bundle.as_bytes())
    }

    /// Whether this object can issue certificates.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.0.signer.is_some()
    }

    /// The signing certificate (PEM), if there is one.
    #[must_use]
    pub fn signing_certificate_pem(&self) -> Option<String> {
        self.0.signer.as_ref().map(|signer| pem_text::encode_certificates([&signer.certificate]))
    }

    /// The signing key, if there is one: for handing it to the store, and nowhere else.
    #[must_use]
    pub fn signing_key(&self) -> Option<&KeyPair> {
        self.0.signer.as_ref().map(|signer| &signer.key)
    }

    pub(crate) fn signer(&self) -> Result<&Signer, Error> {
        self.0.signer.as_deref().ok_or(Error::NoSigner)
    }

    /// The text that follows every issued leaf.
    pub(crate) fn intermediates(&self) -> &str {
        &self.0.intermediates.text
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa").field("digest", &self.digest()).field("can_sign", &self.can_sign()).finish()
    }
}

const _: () = assert!(ROOT_BACKDATE.as_secs().is_multiple_of(MINUTE.as_secs()));

#[cfg(test)]
mod tests;
