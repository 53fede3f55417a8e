//! Files as crashes, full disks and people leave them: each has one outcome, told in one line, and what is there stays.

use super::*;

const WAITING: &str = "certificates/.swarm-node.crt";

/// Another certificate, with another key, for the same node under the same root.
fn renewed(machine: &Machine, root: &RootCa, own: &Identity) -> NodeCertificate {
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), own, LEAF_VALIDITY_DEFAULT, &machine.env).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

/// A manager, its cluster's root with the key, and the certificate that is about to replace its own.
async fn before_a_renewal() -> (Machine, Identity, NodeCertificate) {
    let machine = Machine::new();
    let first = machine.start(None).await.unwrap();
    let (founding, leader) = first.founds.as_ref().unwrap();
    founding.complete().unwrap();
    let own = first.credentials.identity();
    let next = renewed(&machine, &leader.root, &own);
    (machine, own, next)
}

fn public_key(established: &Established) -> Vec<u8> {
    established.credentials.trust().certificate().key().public_key()
}

#[tokio::test]
async fn a_renewal_that_is_cut_off_between_any_two_writes_leaves_the_old_pair_or_the_new_one() {
    type Cut<'a> = (&'a str, &'a dyn Fn(&Machine, &NodeCertificate), bool);
    let chain = |next: &NodeCertificate| next.chain_pem();
    let part = |text: &str| text[..text.len() / 2].to_owned();
    let cuts: [Cut<'_>; 6] = [
        (
            "while the certificate is written",
            &|m, next| m.write("certificates/.tmp-.swarm-node.crt", &part(&chain(next))),
            false,
        ),
        ("before the key is written", &|m, next| m.write(WAITING, &chain(next)), false),
        (
            "while the key is written",
            &|m, next| {
                m.write(WAITING, &chain(next));
                m.write("certificates/.tmp-swarm-node.key", &part(&next.key().to_pem()));
            },
            false,
        ),
        (
            "before the key is put in its place",
            &|m, next| {
                m.write(WAITING, &chain(next));
                m.write("certificates/.tmp-swarm-node.key", &next.key().to_pem());
            },
            false,
        ),
        (
            "before the certificate is put in its place",
            &|m, next| {
                m.write(WAITING, &chain(next));
                m.write(KEY, &next.key().to_pem());
            },
            true,
        ),
        (
            "with nothing left of the old certificate",
            &|m, next| {
                m.write(WAITING, &chain(next));
                m.write(KEY, &next.key().to_pem());
                m.remove(CERTIFICATE);
            },
            true,
        ),
    ];
    for (when, cut, is_new) in cuts {
        let (machine, own, next) = before_a_renewal().await;
        cut(&machine, &next);
        // Twice: what was repaired stays so.
        for _ in 0..2 {
            let found = machine.start(None).await.unwrap();
            assert_eq!(found.credentials.identity(), own, "{when}");
            assert_eq!(public_key(&found) == next.key().public_key(), is_new, "{when}");
        }
        // And the next renewal is not disturbed by what is left.
        let root = found_root(&machine);
        let keys = KeyStore::new(machine.dir.path(), &machine.env);
        keys.save_node(&next).unwrap();
        assert_eq!(public_key(&machine.start(None).await.unwrap()), next.key().public_key(), "{when}");
        assert_eq!(found_root(&machine), root);
        let mut left: Vec<_> =
            fs::read_dir(machine.path("certificates")).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt"], "{when}");
    }
}

fn found_root(machine: &Machine) -> Vec<u8> {
    fs::read(machine.path(ROOT)).unwrap()
}

#[tokio::test]
async fn the_first_certificate_that_is_cut_off_is_completed_or_asked_for_again() {
    let (machine, own, _) = before_a_renewal().await;
    fs::rename(machine.path(CERTIFICATE), machine.path(WAITING)).unwrap();
    assert_eq!(machine.start(None).await.unwrap().credentials.identity(), own, "it had its key already");

    let (machine, ..) = before_a_renewal().await;
    fs::rename(machine.path(CERTIFICATE), machine.path(WAITING)).unwrap();
    machine.remove(KEY);
    let error = machine.refusal(Some((NOBODY, "nonsense".to_owned()))).await;
    assert!(matches!(error, NodeError::Join(JoinError::Token(_))), "it asks anew: {error}");
}

#[tokio::test]
async fn a_file_that_ends_early_is_told_and_nothing_is_replaced() {
    for name in [ROOT, CERTIFICATE, KEY] {
        let (machine, _) = Machine::founder().await;
        let whole = fs::read(machine.path(name)).unwrap();
        let end = "-----END CERTIFICATE-----\n".len();
        for length in
            [0, 1, 10, whole.len() / 4, whole.len() / 2, whole.len() * 3 / 4, whole.len() - end, whole.len() - 3]
        {
            fs::write(machine.path(name), &whole[..length]).unwrap();
            let before = machine.files();
            for join in [None, Some((NOBODY, machine.token(false)))] {
                let error = machine.refusal(join).await;
                assert!(matches!(error, NodeError::Identity { .. }), "{name} of {length} bytes: {error}");
                let begin = format!("error while loading TLS certificate in {}: ", machine.dir.path().display());
                assert!(error.to_string().starts_with(&begin), "{error}");
            }
            assert_eq!(machine.files(), before, "{name} of {length} bytes");
        }
        fs::write(machine.path(name), whole).unwrap();
        machine.start(None).await.unwrap();
    }
}

#[tokio::test]
async fn the_certificate_of_another_cluster_is_not_taken_for_ours() {
    let ((machine, _), (other, _)) = (Machine::founder().await, Machine::founder().await);
    for name in [CERTIFICATE, KEY] {
        fs::copy(other.path(name), machine.path(name)).unwrap();
    }
    let before = machine.files();
    for join in [None, Some((NOBODY, machine.token(false)))] {
        let error = machine.refusal(join).await.to_string();
        assert!(error.ends_with("certificate signed by unknown authority"), "{error}");
    }
    assert_eq!(machine.files(), before);
}

