//! What holds from any distribution of tasks on.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{life::assert_rate, stage::Stage};

/// A service, and on which of the nodes each of its tasks is.
#[derive(Clone, Debug)]
struct Spread {
    nodes: usize,
    seats: Vec<usize>,
    parallelism: u64,
    rate: u32,
    starts_first: bool,
}

fn spread() -> impl Strategy<Value = Spread> {
    (2usize..6).prop_flat_map(|nodes| {
        let seats = proptest::collection::vec(0..nodes, 1..16);
        (Just(nodes), seats, 1u64..4, 1u32..12, any::<bool>()).prop_map(
            |(nodes, seats, parallelism, rate, starts_first)| Spread { nodes, seats, parallelism, rate, starts_first },
        )
    })
}

impl Spread {
    fn text(&self) -> String {
        let nodes: String = (0..self.nodes).map(|node| format!("node n{node}; ")).collect();
        let (replicas, parallelism, rate) = (self.seats.len(), self.parallelism, self.rate);
        let order = if self.starts_first { "start-first" } else { "" };
        let service = format!("service web replicas={replicas} parallelism={parallelism} rebalance={rate} {order}");
        let tasks = self.seats.iter().enumerate().map(|(slot, node)| format!("; task web.{} on n{node}", slot + 1));
        format!("{nodes}{service}{}", tasks.collect::<String>())
    }

    /// The fewest moves after which no two nodes differ by more than one.
    fn least_moves(&self) -> usize {
        let mut counts = vec![0usize; self.nodes];
        self.seats.iter().for_each(|node| counts[*node] += 1);
        counts.sort_by(|a, b| b.cmp(a));
        let (share, more) = (self.seats.len() / self.nodes, self.seats.len() % self.nodes);
        counts.iter().enumerate().map(|(n, count)| count.saturating_sub(share + usize::from(n < more))).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn from_any_distribution_it_ends_evenly_within_availability_and_rate(spread in spread()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut stage = Stage::open(&spread.text()).await;
            let minutes = spread.least_moves().div_ceil(spread.rate.min(10) as usize) + 1;
            stage.pass(Duration::from_secs(60 * minutes as u64)).await;
            let (moves, replicas) = (stage.moves("web"), spread.seats.len());
            assert_eq!(moves.len(), spread.least_moves(), "each move counts, and an even service is left alone");
            assert_rate(&moves, spread.rate.min(10) as usize);
            let down = if spread.starts_first { 0 } else { spread.parallelism as usize };
            assert!(stage.fewest["web"] >= replicas.saturating_sub(down), "{} of {replicas} ran", stage.fewest["web"]);
            let mut counts = BTreeMap::<_, usize>::new();
            let tasks = stage.tasks();
            for task in tasks.iter().filter(|task| crate::book::is_live(task)) {
                *counts.entry(task.node_id.clone()).or_default() += 1;
            }
            let most = counts.values().copied().max().unwrap_or(0);
            let least = if counts.len() < spread.nodes { 0 } else { counts.values().copied().min().unwrap_or(0) };
            assert!(most - least <= 1, "{counts:?}");
            assert_eq!(counts.values().sum::<usize>(), replicas);
            stage.close().await;
        });
    }
}
