//! `access.rs`: who may call each method, as `proto/` says.
use std::fmt::Write as _;

use anyhow::{Result, bail};
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

use super::{HEADER, OPTIONS_PACKAGE, option};

/// The table of all methods, sorted by path. A method that does not say who may call it is an error.
pub(super) fn generate(pool: &DescriptorPool) -> Result<String> {
    let mut rows = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            rows.push((format!("/{}/{}", service.full_name(), method.name()), row(&method)?));
        }
    }
    rows.sort();
    let mut text = HEADER.to_owned();
    let _ = writeln!(text, "pub(super) static METHODS: &[Method] = &[");
    for (_, row) in rows {
        text.push_str(&row);
    }
    text.push_str("];\n");
    Ok(text)
}

fn row(method: &MethodDescriptor) -> Result<String> {
    let service = method.parent_service().full_name().to_owned();
    let name = method.name();
    let Some(Value::Message(access)) = option(&method.options(), &format!("{OPTIONS_PACKAGE}.access")) else {
        bail!("{service}/{name} does not say who may call it: set the option (.swarmkit.access)");
    };
    let roles = access.get_field_by_name("roles").map(|roles| roles.into_owned());
    let mut callers = Vec::new();
    for role in roles.as_ref().and_then(Value::as_list).unwrap_or_default() {
        callers.push(match role.as_enum_number() {
            Some(0) => "Caller::Anyone",
            Some(1) => "Caller::Worker",
            Some(2) => "Caller::Manager",
            _ => bail!("{service}/{name} names a caller that xtask does not know"),
        });
    }
    let mut text = String::from("    Method {\n");
    let _ = writeln!(text, "        service: \"{service}\",");
    let _ = writeln!(text, "        method: \"{name}\",");
    let _ = writeln!(text, "        path: \"/{service}/{name}\",");
    let _ = writeln!(text, "        callers: &[{}],", callers.join(", "));
    let _ = writeln!(text, "        client_streaming: {},", method.is_client_streaming());
    let _ = writeln!(text, "        server_streaming: {},", method.is_server_streaming());
    text.push_str("    },\n");
    Ok(text)
}
