//! What a decision about the root depends on beside what is stored, and how it is found out.

use std::collections::BTreeMap;

use swarmkit_api::wire;
use swarmkit_ca::{Authorities, ExternalCa, KeyPair, RootCa, SystemKeys, normalize_pem};
use swarmkit_runtime::Env;

use super::{Current, Stop};
use crate::ControlError;

/// Which of the roots that play a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that is trusted.
    Current,
    /// The one that a replacement under way leads to.
    Next,
    /// The one that is wanted now.
    Desired,
}

/// What a decision needs to know.
#[derive(Debug)]
pub(crate) enum Question {
    /// A root of the cluster's own making.
    Fresh,
    /// Whether some authority outside of the cluster is there that signs for this root.
    Reach(RootCa),
    /// The certificate of this root, signed by the one that is trusted.
    CrossSign(RootCa),
}

/// What is known. Kept by the certificate of the root that it is about, so that nothing is taken for what it is not.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) fresh: Option<RootCa>,
    pub(crate) reached: BTreeMap<String, bool>,
    pub(crate) cross_signed: BTreeMap<String, Result<String, String>>,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
            Self::Desired => "desired",
        }
    }
}

impl Facts {
    pub(super) fn fresh(&self) -> Result<&RootCa, Stop> {
        self.fresh.as_ref().ok_or(Stop::Ask(Question::Fresh))
    }

    /// Refuses what nobody is there for.
    pub(super) fn reached(&self, which: Which, root: &RootCa) -> Result<(), Stop> {
        match self.reached.get(&name(root)) {
            Some(true) => Ok(()),
            Some(false) => Err(Stop::Refuse(ControlError::invalid(format!(
                "there must be at least one valid, reachable external CA corresponding to the {} CA certificate",
                which.name()
            )))),
            None => Err(Stop::Ask(Question::Reach(root.clone()))),
        }
    }

    pub(super) fn cross_signed(&self, target: &RootCa) -> Result<&str, Stop> {
        match self.cross_signed.get(&name(target)) {
            Some(Ok(certificate)) => Ok(certificate),
            Some(Err(reason)) => Err(Stop::Refuse(ControlError::Authority(format!(
                "unable to generate a cross-signed certificate for root rotation: {reason}"
            )))),
            None => Err(Stop::Ask(Question::CrossSign(target.clone()))),
        }
    }
}

/// What a root is kept under.
fn name(root: &RootCa) -> String {
    normalize_pem(root.bundle()).unwrap_or_else(|_| root.bundle().to_owned())
}

/// Finds out what was asked, and adds it to what is known. May take as long as all authorities outside may take together.
///
/// # Errors
///
/// [`ControlError::Authority`] when no root can be made.
pub(crate) async fn answer(
    question: Question,
    current: &Current<'_>,
    known: &[wire::ExternalCa],
    external: &dyn ExternalCa,
    facts: &mut Facts,
    env: &Env,
) -> Result<(), ControlError> {
    match question {
        Question::Fresh => {
            let root = RootCa::create(&SystemKeys, env).map_err(|error| ControlError::Authority(error.to_string()))?;
            facts.fresh = Some(root);
        }
        Question::Reach(root) => {
            let reached = external.reach(&Authorities::new(known, &root, &current.root)).await;
            if let Err(error) = &reached {
                tracing::warn!(%error, root = %root.digest(), "no authority outside of the cluster is there");
            }
            facts.reached.insert(name(&root), reached.is_ok());
        }
        Question::CrossSign(target) => {
            let signed = cross_sign(&target, current, known, external, env).await;
            facts.cross_signed.insert(name(&target), signed);
        }
    }
    Ok(())
}

/// Has the certificate of a root signed by the present one, and by no other: whoever trusts the present one only must be
/// able to follow, also when another replacement is given up for this one.
async fn cross_sign(
    target: &RootCa,
    current: &Current<'_>,
    known: &[wire::ExternalCa],
    external: &dyn ExternalCa,
    env: &Env,
) -> Result<String, String> {
    let told = |error: swarmkit_ca::Error| error.to_string();
    let signed = if current.stored.ca_key.is_empty() {
        let authorities = Authorities::new(known, &current.root, &current.root);
        external.cross_sign(&authorities, target).await.map_err(|error| error.to_string())?
    } else {
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&current.stored.ca_key)).map_err(told)?;
        let signer = current.root.clone().with_key(key, env).map_err(told)?;
        signer.cross_sign(target.bundle()).map_err(told)?
    };
    // As the managers will use it: nothing is begun that no certificate could be issued in.
    let signed = normalize_pem(&signed).map_err(told)?;
    let rotating = current.root.clone().with_intermediates(&signed, env.now()).map_err(told)?;
    if let Some(key) = target.signing_key() {
        let key = KeyPair::from_pem(&key.to_pem()).map_err(told)?;
        rotating.with_signer(&signed, key, env).map_err(told)?;
    }
    Ok(signed)
}
