//! The keys that end an attachment without ending the task.

/// Keys, and how many of them were typed last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// Reads keys as `ctrl-p,ctrl-q`: letters, digits and signs as they are, or with `ctrl-` before.
pub(crate) fn parse_detach_keys(text: &str) -> Result<DetachKeys, String> {
    let keys = text.split(',').filter(|_| !text.is_empty());
    Ok(DetachKeys { keys: keys.map(parse_key).collect::<Result<_, _>>()?, typed: 0 })
}

fn parse_key(text: &str) -> Result<u8, String> {
    let name = text.to_ascii_lowercase();
    let known = match (name.strip_prefix("ctrl-"), text.as_bytes()) {
        (Some(key), _) => match key.as_bytes() {
            [key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(key & 0x1f),
            _ => None,
        },
        (None, [key]) if key.is_ascii_graphic() => Some(*key),
        (None, _) => None,
    };
    known.ok_or_else(|| {
        format!("unknown key {text:?}: there are single characters, and ctrl- with a letter or one of @[\\]^_")
    })
}

impl DetachKeys {
    /// Gives what is to be passed on of what was typed, and whether all keys were typed one after the other. Keys that may
    /// be the beginning of that are held back.
    pub(crate) fn pass(&mut self, bytes: Vec<u8>) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (bytes, false);
        }
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if byte != self.keys[self.typed] {
                passed.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if byte == self.keys[self.typed] {
                self.typed += 1;
            } else {
                passed.push(byte);
            }
            if self.typed == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        parse_detach_keys(text).unwrap()
    }

    #[test]
    fn keys_are_read_as_other_clients_have_them() {
        assert_eq!(keys("ctrl-p,ctrl-q").keys, [16, 17]);
        assert_eq!(keys("a,ctrl-[,Ctrl-A").keys, [b'a', 27, 1]);
        assert!(keys("").keys.is_empty());
        for text in ["ctrl-", "ctrl-1", "ab", "a,", "\u{e4}"] {
            assert!(parse_detach_keys(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_end_an_attachment_when_all_are_typed_one_after_the_other() {
        let mut typed = keys("ctrl-p,ctrl-q");
        assert_eq!(typed.pass(b"ab\x10".to_vec()), (b"ab".to_vec(), false));
        assert_eq!(typed.pass(b"c".to_vec()), (b"\x10c".to_vec(), false), "what was held back is passed on");
        assert_eq!(typed.pass(b"\x10\x10".to_vec()), (b"\x10".to_vec(), false), "the second may be the beginning");
        assert_eq!(typed.pass(b"\x11rest".to_vec()), (vec![], true));
        assert_eq!(keys("").pass(b"\x10\x11".to_vec()), (b"\x10\x11".to_vec(), false));
    }
}
