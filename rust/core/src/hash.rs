//! Randomness that depends on nothing but a seed and where it is used: a hash instead of a generator's state, so that
//! threads need not agree on an order, and NumPy draws the same (`tinyrs.oracle`).

/// A bijection of 32 bits that leaves no visible pattern ("lowbias32", Wellons 2018).
#[inline(always)]
pub(crate) fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// What a key is for: the first of its words.
pub(crate) const SHUFFLE: u32 = 0;
pub(crate) const DROPOUT: u32 = 1;

/// The hash of a seed and some words.
pub(crate) fn key(seed: u64, words: &[u32]) -> u32 {
    let start = mix(mix(seed as u32).wrapping_add((seed >> 32) as u32));
    words.iter().fold(start, |hash, word| mix(hash.wrapping_add(*word)))
}

/// The order of an epoch: the numbers below `order.len()` sorted by the hash of each, which are all different.
/// `scratch` is as long.
pub(crate) fn shuffle(seed: u64, epoch: u32, order: &mut [u32], scratch: &mut [u64]) {
    let start = key(seed, &[SHUFFLE, epoch]);
    for (i, item) in scratch.iter_mut().enumerate() {
        *item = u64::from(mix(start.wrapping_add(i as u32))) << 32 | i as u64;
    }
    scratch.sort_unstable();
    for (place, item) in order.iter_mut().zip(scratch) {
        *place = *item as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_of_its_own_in_every_epoch() {
        let (mut first, mut second, mut scratch) = (vec![0; 1009], vec![0; 1009], vec![0; 1009]);
        shuffle(7, 0, &mut first, &mut scratch);
        shuffle(7, 1, &mut second, &mut scratch);
        assert_ne!(first, second);
        let kept_in_place = first.iter().enumerate().filter(|(i, place)| *i == **place as usize).count();
        assert!(kept_in_place < 10, "{kept_in_place}");
        for mut order in [first, second] {
            order.sort_unstable();
            assert!(order.iter().enumerate().all(|(i, place)| i == *place as usize));
        }
    }

    #[test]
    fn both_halves_of_a_seed_count() {
        assert_ne!(key(1, &[0]), key(1 << 32, &[0]));
        assert_ne!(key(1, &[0]), key(1, &[1]));
    }
}
