//! Which seeds and which points an experiment of a study has.

use std::collections::{BTreeMap, BTreeSet};

use motif_proto::spec::study::{Entry, StudyDocument};
use serde_json::{Value, json};

use super::graph::Graph;
use super::{Problems, problem_of};

/// What an experiment has a run for each of.
#[derive(Clone, Debug)]
pub struct Axes {
    /// The points of its own sweep or its base's; one without a number where there is no sweep.
    pub points: Vec<Point>,
    /// Its seeds; none where its spec, or a base outside of the study, has the only say.
    pub seeds: Vec<u64>,
    /// For each of its seeds the place of the base's seed that it pairs with.
    pub pairs: Vec<usize>,
}

impl Axes {
    /// How many seeds there are in the end.
    #[must_use]
    pub fn count_seeds(&self) -> usize {
        self.seeds.len().max(1)
    }
}

/// A point of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its number.
    pub number: Option<u32>,
    /// What is set there.
    pub parameters: BTreeMap<String, Value>,
}

/// The axes of all experiments.
pub fn of(study: &StudyDocument, graph: &Graph, problems: &mut Problems) -> Vec<Axes> {
    let mut axes: Vec<Option<Axes>> = vec![None; study.experiments.len()];
    for &place in &graph.order {
        let entry = &study.experiments[place];
        // None for the base of a cycle, which is refused anyway.
        let base = graph.base[place].and_then(|base| axes[base].clone());
        let points = match (&entry.sweep, &base) {
            (Some(_), Some(base)) if base.points[0].number.is_some() => {
                let detail = "its base has a sweep already, and it is made for each of its points".to_owned();
                let allowed = "a sweep here or there";
                problems.add(problem_of(place, "sweep", json!(entry.base), detail, allowed));
                base.points.clone()
            }
            (None, Some(base)) => base.points.clone(),
            (Some(_), _) => own_points(entry),
            (None, None) => vec![Point {
                number: None,
                parameters: BTreeMap::new(),
            }],
        };
        let (seeds, pairs) = seeds(place, entry, base.as_ref(), problems);
        axes[place] = Some(Axes { points, seeds, pairs });
    }
    axes.into_iter().flatten().collect()
}

fn own_points(entry: &Entry) -> Vec<Point> {
    let Some(sweep) = &entry.sweep else {
        return Vec::new();
    };
    (0..sweep.points)
        .map(|k| Point {
            number: u32::try_from(k).ok(),
            parameters: sweep
                .point(k)
                .into_iter()
                .map(|(field, value)| (field.to_owned(), value))
                .collect(),
        })
        .collect()
}

/// The seeds of an experiment, and for each the place of the base's seed that it goes with.
fn seeds(
    place: usize,
    entry: &Entry,
    base: Option<&Axes>,
    problems: &mut Problems,
) -> (Vec<u64>, Vec<usize>) {
    let own: Vec<u64> = match (&entry.seeds, entry.spec.get("seed").and_then(Value::as_u64)) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(seed)) => vec![seed],
        (None, None) => Vec::new(),
    };
    let Some(base) = base else {
        return (own, Vec::new());
    };
    if own.is_empty() {
        let pairs = (0..base.count_seeds()).collect();
        return (base.seeds.clone(), pairs);
    }
    if base.count_seeds() == 1 {
        let pairs = vec![0; own.len()];
        return (own, pairs);
    }
    let pairs: Vec<usize> = own
        .iter()
        .filter_map(|seed| base.seeds.iter().position(|other| other == seed))
        .collect();
    let different: BTreeSet<usize> = pairs.iter().copied().collect();
    if different.len() == base.seeds.len() && own.len() == base.seeds.len() {
        return (own, pairs);
    }
    let words = |seeds: &[u64]| {
        let shown: Vec<String> = seeds.iter().take(8).map(u64::to_string).collect();
        format!("{}{}", shown.join(", "), if seeds.len() > 8 { ", …" } else { "" })
    };
    let detail = format!(
        "its base has the seeds {} and it has {}, so they do not pair",
        words(&base.seeds),
        words(&own)
    );
    let field = if entry.seeds.is_some() { "seeds" } else { "seed" };
    let allowed = "the base's seeds, none (then it has the base's), or a base with one seed";
    problems.add(problem_of(place, field, json!(own), detail, allowed));
    (own.clone(), vec![0; own.len()])
}
