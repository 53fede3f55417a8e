//! Numbers written with the digits `0-9a-z`, left-padded with zeros to a fixed width.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Writes a big-endian number in `width` digits. The width must be enough for any number of that many bytes.
pub(crate) fn encode(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::from(divide_by_36(&mut number))];
    }
    debug_assert!(number.iter().all(|&byte| byte == 0), "{width} digits cannot hold {} bytes", bytes.len());
    digits.into_iter().map(char::from).collect()
}

/// Reads digits as a big-endian number of `N` bytes. `None` when a character is no digit or the number is too large.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut number = [0_u8; N];
    for character in text.bytes() {
        let digit = DIGITS.iter().position(|&digit| digit == character)?;
        let mut carry = digit;
        for byte in number.iter_mut().rev() {
            let value = usize::from(*byte) * 36 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

/// Divides a big-endian number in place and gives the remainder.
fn divide_by_36(number: &mut [u8]) -> u8 {
    let mut rest = 0_u16;
    for byte in number.iter_mut() {
        let value = (rest << 8) | u16::from(*byte);
        *byte = (value / 36) as u8;
        rest = value % 36;
    }
    rest as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_are_padded() {
        assert_eq!(encode(&[0, 35], 4), "000z");
        assert_eq!(encode(&[0, 36], 4), "0010");
        assert_eq!(decode::<2>("0010"), Some([0, 36]));
    }

    #[test]
    fn the_largest_digest_fits_in_fifty_digits() {
        let text = encode(&[0xff; 32], 50);
        assert_eq!(decode::<32>(&text), Some([0xff; 32]));
    }

    #[test]
    fn other_characters_and_numbers_too_large_are_refused() {
        assert_eq!(decode::<32>("00A0"), None);
        assert_eq!(decode::<32>("00-0"), None);
        assert_eq!(decode::<32>(&"z".repeat(50)), None);
    }

    proptest! {
        #[test]
        fn any_digest_survives_the_round_trip(digest: [u8; 32], secret: [u8; 16]) {
            prop_assert_eq!(decode::<32>(&encode(&digest, 50)), Some(digest));
            prop_assert_eq!(decode::<16>(&encode(&secret, 25)), Some(secret));
        }
    }
}
