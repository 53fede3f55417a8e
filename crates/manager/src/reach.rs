//! The address under which other nodes reach this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

/// Documentation addresses, which nobody has: asking for the way to them sends nothing.
const ELSEWHERE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const ELSEWHERE_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// What to tell other nodes for a listener at `bound`: itself, unless that means every address of the machine, which
/// nobody else can dial. Then it is the one that the machine would use to reach others, or the loopback if it reaches
/// nobody.
pub(crate) async fn advertised(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let (elsewhere, here, loopback): (_, IpAddr, IpAddr) = match bound {
        SocketAddr::V4(_) => (ELSEWHERE_V4, Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => (ELSEWHERE_V6, Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let source = async {
        let socket = UdpSocket::bind((here, 0)).await?;
        socket.connect(elsewhere).await?;
        socket.local_addr()
    };
    let ip = source.await.map_or(loopback, |addr| addr.ip());
    SocketAddr::new(if ip.is_unspecified() { loopback } else { ip }, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_of_the_machine_is_told_as_it_is() {
        let bound = "127.0.0.1:4242".parse().unwrap();
        assert_eq!(advertised(bound).await, bound);
    }

    #[tokio::test]
    async fn every_address_becomes_one_that_can_be_dialled() {
        let told = advertised("0.0.0.0:4242".parse().unwrap()).await;
        assert!(!told.ip().is_unspecified(), "{told}");
        assert_eq!(told.port(), 4242);
    }
}
