//! Typed identifiers: a task's id cannot be passed where a node's is meant.

mod text;

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
};

use text::Text;

/// Makes one identifier type. Ids compare by bytes, lie in place unless they are unusually long, and are never empty where
/// a type says `Option<Id>`: the wire's empty string is `None`.
macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Text);

        impl $name {
            /// Takes an id as it is. Ids made by a cluster have 25 characters of `0-9a-z`; others are kept too.
            #[must_use]
            pub fn new(id: impl AsRef<str>) -> Self {
                Self(Text::new(id.as_ref()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
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

        /// As `str` does, since ids are looked up by it.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self::new(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
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
