//! Published ports, in the short form `8080:80/tcp` and in the long one.

use std::ops::RangeInclusive;

use swarmkit_api::wire::{
    PortConfig,
    port_config::{Protocol, PublishMode},
};

use super::{
    reader::Reader,
    tree::{Node, Value},
};

/// The most ports that one range may open, so that a slip does not become 65 535 entries.
const RANGE_MAX: usize = 1000;

const PROTOCOLS: [(&str, Protocol); 3] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
const MODES: [(&str, PublishMode); 2] = [("ingress", PublishMode::Ingress), ("host", PublishMode::Host)];

/// Reads the list of a service's ports, published in `mode` where they do not say how.
pub(super) fn read(reader: &mut Reader<'_>, node: Node, path: &str, mode: PublishMode) -> Vec<PortConfig> {
    let mut ports = Vec::new();
    for (index, item) in reader.list(node, path).into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        match item.value {
            Value::Map(_) => ports.extend(read_long(reader, item, &path, mode)),
            _ => ports.extend(reader.value(&item, &path, |text| parse_short(text, mode)).into_iter().flatten()),
        }
    }
    ports
}

fn read_long(reader: &mut Reader<'_>, node: Node, path: &str, default_mode: PublishMode) -> Option<PortConfig> {
    let at = node.at;
    let mut fields = reader.fields(node, path);
    let target = fields.take("target").map(|(node, path)| reader.value(&node, &path, parse_port));
    let published = fields.take("published").and_then(|(node, path)| reader.value(&node, &path, parse_port));
    let protocol = fields.take("protocol").and_then(|(node, path)| reader.word(&node, &path, &PROTOCOLS));
    let mode = fields.take("mode").and_then(|(node, path)| reader.word(&node, &path, &MODES));
    let name = fields.take("name").and_then(|(node, path)| reader.text(&node, &path));
    reader.finish(fields, &["app_protocol", "host_ip"]);
    let Some(target) = target else {
        reader.error(at, format!("{path} must have a target"));
        return None;
    };
    Some(PortConfig {
        name: name.unwrap_or_default(),
        protocol: protocol.unwrap_or(Protocol::Tcp).into(),
        target_port: target?.into(),
        published_port: published.unwrap_or_default().into(),
        publish_mode: mode.unwrap_or(default_mode).into(),
    })
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| "expected a port from 1 to 65535".to_owned())
}

/// `[published:]target[/protocol]`, either of them a range.
fn parse_short(text: &str, mode: PublishMode) -> Result<Vec<PortConfig>, String> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, protocol)| *protocol);
    let protocol = protocol.ok_or_else(|| "the protocol must be tcp, udp or sctp".to_owned())?;
    let (published, target) = match numbers.rsplit_once(':') {
        None => (None, parse_range(numbers)?),
        Some((published, _)) if published.contains(':') => {
            return Err("binding to one address of the host is not possible in a cluster".to_owned());
        }
        Some((published, target)) => (Some(parse_range(published)?), parse_range(target)?),
    };
    if target.len() > RANGE_MAX {
        return Err(format!("a range has at most {RANGE_MAX} ports"));
    }
    if published.as_ref().is_some_and(|published| published.len() != target.len()) {
        return Err("both ranges must have the same length".to_owned());
    }
    let mut published = published.into_iter().flatten();
    let port = |target: u16| PortConfig {
        protocol: protocol.into(),
        target_port: target.into(),
        published_port: published.next().unwrap_or_default().into(),
        publish_mode: mode.into(),
        ..PortConfig::default()
    };
    Ok(target.map(port).collect())
}

fn parse_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    if first > last {
        return Err("a range goes from the lower to the higher port".to_owned());
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let ports = parse_short(text, PublishMode::Ingress)?;
        let ports: Vec<_> = ports
            .iter()
            .map(|port| format!("{}>{}/{}", port.published_port, port.target_port, port.protocol().as_str_name()))
            .collect();
        Ok(ports.join(" "))
    }

    #[test]
    fn the_short_form_is_read() {
        assert_eq!(check("80").unwrap(), "0>80/TCP");
        assert_eq!(check("8080:80").unwrap(), "8080>80/TCP");
        assert_eq!(check("53:53/udp").unwrap(), "53>53/UDP");
        assert_eq!(check("3000-3001:80-81").unwrap(), "3000>80/TCP 3001>81/TCP");
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for (text, expected) in [
            ("0", "expected a port from 1 to 65535"),
            ("70000", "expected a port from 1 to 65535"),
            ("http", "expected a port from 1 to 65535"),
            ("80/http", "the protocol must be tcp, udp or sctp"),
            ("127.0.0.1:80:80", "binding to one address of the host is not possible in a cluster"),
            ("80-90:80-85", "both ranges must have the same length"),
            ("90-80", "a range goes from the lower to the higher port"),
            ("1-65535", "a range has at most 1000 ports"),
        ] {
            assert_eq!(check(text), Err(expected.to_owned()), "{text}");
        }
    }
}
