//! Join tokens: what a new node shows to be let in, and what it checks the cluster by.

use std::fmt;

use subtle::ConstantTimeEq as _;
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{base36, digest::RootDigest, error::Error};

const PREFIX: &str = "SWMTKN";
const DIGEST_DIGITS: usize = 50;
const SECRET_DIGITS: usize = 25;
const SECRET_BYTES: usize = 16;

/// A join token: the digest of the root bundle, by which the node knows the cluster, and a secret, by which the cluster
/// knows the node and the role meant for it.
///
/// `SWMTKN-1-DIGEST-SECRET`, or `SWMTKN-2-1-DIGEST-SECRET` where every node must run in FIPS mode. The text is wiped
/// when dropped, and shown by [`JoinToken::as_str`] alone.
#[derive(Clone)]
pub struct JoinToken {
    text: Zeroizing<String>,
    digest: RootDigest,
    fips: bool,
}

impl JoinToken {
    /// Makes a token for the cluster with this root bundle.
    #[must_use]
    pub fn generate(digest: RootDigest, fips: bool, env: &Env) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        env.fill_random(&mut *secret);
        let secret = Zeroizing::new(base36::encode(&*secret, SECRET_DIGITS));
        let version = if fips { "2-1" } else { "1" };
        let pin = base36::encode(digest.as_bytes(), DIGEST_DIGITS);
        Self { text: Zeroizing::new(format!("{PREFIX}-{version}-{pin}-{}", *secret)), digest, fips }
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJoinToken`] for anything that cannot have been made by a cluster.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('-').collect();
        let (fips, digest, secret) = match parts[..] {
            [PREFIX, "1", digest, secret] => (false, digest, secret),
            [PREFIX, "2", flag @ ("0" | "1"), digest, secret] => (flag == "1", digest, secret),
            _ => return Err(Error::InvalidJoinToken),
        };
        if digest.len() != DIGEST_DIGITS || secret.len() != SECRET_DIGITS {
            return Err(Error::InvalidJoinToken);
        }
        let digest = base36::decode::<32>(digest).ok_or(Error::InvalidJoinToken)?;
        base36::decode::<{ SECRET_BYTES + 1 }>(secret).ok_or(Error::InvalidJoinToken)?;
        Ok(Self { text: Zeroizing::new(text.to_owned()), digest: RootDigest::from_bytes(digest), fips })
    }

    /// The digest of the root bundle that the cluster must show.
    #[must_use]
    pub fn digest(&self) -> RootDigest {
        self.digest
    }

    /// Whether the cluster demands that every node runs in FIPS mode.
    #[must_use]
    pub fn requires_fips(&self) -> bool {
        self.fips
    }

    /// The whole token, which is a secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a presented text is this token. The time it takes does not tell how much of it was right.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.text.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl PartialEq for JoinToken {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.text)
    }
}

impl Eq for JoinToken {}

/// The secret is left out.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("digest", &self.digest).field("fips", &self.fips).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> RootDigest {
        RootDigest::of(b"a bundle")
    }

    #[test]
    fn an_ordinary_token_has_version_1_and_reads_back() {
        let token = JoinToken::generate(digest(), false, &Env::real());
        let parts: Vec<_> = token.as_str().split('-').collect();
        assert_eq!(parts[..2], ["SWMTKN", "1"]);
        assert_eq!((parts[2].len(), parts[3].len(), parts.len()), (50, 25, 4));
        let read = JoinToken::parse(token.as_str()).unwrap();
        assert_eq!(read, token);
        assert_eq!(read.digest(), digest());
        assert!(!read.requires_fips());
    }

    #[test]
    fn a_fips_token_has_version_2_and_reads_back() {
        let token = JoinToken::generate(digest(), true, &Env::real());
        assert!(token.as_str().starts_with("SWMTKN-2-1-"));
        assert!(JoinToken::parse(token.as_str()).unwrap().requires_fips());
        let lax = token.as_str().replace("-2-1-", "-2-0-");
        assert!(!JoinToken::parse(&lax).unwrap().requires_fips());
    }

    #[test]
    fn two_tokens_of_one_root_share_the_digest_and_differ_in_the_secret() {
        let env = Env::real();
        let (a, b) = (JoinToken::generate(digest(), false, &env), JoinToken::generate(digest(), false, &env));
        assert_eq!(a.as_str()[..60], b.as_str()[..60]);
        assert_ne!(a.as_str()[60..], b.as_str()[60..]);
    }

    #[test]
    fn a_token_matches_only_itself() {
        let env = Env::real();
        let (a, b) = (JoinToken::generate(digest(), false, &env), JoinToken::generate(digest(), false, &env));
        assert!(a.matches(a.as_str()));
        assert!(!a.matches(b.as_str()));
        assert!(!a.matches(""));
        assert!(!a.matches(&a.as_str()[..80]));
    }

    #[test]
    fn what_no_cluster_makes_is_refused() {
        let token = JoinToken::generate(digest(), false, &Env::real());
        let text = token.as_str();
        let (digest, secret) = (&text[9..59], &text[60..]);
        for wrong in [
            String::new(),
            "SWMTKN".to_owned(),
            text.replace("SWMTKN", "swmtkn"),
            text.replace("-1-", "-3-"),
            format!("SWMTKN-1-1-{digest}-{secret}"),
            format!("SWMTKN-2-{digest}-{secret}"),
            format!("SWMTKN-2-2-{digest}-{secret}"),
            format!("SWMTKN-1-{}-{secret}", &digest[1..]),
            format!("SWMTKN-1-{digest}-{}", &secret[1..]),
            format!("SWMTKN-1-{digest}-{secret}-"),
            format!("SWMTKN-1-{}A-{secret}", &digest[1..]),
            format!("SWMTKN-1-{}-{secret}", "z".repeat(50)),
            format!("SWMTKN-1-{digest}-{}!", &secret[1..]),
            format!("{text}\n"),
        ] {
            let error = JoinToken::parse(&wrong).expect_err(&wrong);
            assert_eq!(error.to_string(), "invalid join token");
        }
    }

    #[test]
    fn the_debug_form_does_not_show_the_secret() {
        let token = JoinToken::generate(digest(), false, &Env::real());
        let secret = token.as_str().rsplit('-').next().unwrap();
        assert!(!format!("{token:?}").contains(secret));
    }
}
