//! The ten kinds of object that a cluster is made of, as the rest of the workspace sees them.
//!
//! They differ from the wire's messages in what the type system can promise: ids are typed, enums are real, what many
//! objects share is behind an [`Arc`], and what must be there is not optional. The specifications inside are the wire's
//! own messages, since these are the public model.

mod codec;
mod node;
mod service;
mod small;
mod task;
mod task_wire;

use std::{borrow::Borrow, fmt, sync::Arc};

use bytes::{Buf, BufMut};

pub use codec::DecodeError;
pub use node::Node;
pub use service::{Endpoint, JobRun, Service, UpdateStatus, Waiting};
pub use small::{Cluster, Config, Extension, Network, Resource, Secret, Volume};
pub use task::{Origin, Preemption, Task, TaskStatus};
pub use task_wire::Sharing;

use crate::{
    ClusterId, ConfigId, ExtensionId, NetworkId, NodeId, ResourceId, SecretId, ServiceId, TaskId, Version, VolumeId,
    wire,
};

/// When an object was written, and on top of which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The version of the state that the last write was built on.
    pub version: Version,
    /// When the object was created. Set by the store.
    pub created_at: Option<prost_types::Timestamp>,
    /// When the object was last written. Set by the store.
    pub updated_at: Option<prost_types::Timestamp>,
    /// The version of the state that its creation was built on, which tells its age without a clock. Set by the store; 0
    /// in objects of managers that did not.
    pub created_version: Version,
}

impl From<Option<wire::Meta>> for Meta {
    fn from(meta: Option<wire::Meta>) -> Self {
        let meta = meta.unwrap_or_default();
        Self {
            version: meta.version.unwrap_or_default().into(),
            created_at: meta.created_at,
            updated_at: meta.updated_at,
            created_version: Version(meta.created_version),
        }
    }
}

impl From<Meta> for wire::Meta {
    fn from(meta: Meta) -> Self {
        Self {
            version: Some(meta.version.into()),
            created_at: meta.created_at,
            updated_at: meta.updated_at,
            created_version: meta.created_version.0,
        }
    }
}

/// The kinds of object, in the order of the wire's store actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A machine of the cluster.
    Node = 0,
    /// A unit of intent.
    Service,
    /// One attempt to run something.
    Task,
    /// A network that tasks attach to.
    Network,
    /// The cluster itself.
    Cluster,
    /// Sensitive data for tasks.
    Secret,
    /// An object of a registered extension.
    Resource,
    /// A registered kind of resource.
    Extension,
    /// Plain data for tasks.
    Config,
    /// A volume that the cluster manages.
    Volume,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::Service,
        Self::Task,
        Self::Network,
        Self::Cluster,
        Self::Secret,
        Self::Resource,
        Self::Extension,
        Self::Config,
        Self::Volume,
    ];

    /// The name of the kind as the watch API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::Task => "task",
            Self::Network => "network",
            Self::Cluster => "cluster",
            Self::Secret => "secret",
            Self::Resource => "resource",
            Self::Extension => "extension",
            Self::Config => "config",
            Self::Volume => "volume",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// One of the ten kinds of object that a store keeps. Sealed: the snapshot format lists them all.
pub trait Object: sealed::Sealed + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// What identifies an object of this kind.
    type Id: Clone
        + Ord
        + fmt::Debug
        + fmt::Display
        + AsRef<str>
        + Borrow<str>
        + for<'a> From<&'a str>
        + Send
        + Sync
        + 'static;
    /// The wire's message of this kind.
    type Wire: prost::Message + Default;

    /// Which kind this is.
    const KIND: Kind;

    /// What identifies this object.
    fn id(&self) -> &Self::Id;
    /// When it was written.
    fn meta(&self) -> &Meta;
    /// When it was written, for the store to set.
    fn meta_mut(&mut self) -> &mut Meta;
    /// Its name, labels and custom indices.
    fn annotations(&self) -> &wire::Annotations;

    /// The wire's message of this object.
    fn to_wire(&self) -> Self::Wire;

    /// Reads the wire's message. Absent parts become their defaults.
    ///
    /// # Errors
    ///
    /// When an enum holds a number that this version does not know, or the id is missing.
    fn from_wire(wire: Self::Wire) -> Result<Self, DecodeError>;

    /// How many bytes [`Object::encode`] writes.
    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(&self.to_wire())
    }

    /// Writes the wire's form, without copying what is shared.
    fn encode(&self, buffer: &mut impl BufMut) {
        prost::Message::encode_raw(&self.to_wire(), buffer);
    }

    /// Wraps this object for code that handles every kind.
    fn into_any(self: Arc<Self>) -> AnyObject;

    /// Unwraps an object of this kind.
    fn from_any(any: &AnyObject) -> Option<&Arc<Self>>;
}

