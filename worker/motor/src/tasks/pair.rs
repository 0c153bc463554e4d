//! The twenty composed tasks: a motif there, and another one back.

use super::UnknownTask;
use crate::random::Stream;

/// What the hand does on the way to the far point: the paths of rules 0–4, in half the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forward {
    HalfReach,
    HalfCircleClk,
    HalfCircleCClk,
    Sinusoid,
    SinusoidInv,
}

/// What the hand does on the way back: the second halves of rules 5–9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backward {
    FullReach,
    FullCircleClk,
    FullCircleCClk,
    Figure8,
    Figure8Inv,
}

impl Forward {
    pub const ALL: [Forward; 5] = [
        Forward::HalfReach,
        Forward::HalfCircleClk,
        Forward::HalfCircleCClk,
        Forward::Sinusoid,
        Forward::SinusoidInv,
    ];
}

impl Backward {
    pub const ALL: [Backward; 5] = [
        Backward::FullReach,
        Backward::FullCircleClk,
        Backward::FullCircleCClk,
        Backward::Figure8,
        Backward::Figure8Inv,
    ];
}

/// A forward motif and a backward one that together are not one of the ten base tasks: every combination but the
/// five of motifs with the same position in their lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    forward: Forward,
    backward: Backward,
}

/// Names by rule: `forward_<motif>+backward_<motif>`.
const NAMES: [&str; Pair::COUNT] = [
    "forward_halfreach+backward_fullcircleclk",
    "forward_halfreach+backward_fullcirclecclk",
    "forward_halfreach+backward_figure8",
    "forward_halfreach+backward_figure8inv",
    "forward_halfcircleclk+backward_fullreach",
    "forward_halfcircleclk+backward_fullcirclecclk",
    "forward_halfcircleclk+backward_figure8",
    "forward_halfcircleclk+backward_figure8inv",
    "forward_halfcirclecclk+backward_fullreach",
    "forward_halfcirclecclk+backward_fullcircleclk",
    "forward_halfcirclecclk+backward_figure8",
    "forward_halfcirclecclk+backward_figure8inv",
    "forward_sinusoid+backward_fullreach",
    "forward_sinusoid+backward_fullcircleclk",
    "forward_sinusoid+backward_fullcirclecclk",
    "forward_sinusoid+backward_figure8inv",
    "forward_sinusoidinv+backward_fullreach",
    "forward_sinusoidinv+backward_fullcircleclk",
    "forward_sinusoidinv+backward_fullcirclecclk",
    "forward_sinusoidinv+backward_figure8",
];

impl Pair {
    pub const COUNT: usize = 20;

    /// The pair of two motifs, if it is one of the twenty.
    pub fn new(forward: Forward, backward: Backward) -> Option<Self> {
        (forward as usize != backward as usize).then_some(Self { forward, backward })
    }

    /// The pair of a rule, 0 to 19.
    pub fn of_rule(rule: usize) -> Option<Self> {
        let forward = *Forward::ALL.get(rule / 4)?;
        let backward = rule % 4;
        let skipped = usize::from(backward >= forward as usize);
        Self::new(forward, Backward::ALL[backward + skipped])
    }

    /// A pair drawn from those with the given motifs; what is not given is drawn uniformly from what the other
    /// allows: forward from five, backward from the four that go with it.
    ///
    /// `None` only when both are given and are no pair.
    pub fn draw(forward: Option<Forward>, backward: Option<Backward>, stream: Stream) -> Option<Self> {
        // One of five, or of the four that are not the partner's counterpart.
        let choose = |element, counterpart: Option<usize>| match counterpart {
            None => stream.index(element, 5),
            Some(excluded) => {
                let index = stream.index(element, 4);
                index + usize::from(index >= excluded)
            }
        };
        let forward = forward.unwrap_or_else(|| Forward::ALL[choose(0, backward.map(|b| b as usize))]);
        let backward = backward.unwrap_or_else(|| Backward::ALL[choose(1, Some(forward as usize))]);
        Self::new(forward, backward)
    }

    pub fn forward(self) -> Forward {
        self.forward
    }

    pub fn backward(self) -> Backward {
        self.backward
    }

    /// Position in the rule input: forward motifs in order, for each the four backward motifs in order.
    pub fn rule(self) -> usize {
        let (forward, backward) = (self.forward as usize, self.backward as usize);
        4 * forward + backward - usize::from(backward > forward)
    }

    pub fn name(self) -> &'static str {
        NAMES[self.rule()]
    }

    pub(super) fn from_name(name: &str) -> Result<Self, UnknownTask> {
        let rule = NAMES.iter().position(|&known| known == name);
        rule.and_then(Self::of_rule)
            .ok_or_else(|| UnknownTask(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Purpose;

    fn stream(batch: u64) -> Stream {
        Stream {
            seed: 3,
            purpose: Purpose::TaskChoice,
            batch,
            step: 0,
        }
    }

    #[test]
    fn rules_number_the_twenty_pairs_and_names_say_their_motifs() {
        for rule in 0..Pair::COUNT {
            let pair = Pair::of_rule(rule).expect("a pair");
            assert_eq!(pair.rule(), rule);
            let motif = |word: String| word.to_lowercase();
            let spelt = format!(
                "forward_{}+backward_{}",
                motif(format!("{:?}", pair.forward())),
                motif(format!("{:?}", pair.backward()))
            );
            assert_eq!(pair.name(), spelt);
            assert_eq!(Pair::from_name(&spelt).expect("known"), pair);
        }
        assert_eq!(Pair::of_rule(Pair::COUNT), None);
        assert_eq!(Pair::new(Forward::Sinusoid, Backward::Figure8), None);
    }

    #[test]
    fn a_missing_partner_is_drawn_evenly_from_the_four_allowed() {
        const DRAWS: u64 = 4000;
        for backward in Backward::ALL {
            let mut drawn = BTreeMap::new();
            for batch in 0..DRAWS {
                let pair = Pair::draw(None, Some(backward), stream(batch)).expect("a pair");
                assert_eq!(pair.backward(), backward);
                *drawn.entry(pair).or_insert(0) += 1;
            }
            assert_eq!(drawn.len(), 4);
            // Five standard deviations of a binomial count.
            assert!(
                drawn.values().all(|count| (863..=1137).contains(count)),
                "{drawn:?}"
            );
        }
        for forward in Forward::ALL {
            let pairs = (0..200).filter_map(|batch| Pair::draw(Some(forward), None, stream(batch)));
            assert!(pairs.inspect(|pair| assert_eq!(pair.forward(), forward)).count() == 200);
        }
    }

    #[test]
    fn with_nothing_given_every_pair_is_drawn() {
        let drawn: std::collections::BTreeSet<_> = (0..1000)
            .filter_map(|batch| Pair::draw(None, None, stream(batch)))
            .collect();
        assert_eq!(drawn.len(), Pair::COUNT);
        let both = Pair::draw(Some(Forward::HalfReach), Some(Backward::FullReach), stream(0));
        assert_eq!(both, None);
    }
}
