//! Fixed-width base62 of whole byte strings. Knows: digits. Must not know: what the bytes are.

use zeroize::Zeroizing;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits taken per division: the most for which 62^n still fits 32 bits.
const GROUP: usize = 5;
const GROUP_VALUE: u64 = 62u64.pow(GROUP as u32);
/// Digits taken per multiplication: the most for which 62^n still fits 64 bits.
const WIDE_GROUP: usize = 10;

/// How many digits always hold this many bytes.
pub(super) const fn width(bytes: usize) -> usize {
    // log 256 / log 62 = 1.34359…, rounded up.
    (bytes * 134_360).div_ceil(100_000)
}

/// Appends the digits of a big-endian number.
pub(super) fn encode(bytes: &[u8], text: &mut String) {
    let mut limbs: Zeroizing<Vec<u32>> = Zeroizing::new(bytes.rchunks(4).rev().map(big_endian).collect());
    let mut digits: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(width(bytes.len()) + GROUP));
    let mut leading_zeros = 0;
    while digits.len() < width(bytes.len()) {
        leading_zeros += limbs[leading_zeros..].iter().take_while(|limb| **limb == 0).count();
        let mut rest = 0;
        for limb in &mut limbs[leading_zeros..] {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / GROUP_VALUE) as u32;
            rest = value % GROUP_VALUE;
        }
        for _ in 0..GROUP {
            digits.push(DIGITS[(rest % 62) as usize]);
            rest /= 62;
        }
    }
    digits.truncate(width(bytes.len()));
    text.extend(digits.iter().rev().map(|&digit| char::from(digit)));
}

/// The bytes that the digits stand for; `None` if there is another digit, another width, or too large a number.
pub(super) fn decode(text: &str, bytes: usize) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() != width(bytes) {
        return None;
    }
    // The lowest first; those beyond `used` are zero.
    let mut limbs: Zeroizing<Vec<u64>> = Zeroizing::new(vec![0; bytes.div_ceil(8)]);
    let mut used = 0;
    let (first, groups) = text.as_bytes().split_at(text.len() % WIDE_GROUP);
    for group in std::iter::once(first).chain(groups.chunks(WIDE_GROUP)) {
        let (mut value, mut factor) = (0_u64, 1_u64);
        for &digit in group {
            value = value * 62 + u64::from(value_of(digit)?);
            factor *= 62;
        }
        let mut carry = u128::from(value);
        for limb in &mut limbs[..used] {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            *limbs.get_mut(used)? = carry as u64;
            used += 1;
        }
    }
    let mut number = Zeroizing::new(Vec::with_capacity(limbs.len() * 8));
    limbs.iter().rev().for_each(|limb| number.extend(limb.to_be_bytes()));
    // The highest limb may have room for more bytes than there should be.
    let excess = number.len() - bytes;
    if number.drain(..excess).any(|byte| byte != 0) {
        return None;
    }
    Some(number)
}

fn big_endian(chunk: &[u8]) -> u32 {
    chunk.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let text = |bytes: &[u8]| {
            let mut text = String::new();
            encode(bytes, &mut text);
            text
        };
        assert_eq!(text(&[0, 0, 0, 0]), "000000");
        assert_eq!(text(&[0, 0, 0, 61]), "00000z");
        assert_eq!(text(&u32::MAX.to_be_bytes()), "4gfFC3");
        assert_eq!((width(4), width(32), width(49)), (6, 43, 66));
        assert!(decode("4gfFC4", 4).is_none(), "one more than fits");
        assert!(decode("00000-", 4).is_none());
        assert_eq!(decode("047", 2).map(|number| number.to_vec()), Some(vec![0, 255]));
        assert!(decode("H32", 2).is_none(), "65 536 in two bytes");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
            let mut text = String::new();
            encode(&bytes, &mut text);
            prop_assert_eq!(text.len(), width(bytes.len()));
            prop_assert_eq!(&**decode(&text, bytes.len()).unwrap(), &bytes[..]);
        }
    }
}
