//! The kinds of object with little of their own: networks, the cluster, secrets, configs, resources, extensions, volumes.

use std::{collections::BTreeMap, sync::Arc};

use prost_types::Timestamp;

use super::{
    DecodeError, Kind, Meta, Waiting,
    codec::{self, FromWire, ToWire},
};
use crate::{ClusterId, ConfigId, ExtensionId, NetworkId, ResourceId, SecretId, VolumeId, wire};

/// A network that tasks attach to.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What identifies it.
    pub id: NetworkId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for.
    pub spec: Arc<wire::NetworkSpec>,
    /// The driver and the options it was given. Written by the allocator only.
    pub driver_state: Option<wire::Driver>,
    /// The address pools it was given. Written by the allocator only.
    pub ipam: Option<wire::IpamOptions>,
    /// To be deleted as soon as nothing uses it any more.
    pub pending_delete: bool,
    /// Data of an embedder, kept as it came.
    pub extra: Option<prost_types::Any>,
    /// What it waits for, as long as it has not been given what it needs. Written by the allocator only.
    pub waiting: Option<Waiting>,
}

impl Network {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: NetworkId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: Arc::default(),
            driver_state: None,
            ipam: None,
            pending_delete: false,
            extra: None,
            waiting: None,
        }
    }
}

impl ToWire for Network {
    type Wire = wire::Network;

    fn to_wire(&self) -> wire::Network {
        wire::Network {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            driver_state: self.driver_state.clone(),
            ipam: self.ipam.clone(),
            pending_delete: self.pending_delete,
            extra: self.extra.clone(),
            waiting: self.waiting.clone(),
        }
    }
}

impl FromWire for Network {
    type Wire = wire::Network;

    fn from_wire(wire: wire::Network) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Network, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            driver_state: wire.driver_state,
            ipam: wire.ipam,
            pending_delete: wire.pending_delete,
            extra: wire.extra,
            waiting: wire.waiting,
        })
    }
}

/// The cluster itself: its settings, its root of trust and its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// What identifies it.
    pub id: ClusterId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for.
    pub spec: Arc<wire::ClusterSpec>,
    /// The root certificate, its key, the join tokens, and a rotation in progress. Written by the CA only.
    pub root_ca: Arc<wire::RootCa>,
    /// The keys of the overlay data path. Written by the key manager only.
    pub network_bootstrap_keys: Vec<wire::EncryptionKey>,
    /// The time stamp of the newest of those keys.
    pub encryption_key_lamport_clock: u64,
    /// When those keys were last replaced.
    pub network_keys_rotated_at: Option<Timestamp>,
    /// Nodes that were removed while their certificate was still valid, by id.
    pub blacklisted_certificates: BTreeMap<String, wire::BlacklistedCertificate>,
    /// The keys that open the managers' key files.
    pub unlock_keys: Vec<wire::EncryptionKey>,
    /// Whether every node must use validated cryptography.
    pub fips: bool,
    /// The pools that subnets are cut from, as CIDR. Empty means `10.0.0.0/8`.
    pub default_address_pool: Vec<String>,
    /// The prefix length of a cut subnet. 0 means 24.
    pub subnet_size: u32,
    /// The UDP port of the overlay data path. 0 means 4789.
    pub vxlan_udp_port: u32,
}

impl Cluster {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: ClusterId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: Arc::default(),
            root_ca: Arc::default(),
            network_bootstrap_keys: Vec::new(),
            encryption_key_lamport_clock: 0,
            network_keys_rotated_at: None,
            blacklisted_certificates: BTreeMap::new(),
            unlock_keys: Vec::new(),
            fips: false,
            default_address_pool: Vec::new(),
            subnet_size: 0,
            vxlan_udp_port: 0,
        }
    }
}

impl ToWire for Cluster {
    type Wire = wire::Cluster;

    fn to_wire(&self) -> wire::Cluster {
        wire::Cluster {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            root_ca: Some(self.root_ca.as_ref().clone()),
            network_bootstrap_keys: self.network_bootstrap_keys.clone(),
            encryption_key_lamport_clock: self.encryption_key_lamport_clock,
            network_keys_rotated_at: self.network_keys_rotated_at,
            blacklisted_certificates: self.blacklisted_certificates.clone(),
            unlock_keys: self.unlock_keys.clone(),
            fips: self.fips,
            default_address_pool: self.default_address_pool.clone(),
            subnet_size: self.subnet_size,
            vxlanudp_port: self.vxlan_udp_port,
        }
    }
}

impl FromWire for Cluster {
    type Wire = wire::Cluster;

    fn from_wire(wire: wire::Cluster) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Cluster, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            root_ca: Arc::new(wire.root_ca.unwrap_or_default()),
            network_bootstrap_keys: wire.network_bootstrap_keys,
            encryption_key_lamport_clock: wire.encryption_key_lamport_clock,
            network_keys_rotated_at: wire.network_keys_rotated_at,
            blacklisted_certificates: wire.blacklisted_certificates,
            unlock_keys: wire.unlock_keys,
            fips: wire.fips,
            default_address_pool: wire.default_address_pool,
            subnet_size: wire.subnet_size,
            vxlan_udp_port: wire.vxlanudp_port,
        })
    }
}

