//! Random numbers as hashes of a seed and of what they are for. There is no generator state, so threads may draw in any
//! order, and `tinyrs.oracle` draws the same numbers in NumPy.

/// A bijective hash of 32 bits ("lowbias32", Wellons 2018).
#[inline(always)]
pub(crate) fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The first word of a key that shuffles rows.
pub(crate) const SHUFFLE: u32 = 0;
/// The first word of a key that draws a dropout mask.
pub(crate) const DROPOUT: u32 = 1;

/// The hash of `seed` and `words`; the first word is the purpose.
pub(crate) fn key(seed: u64, words: &[u32]) -> u32 {
    let start = mix(mix(seed as u32).wrapping_add((seed >> 32) as u32));
    words.iter().fold(start, |hash, word| mix(hash.wrapping_add(*word)))
}

/// Fills `order` with a random permutation of 0..`order.len()` for `epoch`, by sorting the numbers by their hashes,
/// which are distinct. `scratch` has the length of `order`.
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
    fn every_epoch_has_a_different_permutation() {
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
    fn keys_depend_on_both_halves_of_the_seed() {
        assert_ne!(key(1, &[0]), key(1 << 32, &[0]));
        assert_ne!(key(1, &[0]), key(1, &[1]));
    }
}
