//! Another root for the cluster: what the settings that somebody wants come to.
//!
//! [`decide`] is the whole of it: from the root that is stored, the wish and what is known of the world to the root that is
//! to be stored. What it would have to know and does not, it asks for ([`Question`]); [`answer`] finds out, which takes time
//! and the network and so happens before the transaction. Inside, the same decision is made again, on what is stored then.

mod facts;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use swarmkit_api::wire;
use swarmkit_ca::{KeyPair, RootCa, normalize_pem};
use swarmkit_runtime::Env;

use crate::ControlError;

pub(crate) use facts::{Facts, Question, Which, answer};

/// How long a root must last at least that is to become the cluster's: a year, as upstream.
const ROOT_LIFE_MIN: std::time::Duration = std::time::Duration::from_secs(8760 * 3600);

/// What the settings of a cluster say of its root.
pub(crate) struct Wish {
    /// The root that is wanted, as PEM without headers. Empty when none is named.
    certificate: String,
    key: Bytes,
    force: u64,
    /// The root that is wanted, or what is wrong with it.
    desired: Option<Result<RootCa, String>>,
}

/// The root that is stored, as far as a decision needs to read it.
pub(crate) struct Current<'a> {
    pub(crate) stored: &'a wire::RootCa,
    /// Whom the cluster trusts, without the means to sign.
    pub(crate) root: RootCa,
}

/// Why there is no decision.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It depends on this.
    Ask(Question),
    /// The wish cannot be granted.
    Refuse(ControlError),
}

impl From<ControlError> for Stop {
    fn from(error: ControlError) -> Self {
        Self::Refuse(error)
    }
}

// === impl Wish ===

impl Wish {
    /// Reads what is wanted. What is wrong with it is told where it matters, by [`decide`].
    pub(crate) fn read(config: Option<&wire::CaConfig>, env: &Env) -> Self {
        let none = wire::CaConfig::default();
        let config = config.unwrap_or(&none);
        let key = config.signing_ca_key.clone();
        let text = String::from_utf8_lossy(&config.signing_ca_cert);
        let certificate = normalize_pem(&text).unwrap_or_default();
        // Text without a certificate in it is a wish all the same, and refused as such.
        let desired = (!config.signing_ca_cert.is_empty()).then(|| read_root(&certificate, &key, env));
        Self { certificate, key, force: config.force_rotate, desired }
    }
}

fn read_root(certificate: &str, key: &[u8], env: &Env) -> Result<RootCa, String> {
    let told = |error: swarmkit_ca::Error| error.to_string();
    let root = RootCa::from_pem(certificate, env.now()).map_err(told)?;
    if key.is_empty() {
        return Ok(root);
    }
    let key = KeyPair::from_pem(&String::from_utf8_lossy(key)).map_err(told)?;
    root.with_key(key, env).map_err(told)
}

// === impl Current ===

impl<'a> Current<'a> {
    /// # Errors
    ///
    /// [`ControlError::Authority`] when nobody can make anything of what is stored.
    pub(crate) fn read(stored: &'a wire::RootCa, env: &Env) -> Result<Self, ControlError> {
        let bundle = String::from_utf8_lossy(&stored.ca_cert);
        let root = RootCa::from_pem(&bundle, env.now())
            .map_err(|error| ControlError::Authority(format!("invalid cluster root CA object in raft: {error}")))?;
        Ok(Self { stored, root })
    }

    fn is(&self, certificate: &str) -> bool {
        normalize_pem(self.root.bundle()).is_ok_and(|own| own == certificate)
    }

    fn has_key(&self) -> bool {
        !self.stored.ca_key.is_empty()
    }

    /// Whether a key is that of this root, in whatever form either is written.
    fn is_key(&self, key: &[u8]) -> bool {
        let public = |key: &[u8]| KeyPair::from_pem(&String::from_utf8_lossy(key)).map(|key| key.public_key()).ok();
        self.has_key()
            && !key.is_empty()
            && (bool::from(self.stored.ca_key.ct_eq(key))
                || public(&self.stored.ca_key).is_some_and(|own| public(key) == Some(own)))
    }
}

// === the decision ===

