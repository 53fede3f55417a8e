//! The words of CFSSL: what is posted to it, and what its answers mean.

use std::{collections::BTreeMap, time::SystemTime};

use data_encoding::HEXLOWER;
use humantime::format_rfc3339_seconds as rfc3339;
use serde::{Deserialize, Serialize};
use swarmkit_ca::{CrossSignName, CrossSignRequest, SigningOrder, role_name};

/// The profile under which a server makes authorities instead of nodes.
pub(crate) const CROSS_SIGNING: &str = "CA";

/// A time that says nothing, as servers written in Go read it.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The number of the basic constraints among the extensions of certificates.
const BASIC_CONSTRAINTS: &str = "2.5.29.19";

/// What is asked for. Members that are not used here are there all the same, for servers that insist.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) certificate_request: String,
    pub(crate) subject: Subject,
    #[serde(default)]
    pub(crate) profile: String,
    #[serde(default)]
    crl_override: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    extensions: Option<Vec<Extension>>,
    #[serde(rename = "NotBefore", default = "no_time")]
    not_before: String,
    #[serde(rename = "NotAfter", default = "no_time")]
    pub(crate) not_after: String,
    #[serde(rename = "ReturnPrecert", default)]
    return_precert: bool,
    #[serde(rename = "SerialNumber", default)]
    serial_number: Option<String>,
}

/// Whom a certificate is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subject {
    #[serde(rename = "CN", default)]
    pub(crate) common_name: String,
    #[serde(default)]
    pub(crate) names: Option<Vec<Name>>,
}

/// Parts of a name. Empty ones are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Name {
    #[serde(rename = "C", skip_serializing_if = "String::is_empty")]
    country: String,
    #[serde(rename = "ST", skip_serializing_if = "String::is_empty")]
    province: String,
    #[serde(rename = "L", skip_serializing_if = "String::is_empty")]
    locality: String,
    #[serde(rename = "O", skip_serializing_if = "String::is_empty")]
    pub(crate) organization: String,
    #[serde(rename = "OU", skip_serializing_if = "String::is_empty")]
    pub(crate) organizational_unit: String,
}

/// An extension that the certificate is to have.
#[derive(Debug, Serialize, Deserialize)]
struct Extension {
    id: String,
    critical: bool,
    /// Hexadecimal.
    value: String,
}

/// What is answered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) result: Option<serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) errors: Vec<Message>,
    #[serde(deserialize_with = "null_is_default")]
    messages: Vec<Message>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A certificate, PEM.
    Certificate(String),
    /// The server says no, or nothing that could ever be a certificate.
    Refusal(String),
    /// The server is not itself.
    Nonsense(String),
}

impl Question {
    /// Asks for a certificate of a node.
    pub(crate) fn for_node(order: &SigningOrder, now: SystemTime) -> Self {
        let (identity, span) = (order.identity(), order.validity(now));
        let name = Name {
            organization: identity.cluster.to_string(),
            organizational_unit: role_name(identity.role).to_owned(),
            ..Name::default()
        };
        Self {
            hosts: Some(identity.names().into_iter().map(str::to_owned).collect()),
            certificate_request: order.request().to_owned(),
            subject: Subject { common_name: identity.node.to_string(), names: Some(vec![name]) },
            not_before: rfc3339(span.not_before).to_string(),
            not_after: rfc3339(span.not_after).to_string(),
            ..Self::empty()
        }
    }

    /// Asks for the certificate of an authority. CFSSL forgets what a request says of its constraints, so they are said
    /// again.
    pub(crate) fn for_authority(request: CrossSignRequest) -> Self {
        let constraints = Extension {
            id: BASIC_CONSTRAINTS.to_owned(),
            critical: true,
            value: HEXLOWER.encode(&request.basic_constraints),
        };
        Self {
            certificate_request: request.request,
            subject: Subject {
                common_name: request.common_name,
                names: Some(request.names.into_iter().map(Name::from).collect()),
            },
            profile: CROSS_SIGNING.to_owned(),
            extensions: Some(vec![constraints]),
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            hosts: None,
            certificate_request: String::new(),
            subject: Subject { common_name: String::new(), names: None },
            profile: String::new(),
            crl_override: String::new(),
            label: String::new(),
            extensions: None,
            not_before: no_time(),
            not_after: no_time(),
            return_precert: false,
            serial_number: None,
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Nothing in it can fail to be written: strings, lists and truth values.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<CrossSignName> for Name {
    fn from(name: CrossSignName) -> Self {
        Self {
            country: name.country.unwrap_or_default(),
            province: name.province.unwrap_or_default(),
            locality: name.locality.unwrap_or_default(),
            organization: name.organization.unwrap_or_default(),
            organizational_unit: name.organizational_unit.unwrap_or_default(),
        }
    }
}

impl Answer {
    /// The answer that holds a certificate.
    pub(crate) fn certificate(pem: String) -> Self {
        let result = BTreeMap::from([("certificate", pem)]);
        Self { success: true, result: serde_json::to_value(result).ok(), ..Self::default() }
    }

    /// The answer that says no.
    pub(crate) fn refusal(message: impl Into<String>) -> Self {
        let error = Message { code: 0, message: message.into() };
        Self { errors: vec![error], ..Self::default() }
    }
}

impl Meaning {
    /// Understands what came back.
    pub(crate) fn of(status: http::StatusCode, body: &[u8]) -> Self {
        if status != http::StatusCode::OK {
            return Self::Nonsense(format!("unexpected status code in CSR response: {}", status.as_u16()));
        }
        let answer: Answer = match serde_json::from_slice(body) {
            Ok(answer) => answer,
            Err(error) => return Self::Nonsense(format!("failed to parse CSR response: {error}")),
        };
        let Some(result) = answer.result.filter(|result| answer.success && !result.is_null()) else {
            let said: Vec<_> =
                answer.errors.into_iter().map(|error| format!("{} {}", error.code, error.message)).collect();
            return Self::Refusal(match said.as_slice() {
                [] => "certificate signing request failed".to_owned(),
                said => format!("response errors: {}", said.join(", ")),
            });
        };
        let Some(result) = result.as_object() else {
            return Self::Refusal("incorrect result type in CSR response".to_owned());
        };
        match result.get("certificate") {
            Some(serde_json::Value::String(certificate)) => Self::Certificate(certificate.clone()),
            _ => Self::Refusal("no certificate in CSR response".to_owned()),
        }
    }
}

fn no_time() -> String {
    NO_TIME.to_owned()
}

fn null_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
