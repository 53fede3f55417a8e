//! Which nodes will do as far as their records go, remembered for everything that is asked for.
//!
//! Tasks ask for few different things, and records of nodes change rarely. So it is worked out once for all nodes when
//! something is first asked for, and once for all that is asked for when a node changes.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::Node;

use crate::{
    bitmap::Bitmap,
    books::{Books, NodeIx},
    needs::Fixed,
    reasons::Reason,
};

/// How many different things are remembered. Each takes a byte and a bit for each node. What was asked for longest ago is
/// forgotten for something new, and worked out again when it is asked for.
const CLASSES_MAX: usize = 1024;

/// What is remembered of the nodes for everything that is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feasible {
    classes: BTreeMap<Arc<Fixed>, Remembered>,
    /// By when they were last asked for.
    order: BTreeMap<u64, Arc<Fixed>>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Remembered {
    class: Arc<Class>,
    asked: u64,
}

/// The nodes in the eyes of one that asks for something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    verdicts: Vec<Verdict>,
    /// The nodes that will do.
    pub(crate) fit: Bitmap,
    /// How many will not, by the reason, and among them those that take no tasks.
    pub(crate) refused: BTreeMap<Reason, usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Absent,
    Fit,
    Refused(Reason),
}

// === impl Feasible ===

impl Feasible {
    /// Remembers something that is asked for. Gives the form of it that is shared.
    pub(crate) fn ask(&mut self, fixed: &Arc<Fixed>, books: &Books) -> Arc<Fixed> {
        self.clock += 1;
        if let Some((fixed, _)) = self.classes.get_key_value(fixed) {
            let fixed = fixed.clone();
            if let Some(remembered) = self.classes.get_mut(&fixed) {
                self.order.remove(&std::mem::replace(&mut remembered.asked, self.clock));
            }
            self.order.insert(self.clock, fixed.clone());
            return fixed;
        }
        if self.classes.len() >= CLASSES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.classes.remove(&oldest);
        }
        let class = Arc::new(Class::of(fixed, books));
        self.order.insert(self.clock, fixed.clone());
        self.classes.insert(fixed.clone(), Remembered { class, asked: self.clock });
        fixed.clone()
    }

    /// The nodes in the eyes of one that asks for this.
    pub(crate) fn class(&self, fixed: &Arc<Fixed>, books: &Books) -> Arc<Class> {
        self.classes.get(fixed).map_or_else(|| Arc::new(Class::of(fixed, books)), |remembered| remembered.class.clone())
    }

    /// Takes over a node's record.
    pub(crate) fn set(&mut self, ix: NodeIx, node: Option<&Node>) {
        for (fixed, remembered) in &mut self.classes {
            let verdict = Verdict::of(fixed, node);
            if remembered.class.verdict(ix) != verdict {
                Arc::make_mut(&mut remembered.class).set(ix, verdict);
            }
        }
    }

    /// Takes over new numbers of the nodes.
    pub(crate) fn renumber(&mut self, moved: &[Option<NodeIx>]) {
        for remembered in self.classes.values_mut() {
            let mut class = Class::default();
            for (old, verdict) in remembered.class.verdicts.iter().enumerate() {
                if let Some(Some(new)) = moved.get(old) {
                    class.set(*new, *verdict);
                }
            }
            remembered.class = Arc::new(class);
        }
    }
}

// === impl Class ===

impl Class {
    pub(crate) fn of(fixed: &Fixed, books: &Books) -> Self {
        let mut class = Self::default();
        for (ix, node) in books.nodes() {
            class.set(ix, Verdict::of(fixed, Some(node)));
        }
        class
    }

    /// Why a node will not do. `None` if it will, or is not there.
    pub(crate) fn refusal(&self, ix: NodeIx) -> Option<Reason> {
        match self.verdict(ix) {
            Verdict::Refused(reason) => Some(reason),
            Verdict::Absent | Verdict::Fit => None,
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.fit.len() + self.refused.values().sum::<usize>()
    }

    fn verdict(&self, ix: NodeIx) -> Verdict {
        self.verdicts.get(ix).copied().unwrap_or_default()
    }

    fn set(&mut self, ix: NodeIx, verdict: Verdict) {
        match self.verdict(ix) {
            Verdict::Absent => {}
            Verdict::Fit => drop(self.fit.remove(ix)),
            Verdict::Refused(reason) => {
                if let Some(count) = self.refused.get_mut(&reason) {
                    *count -= 1;
                    if *count == 0 {
                        self.refused.remove(&reason);
                    }
                }
            }
        }
        match verdict {
            Verdict::Absent => {}
            Verdict::Fit => drop(self.fit.insert(ix)),
            Verdict::Refused(reason) => *self.refused.entry(reason).or_default() += 1,
        }
        if ix >= self.verdicts.len() {
            self.verdicts.resize(ix + 1, Verdict::Absent);
        }
        self.verdicts[ix] = verdict;
    }
}

impl Verdict {
    fn of(fixed: &Fixed, node: Option<&Node>) -> Self {
        match node {
            None => Self::Absent,
            Some(node) => fixed.refusal(node).map_or(Self::Fit, Self::Refused),
        }
    }
}
