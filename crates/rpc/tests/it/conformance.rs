//! Both transports keep the obligations of the seam.

use std::sync::atomic::{AtomicU64, Ordering};

use swarmkit_ca::{Credentials, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, SystemKeys};
use swarmkit_rpc::{MemoryNetwork, TlsTransport, conformance};

use crate::world::World;

#[tokio::test]
async fn tls_over_tcp_conforms() {
    let world = World::new();
    let make = |identity| match identity {
        None => TlsTransport::joining(&world.root, &world.env).unwrap(),
        Some(identity) => {
            let key = SystemKeys.generate().unwrap();
            let chain = world.root.issue(&key.request().unwrap(), &identity, LEAF_VALIDITY_DEFAULT, &world.env);
            let certificate = NodeCertificate::new(&chain.unwrap(), key).unwrap();
            TlsTransport::new(Credentials::new(world.root.clone(), certificate, &world.env).unwrap())
        }
    };
    conformance::transport(make, || "127.0.0.1:0".to_owned()).await;
}

#[tokio::test]
async fn pipes_in_memory_conform() {
    let network = MemoryNetwork::default();
    let next = AtomicU64::new(0);
    let address = || format!("place-{}", next.fetch_add(1, Ordering::Relaxed));
    conformance::transport(|identity| network.transport(identity), address).await;
}
