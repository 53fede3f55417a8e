//! How far a fetch is, from what the engine tells of each layer.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

/// How many layers are kept track of. Images have at most 127.
const LAYERS: usize = 512;

/// The layers of one image, as far as the engine has spoken of them.
#[derive(Debug, Default)]
pub(super) struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default)]
struct Layer {
    here: bool,
    bytes: u64,
    of: u64,
}

/// The engine's words for a layer that is on its way.
const WAITS: [&str; 3] = ["Pulling fs layer", "Waiting", "Retrying"];
const COMES: &str = "Downloading";
/// And for one of which nothing has to come any more, though it may have to be unpacked.
const CAME: [&str; 3] = ["Verifying Checksum", "Download complete", "Extracting"];
const DONE: [&str; 2] = ["Pull complete", "Already exists"];

impl Layers {
    /// Takes note of one message. What is not about a layer is none of our business.
    pub(super) fn absorb(&mut self, message: &CreateImageInfo) {
        let (Some(id), Some(status)) = (message.id.as_ref(), message.status.as_deref()) else { return };
        let begins = |words: &[&str]| words.iter().any(|word| status.starts_with(word));
        let known = begins(&WAITS) || begins(&[COMES]) || begins(&CAME) || begins(&DONE);
        if !known || (self.0.len() >= LAYERS && !self.0.contains_key(id)) {
            return;
        }
        let layer = self.0.entry(id.clone()).or_default();
        if begins(&DONE) {
            layer.here = true;
        }
        if begins(&DONE) || begins(&CAME) {
            layer.bytes = layer.of;
        }
        if begins(&[COMES])
            && let Some(detail) = &message.progress_detail
        {
            let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
            layer.bytes = bytes(detail.current);
            layer.of = bytes(detail.total).max(layer.bytes);
        }
    }

    /// What there is to say: how many layers are here, and how much of those whose size is known.
    pub(super) fn text(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let here = self.0.values().filter(|layer| layer.here).count();
        let (bytes, of) = self.0.values().fold((0, 0), |(bytes, of), layer| (bytes + layer.bytes, of + layer.of));
        let layers = format!("{here} of {} layers", self.0.len());
        Some(if of == 0 { layers } else { format!("{layers}, {} of {} MB", megabytes(bytes), megabytes(of)) })
    }
}

/// With one digit behind the point.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said after each of those messages.
    fn said(messages: &[(&str, &str, u64, u64)]) -> Vec<String> {
        let mut layers = Layers::default();
        let say = |(id, status, current, total): &(&str, &str, u64, u64)| {
            let detail = json!({ "current": current, "total": total });
            let message = json!({ "id": id, "status": status, "progressDetail": detail });
            layers.absorb(&serde_json::from_value(message).unwrap());
            layers.text().unwrap_or_default()
        };
        messages.iter().map(say).collect()
    }

    #[test]
    fn layers_are_counted_and_bytes_where_their_number_is_known() {
        let said = said(&[
            ("1.27", "Pulling from library/nginx", 0, 0),
            ("a", "Pulling fs layer", 0, 0),
            ("b", "Already exists", 0, 0),
            ("a", "Downloading", 1_250_000, 4_000_000),
            ("c", "Downloading", 0, 1_000_000),
            ("a", "Download complete", 0, 0),
            ("a", "Extracting", 1, 4_000_000),
            ("a", "Pull complete", 0, 0),
        ]);
        let expected = [
            "",
            "0 of 1 layers",
            "1 of 2 layers",
            "1 of 2 layers, 1.2 of 4.0 MB",
            "1 of 3 layers, 1.2 of 5.0 MB",
            "1 of 3 layers, 4.0 of 5.0 MB",
            "1 of 3 layers, 4.0 of 5.0 MB",
            "2 of 3 layers, 4.0 of 5.0 MB",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_an_engine_sends_without_end_is_not_kept_without_end() {
        let mut layers = Layers::default();
        for n in 0..10 * LAYERS {
            let message = json!({ "id": n.to_string(), "status": "Waiting" });
            layers.absorb(&serde_json::from_value(message).unwrap());
        }
        assert_eq!(layers.0.len(), LAYERS);
    }
}
