//! A machine of the cluster.

use std::sync::Arc;

use super::{
    DecodeError, Kind, Meta,
    codec::{self, FromWire, ToWire},
};
use crate::{NodeId, wire};

/// One machine's membership: who it is, what it has, and how it is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The common name of its certificate.
    pub id: NodeId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for: desired role, membership, availability, labels.
    pub spec: Arc<wire::NodeSpec>,
    /// What the agent reported of its machine. `None` until its first session.
    pub description: Option<Arc<wire::NodeDescription>>,
    /// Whether the dispatcher hears from it. Written by the dispatcher only.
    pub status: wire::NodeStatus,
    /// Its place in raft, for managers. Written when read, hardly ever stored.
    pub manager_status: Option<wire::ManagerStatus>,
    /// Its certificate: request, issued chain and where the issuing stands. Written by the CA only.
    pub certificate: wire::Certificate,
    /// The role that it acts in now; the desired one is in the spec.
    pub role: wire::NodeRole,
    /// Its attachments to networks. Written by the allocator only.
    pub attachments: Vec<wire::NetworkAttachment>,
    /// The single attachment of old versions, kept as it came.
    pub attachment: Option<wire::NetworkAttachment>,
    /// The UDP port of the overlay data path; 0 means the default, 4789.
    pub vxlan_udp_port: u32,
}

impl Node {
    /// A node that has only an identity.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: Arc::default(),
            description: None,
            status: wire::NodeStatus::default(),
            manager_status: None,
            certificate: wire::Certificate::default(),
            role: wire::NodeRole::Worker,
            attachments: Vec::new(),
            attachment: None,
            vxlan_udp_port: 0,
        }
    }

    /// The host name it reported, empty before it did.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.description.as_ref().map_or("", |description| &description.hostname)
    }
}

impl ToWire for Node {
    type Wire = wire::Node;

    #[allow(deprecated)]
    fn to_wire(&self) -> wire::Node {
        wire::Node {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            description: self.description.as_deref().cloned(),
            status: Some(self.status.clone()),
            manager_status: self.manager_status.clone(),
            attachment: self.attachment.clone(),
            certificate: Some(self.certificate.clone()),
            role: self.role.into(),
            attachments: self.attachments.clone(),
            vxlanudp_port: self.vxlan_udp_port,
        }
    }
}

impl FromWire for Node {
    type Wire = wire::Node;

    #[allow(deprecated)]
    fn from_wire(wire: wire::Node) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Node, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            description: wire.description.map(Arc::new),
            status: wire.status.unwrap_or_default(),
            manager_status: wire.manager_status,
            attachment: wire.attachment,
            certificate: wire.certificate.unwrap_or_default(),
            role: codec::enumeration("node.role", wire.role)?,
            attachments: wire.attachments,
            vxlan_udp_port: wire.vxlanudp_port,
        })
    }
}
