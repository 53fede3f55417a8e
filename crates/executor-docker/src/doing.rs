//! What is being done for a task at the moment, for people.

use parking_lot::Mutex;
use tokio::sync::watch;

/// The latest text, and which one was told last.
#[derive(Debug)]
pub(crate) struct Doing {
    said: watch::Sender<String>,
    told: Mutex<String>,
}

impl Doing {
    pub(crate) fn new() -> Self {
        Self { said: watch::Sender::new(String::new()), told: Mutex::default() }
    }

    /// This is done now.
    pub(crate) fn say(&self, text: &str) {
        self.said.send_if_modified(|said| {
            let is_new = said != text;
            if is_new {
                text.clone_into(said);
            }
            is_new
        });
    }

    /// Returns when there is something that was not told before.
    pub(crate) async fn news(&self) -> String {
        let mut said = self.said.subscribe();
        let is_new = |said: &String| !said.is_empty() && *said != *self.told.lock();
        match said.wait_for(is_new).await.map(|said| said.clone()) {
            Ok(text) => {
                text.clone_into(&mut self.told.lock());
                text
            }
            // The sender is ours, so it is there.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn only_what_is_new_is_told_and_only_the_latest_of_it() {
        let doing = Doing::new();
        let news = || doing.news().now_or_never();
        assert_eq!(news(), None);
        doing.say("1 of 3");
        doing.say("2 of 3");
        assert_eq!(news().as_deref(), Some("2 of 3"));
        doing.say("2 of 3");
        assert_eq!(news(), None);
        doing.say("3 of 3");
        assert_eq!(news().as_deref(), Some("3 of 3"));
    }
}
