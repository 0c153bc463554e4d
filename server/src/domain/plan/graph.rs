//! How the experiments of a study hang together.

use std::collections::HashMap;

use motif_proto::problem::FieldProblem;
use motif_proto::spec::names::unknown_name;
use motif_proto::spec::study::StudyDocument;
use serde_json::json;
use uuid::Uuid;

use super::Problems;
use super::axes::Axes;

/// The edges between the experiments of a study, by their places.
#[derive(Debug)]
pub struct Graph {
    /// The sibling that each starts from.
    pub base: Vec<Option<usize>>,
    /// The siblings that each comes after.
    pub after: Vec<Vec<usize>>,
    /// All of them, each after what it waits for; those of a cycle come last.
    pub order: Vec<usize>,
}

impl Graph {
    /// Reads the edges, and finds those that lead nowhere or in a circle.
    pub fn of(study: &StudyDocument, problems: &mut Problems) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (i, entry) in study.experiments.iter().enumerate() {
            places.entry(entry.id.as_str()).or_insert(i);
        }
        let known: Vec<&str> = study.experiments.iter().map(|entry| entry.id.as_str()).collect();
        let mut find = |pointer: String, name: &str| {
            let place = places.get(name).copied();
            if place.is_none() {
                let known = known.iter().copied().filter(|id| !id.is_empty());
                problems.add(unknown_name(&pointer, "experiment of this study", name, known));
            }
            place
        };
        let mut graph = Self {
            base: Vec::new(),
            after: Vec::new(),
            order: Vec::new(),
        };
        for (i, entry) in study.experiments.iter().enumerate() {
            // What can be an id of a run or a checkpoint is looked for outside, unless a sibling is called so.
            let base = entry.base.as_deref();
            let base = base.filter(|name| places.contains_key(name) || name.parse::<Uuid>().is_err());
            graph
                .base
                .push(base.and_then(|name| find(format!("/experiments/{i}/base"), name)));
            let after = entry.after.iter().enumerate();
            graph.after.push(
                after
                    .filter_map(|(j, name)| find(format!("/experiments/{i}/after/{j}"), name))
                    .collect(),
            );
        }
        graph.sort(study, problems);
        graph
    }

    /// The pairs of runs of which one waits for the other.
    #[must_use]
    pub fn count_edges(&self, axes: &[Axes]) -> usize {
        let count = |place: usize| axes[place].points.len().saturating_mul(axes[place].count_seeds());
        (0..self.base.len())
            .map(|i| {
                let after = self.after[i].iter().map(|&other| count(other));
                let each = after.fold(usize::from(self.base[i].is_some()), usize::saturating_add);
                each.saturating_mul(count(i))
            })
            .fold(0, usize::saturating_add)
    }

    fn waits_for(&self, place: usize) -> impl Iterator<Item = usize> {
        self.base[place]
            .into_iter()
            .chain(self.after[place].iter().copied())
    }

    fn sort(&mut self, study: &StudyDocument, problems: &mut Problems) {
        let mut left: Vec<usize> = (0..self.base.len()).collect();
        let mut sorted = vec![false; left.len()];
        loop {
            let ready: Vec<usize> = left
                .iter()
                .copied()
                .filter(|&place| self.waits_for(place).all(|other| sorted[other]))
                .collect();
            if ready.is_empty() {
                break;
            }
            for &place in &ready {
                sorted[place] = true;
            }
            left.retain(|&place| !sorted[place]);
            self.order.extend(ready);
        }
        for cycle in self.cycles(&left) {
            problems.add(self.describe(study, &cycle));
        }
        self.order.extend(left);
    }

    /// A cycle for every part of the graph that has one, among places that all wait for others of them.
    fn cycles(&self, places: &[usize]) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.base.len()];
        let mut cycles = Vec::new();
        for &start in places {
            let mut path = Vec::new();
            let mut place = start;
            while !seen[place] {
                seen[place] = true;
                path.push(place);
                let Some(next) = self.waits_for(place).find(|next| places.contains(next)) else {
                    break;
                };
                place = next;
            }
            if let Some(begin) = path.iter().position(|&on_path| on_path == place)
                && (path.len() - begin > 1 || self.waits_for(place).any(|next| next == place))
            {
                cycles.push(path.split_off(begin));
            }
        }
        cycles
    }

    fn describe(&self, study: &StudyDocument, cycle: &[usize]) -> FieldProblem {
        let name = |place: usize| study.experiments[place].id.as_str();
        let (first, second) = (cycle[0], *cycle.get(1).unwrap_or(&cycle[0]));
        let names: Vec<&str> = cycle.iter().chain([&first]).map(|&place| name(place)).collect();
        let field = if self.base[first] == Some(second) {
            "base".to_owned()
        } else {
            let at = self.after[first].iter().position(|&other| other == second);
            format!("after/{}", at.unwrap_or(0))
        };
        let detail = if cycle.len() == 1 {
            format!("`{}` waits for itself", name(first))
        } else {
            format!("these wait for each other in a circle: {}", names.join(" → "))
        };
        FieldProblem {
            pointer: format!("/experiments/{first}/{field}"),
            detail,
            given: Some(json!(name(second))),
            allowed: Some("an experiment that does not wait for this one".to_owned()),
            nearest: None,
        }
    }
}