macro_rules! any_object {
    ($($kind:ident: $id:ty, $annotations:expr;)*) => {
        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AnyObject {
            $(
                #[doc = concat!("A [`", stringify!($kind), "`].")]
                $kind(Arc<$kind>),
            )*
        }

        impl AnyObject {
            /// Which kind it is.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Its id, as text.
            #[must_use]
            pub fn id(&self) -> &str {
                match self { $(Self::$kind(object) => object.id.as_str(),)* }
            }

            /// When it was written.
            #[must_use]
            pub fn meta(&self) -> &Meta {
                match self { $(Self::$kind(object) => &object.meta,)* }
            }

            /// How many bytes [`AnyObject::encode`] writes.
            #[must_use]
            pub fn encoded_len(&self) -> usize {
                match self { $(Self::$kind(object) => object.encoded_len(),)* }
            }

            /// Writes the wire's form of the object alone.
            pub fn encode(&self, buffer: &mut impl BufMut) {
                match self { $(Self::$kind(object) => object.encode(buffer),)* }
            }

            /// Reads an object of a known kind.
            ///
            /// # Errors
            ///
            /// When the bytes are no message of that kind, or hold what this version does not know.
            pub fn decode(kind: Kind, buffer: impl Buf) -> Result<Self, DecodeError> {
                match kind { $(
                    Kind::$kind => {
                        let wire = <$kind as Object>::Wire::decode_from(buffer)?;
                        Ok(Self::$kind(Arc::new(<$kind as Object>::from_wire(wire)?)))
                    }
                )* }
            }

            /// The same, where many objects are read one after the other: tasks share what they have in common.
            ///
            /// # Errors
            ///
            /// As [`AnyObject::decode`].
            pub fn decode_sharing(kind: Kind, bytes: &[u8], sharing: &mut Sharing) -> Result<Self, DecodeError> {
                match kind {
                    Kind::Task => Ok(Self::Task(Arc::new(task_wire::decode(bytes, sharing)?))),
                    other => Self::decode(other, bytes),
                }
            }

            /// The wire's message for watchers and for the log.
            #[must_use]
            pub fn to_wire(&self) -> wire::Object {
                wire::Object { object: Some(match self {
                    $(Self::$kind(object) => wire::object::Object::$kind(object.to_wire()),)*
                }) }
            }
        }

        $(
            impl sealed::Sealed for $kind {}

            impl Object for $kind {
                type Id = $id;
                type Wire = wire::$kind;
                const KIND: Kind = Kind::$kind;

                fn id(&self) -> &Self::Id { &self.id }
                fn meta(&self) -> &Meta { &self.meta }
                fn meta_mut(&mut self) -> &mut Meta { &mut self.meta }
                fn annotations(&self) -> &wire::Annotations {
                    let of: fn(&$kind) -> &wire::Annotations = $annotations;
                    of(self)
                }
                fn to_wire(&self) -> Self::Wire { codec::ToWire::to_wire(self) }
                fn from_wire(wire: Self::Wire) -> Result<Self, DecodeError> { codec::FromWire::from_wire(wire) }
                fn encoded_len(&self) -> usize { codec::ToWire::encoded_len(self) }
                fn encode(&self, buffer: &mut impl BufMut) { codec::ToWire::encode(self, buffer); }
                fn into_any(self: Arc<Self>) -> AnyObject { AnyObject::$kind(self) }
                fn from_any(any: &AnyObject) -> Option<&Arc<Self>> {
                    match any { AnyObject::$kind(object) => Some(object), _ => None }
                }
            }
        )*
    };
}

any_object! {
    Node: NodeId, |node| codec::annotations(&node.spec.annotations);
    Service: ServiceId, |service| codec::annotations(&service.spec.annotations);
    Task: TaskId, |task| &task.annotations;
    Network: NetworkId, |network| codec::annotations(&network.spec.annotations);
    Cluster: ClusterId, |cluster| codec::annotations(&cluster.spec.annotations);
    Secret: SecretId, |secret| codec::annotations(&secret.spec.annotations);
    Resource: ResourceId, |resource| &resource.annotations;
    Extension: ExtensionId, |extension| &extension.annotations;
    Config: ConfigId, |config| codec::annotations(&config.spec.annotations);
    Volume: VolumeId, |volume| codec::annotations(&volume.spec.annotations);
}

use codec::DecodeFrom as _;
