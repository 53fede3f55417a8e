//! The words as they go over the wire.

use http::StatusCode;
use serde_json::json;
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, RootCa, SystemKeys};

use super::*;

fn said(question: &Question) -> serde_json::Value {
    serde_json::from_slice(&question.to_json()).unwrap()
}

#[test]
fn a_node_is_asked_for_with_all_members_that_a_server_may_insist_on() {
    let env = swarmkit_testing::env();
    let request = SystemKeys.generate().unwrap().request().unwrap();
    for (role, hosts, unit) in [
        (NodeRole::Worker, json!(["swarm-worker", "n1"]), "swarm-worker"),
        (NodeRole::Manager, json!(["swarm-manager", "n1", "swarm-ca"]), "swarm-manager"),
    ] {
        let identity = Identity::new(NodeId::from("n1"), role, ClusterId::from("c1"));
        let order = SigningOrder::new(&request, identity, LEAF_VALIDITY_DEFAULT).unwrap();
        let wanted = json!({
            "hosts": hosts,
            "certificate_request": request,
            "subject": { "CN": "n1", "names": [{ "O": "c1", "OU": unit }] },
            "profile": "",
            "crl_override": "",
            "label": "",
            "extensions": null,
            // Noon of the first of August, less an hour, and ninety days later.
            "NotBefore": "2026-08-01T11:00:00Z",
            "NotAfter": "2026-10-30T12:00:00Z",
            "ReturnPrecert": false,
            "SerialNumber": null,
        });
        assert_eq!(said(&Question::for_node(&order, env.now())), wanted);
    }
}

#[test]
fn an_authority_is_asked_for_under_a_profile_of_its_own_with_its_constraints_said_twice() {
    let root = RootCa::create(&SystemKeys, &swarmkit_testing::env()).unwrap();
    let request = root.cross_sign_request().unwrap();
    let wanted = json!({
        "hosts": null,
        "certificate_request": request.request,
        "subject": { "CN": "swarm-ca", "names": [] },
        "profile": "CA",
        "crl_override": "",
        "label": "",
        // SEQUENCE { BOOLEAN TRUE }
        "extensions": [{ "id": "2.5.29.19", "critical": true, "value": "30030101ff" }],
        "NotBefore": "0001-01-01T00:00:00Z",
        "NotAfter": "0001-01-01T00:00:00Z",
        "ReturnPrecert": false,
        "SerialNumber": null,
    });
    assert_eq!(said(&Question::for_authority(request)), wanted);
}

#[test]
fn the_name_of_an_authority_is_said_in_its_parts() {
    let part = |text: &str| Some(text.to_owned());
    let request = CrossSignRequest {
        request: "csr".to_owned(),
        common_name: "root of us".to_owned(),
        names: vec![
            CrossSignName { country: part("CH"), organization: part("us"), ..CrossSignName::default() },
            CrossSignName {
                organizational_unit: part("all"),
                locality: part("here"),
                province: part("p"),
                ..CrossSignName::default()
            },
        ],
        basic_constraints: vec![0x30, 0x00],
    };
    let said = said(&Question::for_authority(request));
    let wanted =
        json!({ "CN": "root of us", "names": [{ "C": "CH", "O": "us" }, { "OU": "all", "L": "here", "ST": "p" }] });
    assert_eq!(said["subject"], wanted);
}

#[test]
fn a_certificate_is_an_answer_with_status_200_that_says_success() {
    let answer =
        json!({ "success": true, "result": { "certificate": "pem", "more": 1 }, "errors": [], "messages": null });
    let meaning = Meaning::of(StatusCode::OK, answer.to_string().as_bytes());
    assert_eq!(meaning, Meaning::Certificate("pem".to_owned()));
    let own = serde_json::to_vec(&Answer::certificate("pem".to_owned())).unwrap();
    assert_eq!(Meaning::of(StatusCode::OK, &own), Meaning::Certificate("pem".to_owned()));
}

#[test]
fn what_a_server_says_no_to_is_refused_for_good() {
    let refusal = |answer: serde_json::Value| match Meaning::of(StatusCode::OK, answer.to_string().as_bytes()) {
        Meaning::Refusal(reason) => reason,
        other => panic!("{other:?}"),
    };
    let error = |code: i64, message: &str| json!({ "code": code, "message": message });
    let told = refusal(json!({ "success": false, "result": null, "errors": [error(1, "bad"), error(2, "worse")] }));
    assert_eq!(told, "response errors: 1 bad, 2 worse");
    assert_eq!(refusal(json!({ "success": false })), "certificate signing request failed");
    assert_eq!(
        refusal(json!({ "success": true, "result": null, "errors": null })),
        "certificate signing request failed"
    );
    let signed = json!({ "certificate": "pem" });
    assert_eq!(refusal(json!({ "success": false, "result": signed })), "certificate signing request failed");
    assert_eq!(refusal(json!({ "success": true, "result": "pem" })), "incorrect result type in CSR response");
    for result in [json!({}), json!({ "certificate": 7 }), json!({ "certificate": null })] {
        assert_eq!(refusal(json!({ "success": true, "result": result })), "no certificate in CSR response");
    }
}

#[test]
fn a_server_that_is_not_itself_may_be_asked_again() {
    let nonsense = |status: StatusCode, body: &[u8]| match Meaning::of(status, body) {
        Meaning::Nonsense(reason) => reason,
        other => panic!("{other:?}"),
    };
    let answer = serde_json::to_vec(&Answer::certificate("pem".to_owned())).unwrap();
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::CREATED, StatusCode::FOUND, StatusCode::NOT_FOUND] {
        let told = nonsense(status, &answer);
        assert_eq!(told, format!("unexpected status code in CSR response: {}", status.as_u16()));
    }
    for body in [&b""[..], b"<html>", &answer[..answer.len() / 2], &[0xff]] {
        let told = nonsense(StatusCode::OK, body);
        assert!(told.starts_with("failed to parse CSR response: "), "{told}");
    }
}
