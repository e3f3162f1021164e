//! A small seeded generator for the synthetic London. The same seed gives the same bytes on every machine, so nothing
//! here (or in `generate`) uses floating-point functions.
//!
//! SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number generators"
//! (OOPSLA 2014), with the constants of Vigna's reference code (prng.di.unimi.it/splitmix64.c).
//! It is not for secrets: keys of the federation come from `ring`.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that a seed and a place determine.
pub struct Random(u64);

impl Random {
    /// The stream of one place, for example (seed, borough, home, purpose). Streams of different
    /// places do not depend on each other, so that a table can change without changing the rest.
    pub fn at(place: &[u64]) -> Self {
        Self(place.iter().fold(0, |state, &part| mix(state.wrapping_add(GOLDEN_GAMMA) ^ mix(part))))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// A number from 0 to `limit` − 1 (0 if the limit is 0). The bias is below 2⁻³² for the limits used here.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.draw()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `parts` of 1,000 cases.
    pub fn chance(&mut self, parts: u64) -> bool {
        self.below(1000) < parts
    }

    /// One of the values, weighted. The type's default value if there are none.
    pub fn pick<T: Copy + Default>(&mut self, weighted: &[(T, u64)]) -> T {
        let mut left = self.below(weighted.iter().map(|&(_, weight)| weight).sum());
        for &(value, weight) in weighted {
            if left < weight {
                return value;
            }
            left -= weight;
        }
        T::default()
    }

    /// One of the codes of a list such as `"Owned 3|Rented 1"`, weighted by the number after it.
    pub fn code(&mut self, list: &'static str) -> &'static str {
        let weighted = list.split('|').map(|entry| {
            let (code, weight) = entry.rsplit_once(' ').unwrap_or((entry, "1"));
            (code, weight.parse().unwrap_or(1))
        });
        self.pick(&weighted.collect::<Vec<_>>())
    }

    /// A position in a list of `length`, by Zipf's law: the weight of position n is 1 ÷ (n + 3).
    pub fn zipf(&mut self, length: u64) -> Option<usize> {
        let weight = |place: u64| 1_000_000 / (place + 4);
        let mut left = self.below((0..length).map(weight).sum());
        for place in 0..length {
            if left < weight(place) {
                return usize::try_from(place).ok();
            }
            left -= weight(place);
        }
        None
    }

    /// A draw from a distribution given by its quantiles: (per mille, value) pairs, rising, from 0 to 1,000,
    /// with straight lines between them.
    pub fn quantile(&mut self, curve: &[(u64, u64)]) -> u64 {
        // Finer than the curve's per mille. Otherwise there would be only 1,000 different values.
        let at = self.below(1_000_000);
        let segments = curve.iter().zip(curve.iter().skip(1));
        for (&(from, low), &(to, high)) in segments {
            if at < to * 1000 {
                let width = (to - from).max(1) * 1000;
                return low + (high - low) * at.saturating_sub(from * 1000) / width;
            }
        }
        curve.last().map_or(0, |&(_, value)| value)
    }
}

/// A fixed number for a place, for keys and for choices that two boroughs must make in the same way.
pub fn fixed(place: &[u64]) -> u64 {
    Random::at(place).draw()
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first values of the reference code from state 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(random.draw(), 6_457_827_717_110_365_317);
        assert_eq!(random.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_range_and_keep_their_weights() {
        let mut random = Random::at(&[1, 2]);
        let curve = [(0, 10), (900, 100), (1000, 10_000)];
        let (mut heads, mut tail) = (0, 0);
        for _ in 0..10_000 {
            heads += u32::from(random.pick(&[(true, 3), (false, 1)]));
            let value = random.quantile(&curve);
            assert!((10..=10_000).contains(&value) && (5..=7).contains(&random.between(5, 7)));
            tail += u32::from(value > 100);
        }
        assert!((0..100).all(|_| random.code("Owned outright 1|Rented 0") == "Owned outright"));
        assert!((7_200..7_800).contains(&heads) && (800..1_200).contains(&tail), "{heads} {tail}");
    }
}