/// Sensitive data for tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// What identifies it.
    pub id: SecretId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for, the data included.
    pub spec: Arc<wire::SecretSpec>,
    /// Made by the cluster itself, and hidden from lists.
    pub internal: bool,
}

impl Secret {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: SecretId) -> Self {
        Self { id, meta: Meta::default(), spec: Arc::default(), internal: false }
    }
}

impl ToWire for Secret {
    type Wire = wire::Secret;

    fn to_wire(&self) -> wire::Secret {
        wire::Secret {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            internal: self.internal,
        }
    }
}

impl FromWire for Secret {
    type Wire = wire::Secret;

    fn from_wire(wire: wire::Secret) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Secret, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            internal: wire.internal,
        })
    }
}

/// Plain data for tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What identifies it.
    pub id: ConfigId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for, the data included.
    pub spec: Arc<wire::ConfigSpec>,
}

impl Config {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: ConfigId) -> Self {
        Self { id, meta: Meta::default(), spec: Arc::default() }
    }
}

impl ToWire for Config {
    type Wire = wire::Config;

    fn to_wire(&self) -> wire::Config {
        wire::Config { id: self.id.to_string(), meta: Some(self.meta.into()), spec: Some(self.spec.as_ref().clone()) }
    }
}

impl FromWire for Config {
    type Wire = wire::Config;

    fn from_wire(wire: wire::Config) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Config, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
        })
    }
}

/// An object of a registered extension.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// What identifies it.
    pub id: ResourceId,
    /// When the object was written.
    pub meta: Meta,
    /// Its name, labels and indices.
    pub annotations: wire::Annotations,
    /// The name of the extension that it belongs to.
    pub kind: String,
    /// What the extension keeps in it.
    pub payload: Option<prost_types::Any>,
}

impl Resource {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: ResourceId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            annotations: wire::Annotations::default(),
            kind: String::new(),
            payload: None,
        }
    }
}

impl ToWire for Resource {
    type Wire = wire::Resource;

    fn to_wire(&self) -> wire::Resource {
        wire::Resource {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            annotations: Some(self.annotations.clone()),
            kind: self.kind.clone(),
            payload: self.payload.clone(),
        }
    }
}

impl FromWire for Resource {
    type Wire = wire::Resource;

    fn from_wire(wire: wire::Resource) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Resource, wire.id)?,
            meta: wire.meta.into(),
            annotations: wire.annotations.unwrap_or_default(),
            kind: wire.kind,
            payload: wire.payload,
        })
    }
}

/// A registered kind of resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// What identifies it.
    pub id: ExtensionId,
    /// When the object was written.
    pub meta: Meta,
    /// Its name, which resources give as their kind, labels and indices.
    pub annotations: wire::Annotations,
    /// What it is, for people.
    pub description: String,
}

impl Extension {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: ExtensionId) -> Self {
        Self { id, meta: Meta::default(), annotations: wire::Annotations::default(), description: String::new() }
    }
}

impl ToWire for Extension {
    type Wire = wire::Extension;

    fn to_wire(&self) -> wire::Extension {
        wire::Extension {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            annotations: Some(self.annotations.clone()),
            description: self.description.clone(),
        }
    }
}

impl FromWire for Extension {
    type Wire = wire::Extension;

    fn from_wire(wire: wire::Extension) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Extension, wire.id)?,
            meta: wire.meta.into(),
            annotations: wire.annotations.unwrap_or_default(),
            description: wire.description,
        })
    }
}

/// A volume that the cluster manages.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// What identifies it.
    pub id: VolumeId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for.
    pub spec: Arc<wire::VolumeSpec>,
    /// On which nodes it is published, and how far that has come.
    pub publish_status: Vec<wire::VolumePublishStatus>,
    /// What the driver said when it made the volume. `None` until then.
    pub volume_info: Option<wire::VolumeInfo>,
    /// To be deleted as soon as nothing uses it any more.
    pub pending_delete: bool,
    /// Why it is not made, or not deleted, yet. Written by the leader only.
    pub waiting: Option<Waiting>,
}

impl Volume {
    /// One with nothing but an id.
    #[must_use]
    pub fn new(id: VolumeId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: Arc::default(),
            publish_status: Vec::new(),
            volume_info: None,
            pending_delete: false,
            waiting: None,
        }
    }
}

impl ToWire for Volume {
    type Wire = wire::Volume;

    fn to_wire(&self) -> wire::Volume {
        wire::Volume {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            publish_status: self.publish_status.clone(),
            volume_info: self.volume_info.clone(),
            pending_delete: self.pending_delete,
            waiting: self.waiting.clone(),
        }
    }
}

impl FromWire for Volume {
    type Wire = wire::Volume;

    fn from_wire(wire: wire::Volume) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Volume, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            publish_status: wire.publish_status,
            volume_info: wire.volume_info,
            pending_delete: wire.pending_delete,
            waiting: wire.waiting,
        })
    }
}
