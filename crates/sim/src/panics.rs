//! A panic anywhere in the simulated world is a broken invariant, even if a crew turns it into an error.

use std::{cell::RefCell, sync::Once};

use crate::oracle::Oracle;

thread_local! {
    /// Who is told of panics in this thread.
    static TOLD: RefCell<Option<Oracle>> = const { RefCell::new(None) };
}

/// Lets an oracle be told of all panics in this thread.
pub(crate) fn told_to(oracle: &Oracle) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let oracle = TOLD.with(|told| told.try_borrow().ok().and_then(|told| told.clone()));
            match oracle {
                Some(oracle) => oracle.violated("nothing panics", panic.to_string().replace('\n', " ")),
                None => before(panic),
            }
        }));
    });
    TOLD.set(Some(oracle.clone()));
}

/// Lets panics be told as everywhere.
pub(crate) fn told_to_nobody() {
    TOLD.set(None);
}
