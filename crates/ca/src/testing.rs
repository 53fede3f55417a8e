//! What the tests of this crate share: a clock that stands still, and the files made with other programs.

use std::time::{Duration, SystemTime};

use rcgen::Issuer;
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_runtime::{Clock, Env};

use crate::{
    Error, Identity, KeyPair, KeySource, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys,
    algorithm::Algorithm,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The first of January 2030, noon, a moment within the validity of all fixtures.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_499_200)
}

struct At(SystemTime);

impl Clock for At {
    fn now(&self) -> SystemTime {
        self.0
    }
}

pub(crate) fn env() -> Env {
    env_at(noon())
}

pub(crate) fn env_at(time: SystemTime) -> Env {
    Env::seeded(7, At(time))
}

pub(crate) fn root() -> RootCa {
    RootCa::create(&SystemKeys, &env()).unwrap()
}

pub(crate) fn worker() -> Identity {
    Identity::new(NodeId::from("node1"), NodeRole::Worker, ClusterId::from("cluster1"))
}

pub(crate) fn manager() -> Identity {
    Identity::new(NodeId::from("node2"), NodeRole::Manager, ClusterId::from("cluster1"))
}

/// A certificate for `identity` as `root` issues it at noon.
pub(crate) fn member(root: &RootCa, identity: &Identity) -> NodeCertificate {
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), identity, LEAF_VALIDITY_DEFAULT, &env()).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

/// A root of the usual name whose key comes from a file.
pub(crate) fn root_with(key: &'static str) -> RootCa {
    struct File(&'static str);
    impl KeySource for File {
        fn generate(&self) -> Result<KeyPair, Error> {
            KeyPair::from_pem(self.0)
        }
    }
    RootCa::create(&File(key), &env()).unwrap()
}

pub(crate) fn copy_of(key: &KeyPair) -> KeyPair {
    KeyPair::from_pem(&key.to_pem()).unwrap()
}

/// Lets the library make the certificates that this crate never would, and sign them with a key of ours.
impl RootCa {
    pub(crate) fn issuer(&self) -> Issuer<'static, KeyPair> {
        let signer = self.signer().unwrap();
        Issuer::from_ca_cert_der(&signer.certificate, copy_of(&signer.key)).unwrap()
    }
}

impl rcgen::PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        let parts = crate::der::elements(self.spki()).unwrap();
        &crate::der::contents(parts[1]).unwrap()[1..]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match KeyPair::algorithm(self) {
            Algorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Algorithm::EcdsaP521Sha512 => panic!("that library knows no P-521"),
            Algorithm::RsaSha256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::RsaSha384 => &rcgen::PKCS_RSA_SHA384,
            Algorithm::RsaSha512 => &rcgen::PKCS_RSA_SHA512,
        }
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        KeyPair::sign(self, message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// A file of `tests/fixtures`.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}
pub(crate) use fixture;
