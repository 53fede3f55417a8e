//! What the authority signs: from a question and who asks it to an answer. No network.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use swarmkit_api::{NodeId, NodeRole};
use swarmkit_ca::{Identity, LEAF_BACKDATE, LEAF_VALIDITY_DEFAULT, LEAF_VALIDITY_MIN, RootCa, Validity, role_name};
use swarmkit_runtime::Env;

use crate::cfssl::{Answer, CROSS_SIGNING, Question};

/// The node that an impostor signs for.
const SOMEBODY_ELSE: &str = "somebody-else";

/// The key of a root, and what is done with it.
pub(super) struct Authority {
    pub(super) root: RootCa,
    pub(super) cross_signing: bool,
    pub(super) env: Env,
}

impl Authority {
    /// Answers a question of a client.
    pub(super) fn answer(&self, client: &Identity, question: &[u8], impostor: bool) -> Answer {
        let signed = serde_json::from_slice::<Question>(question)
            .map_err(|error| format!("the question cannot be read: {error}"))
            .and_then(|question| match question.profile.as_str() {
                _ if client.role != NodeRole::Manager => Err("only managers may ask".to_owned()),
                CROSS_SIGNING => self.cross_sign(&question),
                _ => self.sign(client, &question, impostor),
            });
        match signed {
            Ok(certificate) => Answer::certificate(certificate),
            Err(reason) => Answer::refusal(reason),
        }
    }

    fn sign(&self, client: &Identity, question: &Question, impostor: bool) -> Result<String, String> {
        let mut identity = wanted(question)?;
        if identity.cluster != client.cluster {
            return Err("the certificate is for another organization than that of the client".to_owned());
        }
        let hosts = question.hosts.as_deref().unwrap_or_default();
        if !identity.names().into_iter().eq(hosts.iter().map(String::as_str)) {
            return Err("the hosts are not those of the subject".to_owned());
        }
        if impostor {
            identity.node = NodeId::from(SOMEBODY_ELSE);
        }
        let validity = self.validity(&question.not_after);
        let chain = self.root.issue(&question.certificate_request, &identity, validity, &self.env);
        chain.map_err(|error| error.to_string())
    }

    /// How long a certificate counts that is to end then. What cannot be given becomes the default.
    fn validity(&self, not_after: &str) -> Duration {
        // The end was counted from a moment ago, and certificates end on whole minutes.
        const A_MOMENT: Duration = Duration::from_secs(30);
        let not_after = humantime::parse_rfc3339(not_after).ok();
        let left = not_after.and_then(|end| end.duration_since(self.env.now()).ok()).map(|left| left + A_MOMENT);
        left.filter(|left| *left >= LEAF_VALIDITY_MIN).unwrap_or(LEAF_VALIDITY_DEFAULT)
    }

    /// The name and the key of another authority, signed here: for as long as the own root lasts.
    fn cross_sign(&self, question: &Question) -> Result<String, String> {
        if !self.cross_signing {
            return Err(format!("there is no profile {CROSS_SIGNING:?} here"));
        }
        let (own, issuer) = issuer(&self.root)?;
        let mut request = CertificateSigningRequestParams::from_pem(&question.certificate_request)
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        let own_validity = Validity::of_chain(&own).map_err(|error| error.to_string())?;
        request.params.not_before = own_validity.not_before.max(self.env.now() - LEAF_BACKDATE).into();
        request.params.not_after = own_validity.not_after.into();
        request.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        request.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        request.signed_by(&issuer).map(|certificate| certificate.pem()).map_err(|error| error.to_string())
    }
}

/// What signs for a root, with its certificate (PEM), for what the root itself does not make: not for P-521.
pub(super) fn issuer(root: &RootCa) -> Result<(String, Issuer<'static, KeyPair>), String> {
    let (Some(own), Some(key)) = (root.signing_certificate_pem(), root.signing_key()) else {
        return Err("this authority has no key".to_owned());
    };
    let key = KeyPair::from_pem(&key.to_pem()).map_err(|error| error.to_string())?;
    let issuer = Issuer::from_ca_cert_pem(&own, key).map_err(|error| error.to_string())?;
    Ok((own, issuer))
}

/// Whom a question wants a certificate for.
fn wanted(question: &Question) -> Result<Identity, String> {
    let [name] = question.subject.names.as_deref().unwrap_or_default() else {
        return Err("the subject does not have one name".to_owned());
    };
    let role =
        [NodeRole::Worker, NodeRole::Manager].into_iter().find(|&role| role_name(role) == name.organizational_unit);
    let role = role.ok_or_else(|| format!("there is no role {:?}", name.organizational_unit))?;
    let id = question.subject.common_name.as_str();
    if id.is_empty() || name.organization.is_empty() {
        return Err("the subject is not complete".to_owned());
    }
    Ok(Identity::new(id.into(), role, name.organization.as_str().into()))
}
