//! Which node gets a task where the fullest is taken first.

use super::*;

#[test]
fn the_node_with_the_largest_share_reserved_is_filled_first() {
    check(
        "node a memory=4GiB; node b memory=4GiB; node c memory=2GiB; service db memory=1GiB; service web strategy=bin-pack memory=1GiB
         task db.1 on a; task db.2 on c; task web.1 pending; task web.2 pending; task web.3 pending; task web.4 pending; task web.5 pending",
        &["web.1 goes to c", "web.2 goes to a", "web.3 goes to a", "web.4 goes to a", "web.5 goes to b"],
    );
}

#[test]
fn what_is_taken_most_of_a_node_is_what_counts() {
    check(
        "node a memory=10GiB cpus=2; node b memory=10GiB cpus=2; service db memory=5GiB; service cache cpus=1500m
         service web strategy=bin-pack memory=1GiB; task db.1 on a; task cache.1 on b; task web.1 pending",
        &["web.1 goes to b"],
    );
}

#[test]
fn among_equal_shares_the_node_with_most_tasks_is_taken() {
    check(
        "node a; node b; service other; service web strategy=bin-pack; task other.1 on b; task web.1 pending; task web.2 pending",
        &["web.1 goes to b", "web.2 goes to b"],
    );
}

#[test]
fn the_cluster_says_for_services_that_do_not() {
    let tasks = "service other; task other.1 on b; task web.1 pending";
    check(&format!("cluster strategy=bin-pack; node a; node b; service web; {tasks}"), &["web.1 goes to b"]);
    check(
        &format!("cluster strategy=bin-pack; node a; node b; service web strategy=spread; {tasks}"),
        &["web.1 goes to a"],
    );
    check(&format!("node a; node b; service web; {tasks}"), &["web.1 goes to a"]);
}

#[test]
fn a_node_where_the_service_keeps_failing_is_filled_last() {
    let failed: String = (1..=5).map(|n| format!("task web.9.{n} on b failed wants shutdown; ")).collect();
    check(
        &format!(
            "node a; node b; service web strategy=bin-pack; service other; task other.1 on b; {failed}task web.1 pending"
        ),
        &["web.1 goes to a"],
    );
}
