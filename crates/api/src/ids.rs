//! Typed identifiers: a task's id cannot be passed where a node's is meant.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Makes one identifier type. Ids compare by bytes, clone by reference count, and are never empty where a type says
/// `Option<Id>`: the wire's empty string is `None`.
macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an id as it is. Ids made by a cluster have 25 characters of `0-9a-z`; others are kept too.
            #[must_use]
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// What the wire carries in an optional place: the empty string is no id.
            #[must_use]
            pub fn from_wire(id: String) -> Option<Self> {
                (!id.is_empty()).then(|| Self::from(id))
            }

            /// The wire's form of an optional id.
            #[must_use]
            pub fn to_wire(id: Option<&Self>) -> String {
                id.map(Self::to_string).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

typed_id! {
    /// Identifies one node: the common name of its certificate.
    NodeId;
    /// Identifies one service for its whole life.
    ServiceId;
    /// Identifies one attempt to run something.
    TaskId;
    /// Identifies one network.
    NetworkId;
    /// Identifies one cluster: the organization in every certificate of it.
    ClusterId;
    /// Identifies one secret.
    SecretId;
    /// Identifies one config.
    ConfigId;
    /// Identifies one extension, which is a kind of resource.
    ExtensionId;
    /// Identifies one resource.
    ResourceId;
    /// Identifies one cluster volume.
    VolumeId;
}