#[tokio::test]
async fn a_certificate_and_a_key_that_do_not_belong_together_are_told() {
    for name in [CERTIFICATE, KEY] {
        let ((machine, _), (other, _)) = (Machine::founder().await, Machine::founder().await);
        fs::copy(other.path(name), machine.path(name)).unwrap();
        let before = machine.files();
        let error = machine.refusal(None).await.to_string();
        assert!(error.ends_with("certificate key mismatch"), "{error}");
        assert_eq!(machine.files(), before);
    }
}

#[tokio::test]
async fn a_certificate_whose_time_has_not_begun_is_told_with_both_times_also_to_who_would_go_on_alone() {
    let (mut machine, _) = Machine::founder().await;
    let earlier = Env::seeded(1, Earlier(Duration::from_secs(24 * 3600)));
    for alone in [false, true] {
        machine.alone = alone;
        let error = machine.start_at(&earlier, None).await.err().expect("refused").to_string();
        assert!(error.contains("not valid before") && error.contains("it is currently"), "{error}");
    }
}

/// A clock that is behind.
struct Earlier(Duration);

impl Clock for Earlier {
    #[expect(clippy::disallowed_methods, reason = "a clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now() - self.0
    }
}

#[tokio::test]
async fn a_directory_where_a_file_should_be_and_the_reverse_are_named() {
    for name in [ROOT, CERTIFICATE, KEY] {
        let (machine, _) = Machine::founder().await;
        machine.remove(name);
        fs::create_dir(machine.path(name)).unwrap();
        let error = machine.refusal(None).await.to_string();
        assert!(error.contains(&format!("cannot read {}: ", machine.path(name).display())), "{error}");
    }
    let machine = Machine::new();
    fs::write(machine.path("certificates"), "a file").unwrap();
    let error = machine.refusal(None).await.to_string();
    assert!(error.contains(&format!("cannot read {}", machine.path("certificates").display())), "{error}");
    // The mark of a founding cannot be set.
    let machine = Machine::new();
    fs::create_dir_all(machine.path("founding/x")).unwrap();
    let error = machine.refusal(None).await.to_string();
    assert!(error.contains(&machine.path("founding").display().to_string()), "{error}");
}

#[tokio::test]
async fn a_node_that_is_to_go_on_alone_and_is_nobody_leaves_an_empty_directory_empty() {
    let machine = Machine { alone: true, ..Machine::new() };
    let error = machine.refusal(None).await;
    assert!(matches!(error, NodeError::NotAlone { .. }), "{error}");
    assert_eq!(fs::read_dir(machine.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_certificate_whose_time_is_over_is_told_with_what_to_do() {
    let (machine, _) = Machine::founder().await;
    let later = Env::seeded(1, Shifted(Duration::from_secs(120 * 24 * 3600)));
    let before = machine.files();
    let error = machine.start_at(&later, None).await.err().expect("refused");
    assert!(matches!(error, NodeError::Expired { role: NodeRole::Manager, .. }), "{error}");
    let told = error.to_string();
    assert!(told.starts_with(&format!("error while loading TLS certificate in {}: ", machine.dir.path().display())));
    assert!(told.contains("not valid after") && told.contains("swarm-rafttool renew-certs"), "{told}");
    assert_eq!(machine.files(), before);
}

#[tokio::test]
async fn a_founding_that_was_cut_off_anywhere_starts_over() {
    let (other, _) = Machine::founder().await;
    for left in [&[][..], &[ROOT], &[ROOT, CERTIFICATE], &[ROOT, CERTIFICATE, KEY]] {
        let machine = Machine::new();
        fs::create_dir(machine.path("certificates")).unwrap();
        fs::write(machine.path("founding"), "").unwrap();
        for name in left {
            fs::copy(other.path(name), machine.path(name)).unwrap();
        }
        fs::create_dir(machine.path(RAFT)).unwrap();
        machine.write("raft/segment", "entries");
        let again = machine.start(None).await.unwrap();
        let (founding, _) = again.founds.expect("it founds");
        founding.complete().unwrap();
        assert!(!machine.path(RAFT).join("segment").exists());
        assert_eq!(machine.start(None).await.unwrap().credentials.identity(), again.credentials.identity());
    }
}

#[tokio::test]
async fn a_node_that_comes_back_keeps_its_log_and_one_that_was_made_anew_instead_does_not() {
    for is_new in [false, true] {
        let (machine, own, next) = before_a_renewal().await;
        let root = KeyStore::new(machine.dir.path(), &machine.env).load_root().unwrap();
        let next = if is_new {
            let other = RootCa::create(&SystemKeys, &machine.env).unwrap();
            let joined = Identity::new("another".into(), NodeRole::Worker, own.cluster.clone());
            (other.clone(), renewed(&machine, &other, &joined))
        } else {
            (root, next)
        };
        fs::create_dir(machine.path(RAFT)).unwrap();
        machine.write("raft/segment", "entries");
        let dir = StateDir::open(machine.dir.path().to_owned(), None, &machine.env).await.unwrap();
        let joined = Joined { root: next.0, node: next.1.clone(), lock: None };
        let kept = keep_return(&dir, &own.node, joined, &machine.env).unwrap();
        drop(dir);
        assert_eq!(public_key(&kept), next.1.key().public_key());
        assert_eq!(machine.path("raft/segment").exists(), !is_new);
        let again = machine.start(None).await.unwrap();
        assert_eq!(again.credentials.identity(), *next.1.identity());
    }
}
