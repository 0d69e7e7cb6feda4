//! How many different ones there were, in 1 KiB and mergeable: HyperLogLog (Flajolet et al. 2007) of the Apache
//! `DataSketches` library, whose stored form its libraries for Java, C++ and Python read too.
//!
//! The count is exact up to a few dozen and off by about 3 % (one standard error) beyond. It is shown and merged; no
//! decision rests on it, since it is reckoned in floating point.

use std::fmt;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Binary logarithm of the number of registers.
const LG_K: u8 = 10;

/// Bytes of one that counts many.
pub const BYTES: usize = 1 << LG_K;

/// See the module. An empty one takes no memory.
#[derive(Clone, Default)]
pub struct Distinct(Option<Box<HllSketch>>);

impl Distinct {
    /// Notes one.
    pub fn note(&mut self, value: u64) {
        if let Some(sketch) = &mut self.0 {
            sketch.update(value);
            return;
        }
        let mut sketch = HllSketch::new(LG_K, HllType::Hll8).expect("ten is a valid logarithm");
        sketch.update(value);
        self.0 = Some(Box::new(sketch));
    }

    /// How many different ones were noted, about.
    #[must_use]
    pub fn count(&self) -> u64 {
        // The composite estimate depends on what was noted alone, not on the order.
        self.0.as_ref().map_or(0, |sketch| sketch.composite_estimate().round() as u64)
    }

    /// Takes in what another one noted. The order of merging changes nothing.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.0 else { return };
        let Some(ours) = &self.0 else {
            self.0 = Some(theirs.clone());
            return;
        };
        let mut union = HllUnion::new(LG_K).expect("ten is a valid logarithm");
        union.update(ours);
        union.update(theirs);
        self.0 = Some(Box::new(union.to_sketch(HllType::Hll8)));
    }
}

impl PartialEq for Distinct {
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count()
    }
}

impl Eq for Distinct {}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "about {}", self.count())
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.as_ref().map(|sketch| sketch.serialize()).unwrap_or_default();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        if hex.is_empty() {
            return Ok(Self::default());
        }
        let digits = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
        let bytes: Option<Vec<u8>> = digits.collect();
        let bytes = bytes.ok_or_else(|| D::Error::custom("not hexadecimal"))?;
        let sketch = HllSketch::deserialize(&bytes).map_err(D::Error::custom)?;
        if sketch.lg_config_k() != LG_K {
            return Err(D::Error::custom("of another size"));
        }
        Ok(Self(Some(Box::new(sketch))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Distinct;

    fn of(values: &[u64]) -> Distinct {
        let mut distinct = Distinct::default();
        values.iter().for_each(|value| distinct.note(*value));
        distinct
    }

    #[test]
    fn counts_are_near_the_truth_and_survive_storage() {
        for n in [0, 1, 20, 1_000, 25_000, 640_000] {
            let distinct = of(&(0..n).collect::<Vec<u64>>());
            assert!(distinct.count().abs_diff(n) <= n / 10, "{} not {n}", distinct.count());
            let text = serde_json::to_string(&distinct).expect("plain data");
            let again: Distinct = serde_json::from_str(&text).expect("what was written can be read");
            assert_eq!(again, distinct);
            assert!(text.len() < 3_000);
        }
        for bad in ["\"zz\"", "\"0\"", "\"0102\"", "7"] {
            assert!(serde_json::from_str::<Distinct>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn merging_knows_no_order(
            a in prop::collection::vec(0_u64..5_000, 0..3_000),
            b in prop::collection::vec(0_u64..5_000, 0..3_000),
            c in prop::collection::vec(0_u64..5_000, 0..40),
        ) {
            let merged = |parts: [&[u64]; 3]| {
                let mut whole = Distinct::default();
                parts.iter().for_each(|part| whole.merge(&of(part)));
                whole
            };
            let one = merged([&a, &b, &c]);
            prop_assert_eq!(&one, &merged([&c, &b, &a]));
            prop_assert_eq!(&one, &merged([&b, &b, &b].map(|_| &b[..])).clone_with(&[&a, &c]));
            let all: Vec<u64> = [&a[..], &b, &c].concat();
            prop_assert_eq!(one, of(&all));
        }
    }

    impl Distinct {
        fn clone_with(&self, parts: &[&Vec<u64>]) -> Self {
            let mut whole = self.clone();
            parts.iter().for_each(|part| whole.merge(&of(part)));
            whole
        }
    }
}