/// Decides what the root of a cluster is to be. `None` when it stays as it is.
///
/// # Errors
///
/// [`Stop::Ask`] when that depends on something that `facts` do not tell; [`Stop::Refuse`] when it cannot be done.
pub(crate) fn decide(
    current: &Current<'_>,
    wish: &Wish,
    facts: &Facts,
    env: &Env,
) -> Result<Option<wire::RootCa>, Stop> {
    if !wish.key.is_empty() && wish.desired.is_none() {
        return refuse("if a signing CA key is provided, the signing CA cert must also be provided");
    }
    if !current.has_key() {
        if !wish.key.is_empty() && current.is(&wish.certificate) {
            // The cluster is given the key that signs already: nobody has to be there for that.
            pair(wish)?;
            return Ok(Some(stays(current, wish)));
        }
        facts.reached(Which::Current, &current.root)?;
    }
    if wish.desired.is_none() {
        return decide_unnamed(current, wish, facts, env);
    }
    let desired = desired(wish, env)?;
    if wish.key.is_empty() {
        facts.reached(Which::Desired, desired)?;
    }
    if current.is(&wish.certificate) {
        return Ok(Some(stays(current, wish)));
    }
    if current.is_key(&wish.key) {
        return refuse("Cannot update to a cert with an identical key");
    }
    if let Some(rotation) = &current.stored.root_rotation
        && normalize_pem(&String::from_utf8_lossy(&rotation.ca_cert)).is_ok_and(|target| target == wish.certificate)
    {
        let rotation = wire::RootRotation { ca_key: wish.key.clone(), ..rotation.clone() };
        return Ok(Some(forced(current, wish, Some(rotation))));
    }
    start(current, wish, desired, facts).map(Some)
}

/// No root is named: the cluster makes one itself if it is told to by a number that it has not seen.
fn decide_unnamed(current: &Current<'_>, wish: &Wish, facts: &Facts, env: &Env) -> Result<Option<wire::RootCa>, Stop> {
    if wish.force != current.stored.last_forced_rotation {
        return start(current, wish, facts.fresh()?, facts).map(Some);
    }
    if let Some(next) = current.stored.root_rotation.as_ref().filter(|rotation| rotation.ca_key.is_empty()) {
        let next = RootCa::from_pem(&String::from_utf8_lossy(&next.ca_cert), env.now());
        facts.reached(Which::Next, &next.map_err(|error| ControlError::Authority(error.to_string()))?)?;
    }
    Ok(None)
}

/// The pair that is wanted, if it is one.
fn pair(wish: &Wish) -> Result<&RootCa, ControlError> {
    match &wish.desired {
        Some(Ok(root)) => Ok(root),
        Some(Err(reason)) => Err(ControlError::invalid(reason.clone())),
        None => Err(ControlError::missing_argument()),
    }
}

/// The root that is wanted, if it may become one.
fn desired<'a>(wish: &'a Wish, env: &Env) -> Result<&'a RootCa, ControlError> {
    let root = pair(wish)?;
    if root.roots().len() != 1 {
        return Err(ControlError::invalid("the desired CA certificate cannot contain multiple certificates"));
    }
    if root.validity().not_after < env.now() + ROOT_LIFE_MIN {
        return Err(ControlError::invalid("CA certificate expires too soon"));
    }
    Ok(root)
}

/// The present root stays, with the key that is wanted or without one; a replacement that is under way is given up.
fn stays(current: &Current<'_>, wish: &Wish) -> wire::RootCa {
    wire::RootCa { ca_key: wish.key.clone(), ..forced(current, wish, None) }
}

/// The present root, and the replacement that is under way from now on.
fn forced(current: &Current<'_>, wish: &Wish, rotation: Option<wire::RootRotation>) -> wire::RootCa {
    wire::RootCa { root_rotation: rotation, last_forced_rotation: wish.force, ..current.stored.clone() }
}

/// Begins to replace the present root, and no other: one that is on its way already is forgotten.
fn start(current: &Current<'_>, wish: &Wish, target: &RootCa, facts: &Facts) -> Result<wire::RootCa, Stop> {
    if !current.has_key() && !target.can_sign() {
        return refuse("rotating from one external CA to a different external CA is not supported");
    }
    let cross_signed = facts.cross_signed(target)?;
    let ca_key = target.signing_key().map(|key| key.to_pem().as_bytes().to_vec().into()).unwrap_or_default();
    let rotation = wire::RootRotation {
        ca_cert: target.bundle().to_owned().into(),
        // What was given stays as it was given, to the byte.
        ca_key: if wish.key.is_empty() { ca_key } else { wish.key.clone() },
        cross_signed_ca_cert: cross_signed.to_owned().into(),
    };
    Ok(forced(current, wish, Some(rotation)))
}

fn refuse<T>(text: &str) -> Result<T, Stop> {
    Err(Stop::Refuse(ControlError::invalid(text)))
}

#[cfg(test)]
mod tests;
