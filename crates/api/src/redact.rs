//! What the generated `Debug` of a message with secrets prints instead of them.
use std::fmt;

use bytes::Bytes;

/// Stands for a secret value in `Debug`: tells its length, or that it is not set, and nothing else.
pub(crate) fn length(secret: &impl Secret) -> Redacted {
    Redacted(secret.length())
}

/// Prints the name of an enum's value, or the bare number of one that this build does not know.
pub(crate) fn choice<E: TryFrom<i32> + fmt::Debug>(number: i32) -> Choice<E> {
    E::try_from(number).map_or(Choice::Unknown(number), Choice::Known)
}

/// The types that a secret field may have.
pub(crate) trait Secret {
    /// Length in bytes; `None` if the field is absent.
    fn length(&self) -> Option<usize>;
}

impl Secret for Bytes {
    fn length(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Secret for String {
    fn length(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl<S: Secret> Secret for Option<S> {
    fn length(&self) -> Option<usize> {
        self.as_ref().and_then(Secret::length)
    }
}

/// See [`length`].
pub(crate) struct Redacted(Option<usize>);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(0) => f.write_str("empty"),
            Some(1) => f.write_str("1 secret byte"),
            Some(length) => write!(f, "{length} secret bytes"),
        }
    }
}

/// See [`choice`].
pub(crate) enum Choice<E> {
    Known(E),
    Unknown(i32),
}

impl<E: fmt::Debug> fmt::Debug for Choice<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Unknown(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    /// Seen nowhere else in the output, as text or as a list of bytes.
    const SECRET: &str = "Zq7Zq7Zq7";

    fn check(message: &impl fmt::Debug) {
        let text = format!("{message:?} {message:#?}");
        assert!(!text.contains("Zq7"), "{text}");
        assert!(!text.contains("90, 113, 55"), "{text}");
        assert!(text.contains("9 secret bytes"), "{text}");
    }

    #[test]
    fn no_byte_of_a_secret_appears_in_debug() {
        let bytes = Bytes::from_static(SECRET.as_bytes());
        check(&wire::SecretSpec { data: bytes.clone(), ..Default::default() });
        check(&wire::CaConfig { signing_ca_key: bytes.clone(), ..Default::default() });
        check(&wire::RootCa { ca_key: bytes.clone(), ..Default::default() });
        check(&wire::RootRotation { ca_key: bytes.clone(), ..Default::default() });
        check(&wire::JoinTokens { worker: SECRET.into(), ..Default::default() });
        check(&wire::JoinTokens { manager: SECRET.into(), ..Default::default() });
        check(&wire::EncryptionKey { key: bytes.clone(), ..Default::default() });
        check(&wire::GetUnlockKeyResponse { unlock_key: bytes.clone(), ..Default::default() });
        check(&wire::IssueNodeCertificateRequest { token: SECRET.into(), ..Default::default() });
        check(&wire::MaybeEncryptedRecord { data: bytes.clone(), ..Default::default() });
        check(&wire::container_spec::PullOptions { registry_auth: SECRET.into() });
        check(&wire::acceptance_policy::role_admission_policy::Secret { data: bytes.clone(), ..Default::default() });
        check(&wire::raftpb::Entry { data: Some(bytes.clone()), ..Default::default() });
        check(&wire::raftpb::Snapshot { data: Some(bytes), ..Default::default() });
    }

    #[test]
    fn a_message_that_carries_one_with_a_secret_is_safe_too() {
        let spec = wire::SecretSpec { data: Bytes::from_static(SECRET.as_bytes()), ..Default::default() };
        let secret = wire::Secret { spec: Some(spec), ..Default::default() };
        let item = wire::assignment::Item::Secret(secret);
        let assignment = wire::Assignment { item: Some(item) };
        check(&wire::AssignmentChange { assignment: Some(assignment), action: 0 });
    }

    #[test]
    fn what_is_not_secret_is_still_told() {
        let key = wire::EncryptionKey { subsystem: "networking:gossip".into(), lamport_time: 7, ..Default::default() };
        assert_eq!(
            format!("{key:?}"),
            "EncryptionKey { subsystem: \"networking:gossip\", algorithm: Aes128Gcm, key: empty, lamport_time: 7 }"
        );
        let unknown = wire::EncryptionKey { algorithm: 99, ..Default::default() };
        assert!(format!("{unknown:?}").contains("algorithm: 99"));
    }
}
