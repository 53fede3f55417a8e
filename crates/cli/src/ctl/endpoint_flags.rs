//! The flags that say how a service is reached: its ports, and how its name is answered.

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    EndpointSpec, PortConfig, ServiceSpec, endpoint_spec,
    port_config::{Protocol, PublishMode},
};

use super::{CtlError, service_flags::Csv};

/// The flags that `create` and `update` share.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct EndpointFlags {
    /// Port to publish, as [published:]target[/protocol] through the ingress network, or as
    /// target=N[,published=N][,protocol=P][,mode=ingress|host][,name=NAME]; replaces all (repeat)
    #[arg(short, long, value_name = "PORT", conflicts_with = "ports")]
    publish: Vec<Csv>,

    /// How the name of the service is answered on its networks: with one address that spreads to its tasks, or with those of
    /// its tasks [default: vip]
    #[arg(long, value_enum, value_name = "MODE")]
    endpoint_mode: Option<EndpointMode>,
}

/// How the name of a service is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EndpointMode {
    /// With one address of the service
    Vip,
    /// With the addresses of its tasks
    Dnsrr,
}

impl EndpointFlags {
    /// Puts what was given into a specification.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), CtlError> {
        if !self.publish.is_empty() {
            let ports = self.publish.iter().map(port).collect::<Result<_, _>>().map_err(CtlError::Usage)?;
            spec.endpoint.get_or_insert_with(EndpointSpec::default).ports = ports;
        }
        if let Some(mode) = self.endpoint_mode {
            let mode = match mode {
                EndpointMode::Vip => endpoint_spec::ResolutionMode::Vip,
                EndpointMode::Dnsrr => endpoint_spec::ResolutionMode::Dnsrr,
            };
            spec.endpoint.get_or_insert_with(EndpointSpec::default).mode = mode.into();
        }
        Ok(())
    }
}

fn port(Csv(parts): &Csv) -> Result<PortConfig, String> {
    let fault = |what: &str| format!("malformed port {:?}: {what}", parts.join(","));
    let number = |text: &str| text.parse::<u16>().map(u32::from).map_err(|_| fault("a port is a number up to 65535"));
    let protocol = |text: &str| match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(fault("the protocol must be tcp, udp or sctp")),
    };
    let mut port = PortConfig::default();
    if let [short] = parts.as_slice()
        && !short.contains('=')
    {
        let (numbers, name) = short.split_once('/').unwrap_or((short, "tcp"));
        port.set_protocol(protocol(name)?);
        let (published, target) = numbers.split_once(':').map_or((None, numbers), |(one, two)| (Some(one), two));
        port.published_port = published.map(number).transpose()?.unwrap_or_default();
        port.target_port = number(target)?;
    } else {
        for part in parts {
            match part.split_once('=') {
                Some(("target", text)) => port.target_port = number(text)?,
                Some(("published", text)) => port.published_port = number(text)?,
                Some(("protocol", text)) => port.set_protocol(protocol(text)?),
                Some(("name", name)) => name.clone_into(&mut port.name),
                Some(("mode", "ingress")) => port.set_publish_mode(PublishMode::Ingress),
                Some(("mode", "host")) => port.set_publish_mode(PublishMode::Host),
                _ => return Err(fault("expected target=, published=, protocol=, mode=ingress|host or name=")),
            }
        }
    }
    if port.target_port == 0 { Err(fault("it has no target")) } else { Ok(port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<String, String> {
        let port = port(&text.parse().unwrap())?;
        let (protocol, mode) = (port.protocol().as_str_name(), port.publish_mode().as_str_name());
        Ok(format!("{}:{}:{protocol}:{mode}:{}", port.published_port, port.target_port, port.name))
    }

    #[test]
    fn a_port_is_published_as_it_is_written() {
        assert_eq!(told("80"), Ok("0:80:TCP:INGRESS:".to_owned()));
        assert_eq!(told("8080:80"), Ok("8080:80:TCP:INGRESS:".to_owned()));
        assert_eq!(told("53:53/udp"), Ok("53:53:UDP:INGRESS:".to_owned()));
        let long = told("target=80,published=8080,protocol=sctp,mode=host,name=web");
        assert_eq!(long, Ok("8080:80:SCTP:HOST:web".to_owned()));
        assert_eq!(told("published=80"), Err("malformed port \"published=80\": it has no target".to_owned()));
        assert_eq!(told("80:x"), Err("malformed port \"80:x\": a port is a number up to 65535".to_owned()));
        assert_eq!(
            told("80/icmp"),
            Err("malformed port \"80/icmp\": the protocol must be tcp, udp or sctp".to_owned())
        );
        assert!(told("target=80,mode=both").unwrap_err().contains("mode=ingress|host"));
    }

    #[test]
    fn what_is_not_given_stays() {
        let mut spec = ServiceSpec::default();
        EndpointFlags::default().apply(&mut spec).unwrap();
        assert_eq!(spec.endpoint, None);
        let publish = EndpointFlags { publish: vec!["80:80".parse().unwrap()], endpoint_mode: None };
        publish.apply(&mut spec).unwrap();
        let dnsrr = EndpointFlags { publish: Vec::new(), endpoint_mode: Some(EndpointMode::Dnsrr) };
        dnsrr.apply(&mut spec).unwrap();
        publish.apply(&mut spec).unwrap();
        let endpoint = spec.endpoint.unwrap();
        assert_eq!((endpoint.ports.len(), endpoint.mode()), (1, endpoint_spec::ResolutionMode::Dnsrr));
    }
}
