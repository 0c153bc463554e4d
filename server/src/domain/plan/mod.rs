//! What runs a study comes to, and everything that is wrong with it.
//!
//! - An experiment with `seeds` makes a run for each; one with a sweep makes them for each of its points.
//! - `base = "ID"` of a sibling: without seeds of its own, an experiment has those of its base. With the same seeds
//!   they pair, seed by seed. A base with one seed can be the base of any. Other seeds are refused.
//! - A base with a sweep: the dependant is made for each of its points, and has no sweep of its own.
//! - `after = ["ID"]`: every run waits for every run of that experiment.
//!
//! [`graph`] puts the experiments into an order and names cycles; [`axes`] says which seeds and points there are;
//! this file resolves every spec against that of its base.

pub mod axes;
pub mod graph;

use std::collections::{BTreeMap, HashSet};

use motif_proto::problem::FieldProblem;
use motif_proto::run::{BaseCheckpoint, CheckpointKind};
use motif_proto::spec::base::{Base, BaseRequest};
use motif_proto::spec::study::StudyDocument;
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use serde_json::{Value, json};

use axes::Axes;

/// Most runs of a study.
pub const MAX_RUNS: usize = 5_000;
/// Most edges between its runs.
pub const MAX_EDGES: usize = 50_000;
/// Problems after which no more are looked for.
const MAX_PROBLEMS: usize = 500;

/// A checkpoint outside of the study, and the spec of the run that made it.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The checkpoint.
    pub checkpoint: BaseCheckpoint,
    /// What its run was asked to do.
    pub spec: ExperimentSpec,
}

/// What was found outside of the study for the experiments that start there, by their places.
pub type Found = BTreeMap<usize, Result<Outside, FieldProblem>>;

/// A study that can be stored.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was written.
    pub study: StudyDocument,
    /// Its runs, in an order in which everything comes after what it waits for.
    pub runs: Vec<PlannedRun>,
    /// The rungs of the experiments with successive halving, by their places.
    pub rungs: BTreeMap<usize, Vec<u64>>,
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// Place of its experiment in the study.
    pub entry: usize,
    /// Which point of the sweep.
    pub point: Option<u32>,
    /// What the sweep set there.
    pub parameters: BTreeMap<String, Value>,
    /// What is to be done; `base` is still as it was written.
    pub spec: ExperimentSpec,
    /// What it starts from.
    pub start: Start,
    /// The runs, by their places, that it comes after.
    pub after: Vec<usize>,
}

/// What a run starts from.
#[derive(Clone, Debug)]
pub enum Start {
    /// Initial values.
    Afresh,
    /// A checkpoint that is there.
    Outside(BaseCheckpoint),
    /// A checkpoint that an earlier run of the study will leave.
    Sibling {
        /// That run's place.
        run: usize,
        /// Which of its checkpoints.
        kind: CheckpointKind,
    },
}

/// Plans a study.
///
/// # Errors
/// Everything that is wrong with it.
pub fn plan(document: &Value, found: &Found) -> Result<Plan, Vec<FieldProblem>> {
    let (study, problems) = StudyDocument::read(document);
    let mut problems = Problems::new(problems);
    let graph = graph::Graph::of(&study, &mut problems);
    let axes = axes::of(&study, &graph, &mut problems);
    let counts = axes.iter().map(|axes| axes.points.len() * axes.seeds.len());
    let total = counts.clone().fold(0, usize::saturating_add);
    if total > MAX_RUNS {
        problems.add(FieldProblem {
            pointer: "/experiments".to_owned(),
            detail: format!("the experiments make {total} runs"),
            given: Some(json!(total)),
            allowed: Some(format!("at most {MAX_RUNS} runs")),
            nearest: None,
        });
    }
    let edges = graph.count_edges(&axes);
    if edges > MAX_EDGES {
        problems.add(FieldProblem {
            pointer: "/experiments".to_owned(),
            detail: format!("the runs would wait for each other in {edges} pairs"),
            given: Some(json!(edges)),
            allowed: Some(format!(
                "at most {MAX_EDGES} pairs; every run waits for every run that it comes `after`"
            )),
            nearest: None,
        });
    }
    let planner = Planner {
        document,
        study: &study,
        graph: &graph,
        axes: &axes,
        found,
        // Where there are too many, one of each is enough to find mistakes.
        all: total <= MAX_RUNS && edges <= MAX_EDGES,
    };
    let (runs, rungs) = planner.resolve(&mut problems);
    let problems = problems.into_list();
    if problems.is_empty() {
        Ok(Plan { study, runs, rungs })
    } else {
        Err(problems)
    }
}

/// The problem of a continued run whose base has all its batches already.
#[must_use]
pub fn nothing_left(spec: &ExperimentSpec, trained: u64) -> Option<FieldProblem> {
    let batches = spec.training.as_ref()?.batches;
    (spec.kind == ExperimentKind::Continue && batches <= trained).then(|| FieldProblem {
        pointer: "/training/batches".to_owned(),
        detail: format!(
            "nothing is left to train: the base has {trained} batches, and {batches} is the total asked for"
        ),
        given: Some(json!(batches)),
        allowed: Some(format!("more than {trained}")),
        nearest: None,
    })
}

/// Problems, each once, and not without end.
#[derive(Debug)]
pub struct Problems {
    list: Vec<FieldProblem>,
    known: HashSet<(String, String)>,
}

impl Problems {
    fn new(list: Vec<FieldProblem>) -> Self {
        let mut problems = Self {
            list: Vec::new(),
            known: HashSet::new(),
        };
        list.into_iter().for_each(|problem| problems.add(problem));
        problems
    }

    /// Adds one, unless it is known.
    pub fn add(&mut self, problem: FieldProblem) {
        let key = (problem.pointer.clone(), problem.detail.clone());
        if self.list.len() < MAX_PROBLEMS && self.known.insert(key) {
            self.list.push(problem);
        }
    }

    fn into_list(self) -> Vec<FieldProblem> {
        self.list
    }
}

/// A problem with a field of an experiment.
fn problem_of(entry: usize, field: &str, given: Value, detail: String, allowed: &str) -> FieldProblem {
    FieldProblem {
        pointer: format!("/experiments/{entry}/{field}"),
        detail,
        given: Some(given),
        allowed: Some(allowed.to_owned()),
        nearest: None,
    }
}

/// The runs of an experiment, as far as they are resolved.
#[derive(Default)]
struct Resolved {
    /// Place of its first run.
    first: usize,
    /// The spec of each point, with the first seed.
    specs: Vec<Option<ExperimentSpec>>,
}

struct Planner<'a> {
    document: &'a Value,
    study: &'a StudyDocument,
    graph: &'a graph::Graph,
    axes: &'a [Axes],
    found: &'a Found,
    all: bool,
}

impl Planner<'_> {
    fn resolve(&self, problems: &mut Problems) -> (Vec<PlannedRun>, BTreeMap<usize, Vec<u64>>) {
        let mut runs: Vec<PlannedRun> = Vec::new();
        let mut rungs = BTreeMap::new();
        let mut resolved: Vec<Resolved> = self
            .study
            .experiments
            .iter()
            .map(|_| Resolved::default())
            .collect();
        for &entry in &self.graph.order {
            let specs = self.specs_of(entry, &resolved, problems);
            self.check_rungs(entry, &specs, &resolved, &mut rungs, problems);
            let first = runs.len();
            if self.all {
                self.add_runs(entry, &specs, &resolved, &mut runs);
            }
            resolved[entry] = Resolved { first, specs };
        }
        (runs, rungs)
    }

    /// The spec of each point, and what is wrong with them.
    fn specs_of(
        &self,
        entry: usize,
        resolved: &[Resolved],
        problems: &mut Problems,
    ) -> Vec<Option<ExperimentSpec>> {
        let (experiment, axes) = (&self.study.experiments[entry], &self.axes[entry]);
        let base = self.graph.base[entry];
        if let Some(Err(problem)) = self.found.get(&entry) {
            problems.add(FieldProblem {
                pointer: format!("/experiments/{entry}{}", problem.pointer),
                ..problem.clone()
            });
        }
        let points = if self.all { axes.points.len() } else { 1 };
        let mut specs = Vec::with_capacity(points);
        for (place, point) in axes.points.iter().take(points).enumerate() {
            let values: Vec<(&str, Value)> = match &experiment.sweep {
                Some(sweep) => sweep.point(point.number.unwrap_or(0).into()),
                None => Vec::new(),
            };
            let mut document = experiment.at(&values);
            let sibling = base.and_then(|base| {
                let place = self.place_in(base, place);
                resolved[base].specs.get(place)?.as_ref()
            });
            if !experiment.has_own_seed()
                && let Some(seed) = axes.seeds.first().copied().or(sibling.map(|spec| spec.seed))
            {
                document["seed"] = json!(seed);
            }
            let spec_of_base = match self.found.get(&entry) {
                Some(Ok(outside)) => Some(&outside.spec),
                _ => sibling,
            };
            let network = spec_of_base.and_then(Base::of);
            if let (Some(base), Some(spec), None) = (base, spec_of_base, &network) {
                let id = &self.study.experiments[base].id;
                let detail = format!(
                    "`{id}` is an `{}`: it trains nothing to start from",
                    spec.kind.as_str()
                );
                problems.add(problem_of(
                    entry,
                    "base",
                    json!(id),
                    detail,
                    "an experiment that trains",
                ));
            }
            let trained = match (self.found.get(&entry), sibling) {
                (Some(Ok(outside)), _) => Some(outside.checkpoint.next_batch),
                (_, Some(sibling)) => last_batch(&document, sibling),
                _ => None,
            };
            let spec = match ExperimentSpec::resolve(&document, network.as_ref()) {
                Ok(spec) => match trained.and_then(|trained| nothing_left(&spec, trained)) {
                    None => Some(spec),
                    Some(problem) => {
                        problems.add(self.placed(entry, problem));
                        None
                    }
                },
                Err(wrong) => {
                    for problem in wrong {
                        problems.add(self.placed(entry, problem));
                    }
                    None
                }
            };
            specs.push(spec);
        }
        specs
    }

    /// The point of a base that belongs to a point of its dependant.
    fn place_in(&self, base: usize, place: usize) -> usize {
        if self.axes[base].points[0].number.is_some() {
            place
        } else {
            0
        }
    }

    /// The problem with its place in the document: the parameter of the sweep, the defaults or the experiment.
    fn placed(&self, entry: usize, problem: FieldProblem) -> FieldProblem {
        let parameters = format!("/experiments/{entry}/sweep/parameters");
        let swept = [
            format!(
                "{parameters}/{}",
                problem.pointer.trim_start_matches('/').replace('/', ".")
            ),
            format!("{parameters}{}", problem.pointer),
        ];
        let swept = swept
            .into_iter()
            .find(|place| self.document.pointer(place).is_some());
        let pointer = match swept {
            Some(place) if !problem.pointer.is_empty() => place,
            _ => self.study.place_of(entry, &problem.pointer),
        };
        FieldProblem { pointer, ..problem }
    }

    /// Successive halving needs a training with a rung before its end, and after the base's batches.
    fn check_rungs(
        &self,
        entry: usize,
        specs: &[Option<ExperimentSpec>],
        resolved: &[Resolved],
        rungs: &mut BTreeMap<usize, Vec<u64>>,
        problems: &mut Problems,
    ) {
        let sweep = self.study.experiments[entry].sweep.as_ref();
        let Some(halving) = sweep.and_then(|sweep| sweep.halving.as_ref()) else {
            return;
        };
        let mut batches = specs
            .iter()
            .flatten()
            .map(|spec| spec.training.as_ref().map_or(0, |training| training.batches));
        let Some(total) = batches.next() else {
            return;
        };
        if batches.any(|other| other != total) {
            let detail = "points that train for different numbers of batches cannot be halved".to_owned();
            let allowed = "the same `training.batches` at every point";
            problems.add(problem_of(entry, "sweep", json!("asha"), detail, allowed));
        }
        let continues = specs
            .iter()
            .flatten()
            .any(|spec| spec.kind == ExperimentKind::Continue);
        let begun = match (self.found.get(&entry), self.graph.base[entry]) {
            (Some(Ok(outside)), _) if continues => outside.checkpoint.next_batch,
            (_, Some(base)) if continues => {
                let specs = resolved[base].specs.iter().flatten();
                let batches = specs
                    .filter_map(|spec| spec.training.as_ref())
                    .map(|training| training.batches);
                batches.max().unwrap_or(0)
            }
            _ => 0,
        };
        let list = halving.rungs(total);
        if list.is_empty() || halving.first_rung <= begun {
            let given = json!(halving.first_rung);
            let detail =
                format!("the training goes from batch {begun} to {total}, so no point could be compared");
            let allowed = format!("an integer from {} to {}", begun + 1, total.saturating_sub(1));
            problems.add(problem_of(entry, "sweep/first_rung", given, detail, &allowed));
        }
        rungs.insert(entry, list);
    }

    fn add_runs(
        &self,
        entry: usize,
        specs: &[Option<ExperimentSpec>],
        resolved: &[Resolved],
        runs: &mut Vec<PlannedRun>,
    ) {
        let axes = &self.axes[entry];
        let after = self.after(entry, resolved);
        for (place, point) in axes.points.iter().enumerate() {
            // What was refused is not stored.
            let Some(spec) = specs.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let seeds = if axes.seeds.is_empty() {
                vec![spec.seed]
            } else {
                axes.seeds.clone()
            };
            for (i, seed) in seeds.into_iter().enumerate() {
                let kind = || spec.base_checkpoint.unwrap_or(spec.kind.default_checkpoint());
                let start = match (self.graph.base[entry], self.found.get(&entry)) {
                    (Some(base), _) => {
                        let place = self.place_in(base, place);
                        let run =
                            resolved[base].first + place * self.axes[base].count_seeds() + axes.pairs[i];
                        Start::Sibling { run, kind: kind() }
                    }
                    (None, Some(Ok(outside))) => Start::Outside(outside.checkpoint.clone()),
                    (None, _) => Start::Afresh,
                };
                let mut after = after.clone();
                if let Start::Sibling { run, .. } = &start {
                    after.retain(|other| other != run);
                }
                runs.push(PlannedRun {
                    entry,
                    point: point.number,
                    parameters: point.parameters.clone(),
                    spec: ExperimentSpec { seed, ..spec.clone() },
                    start,
                    after,
                });
            }
        }
    }

    /// The runs that every run of the experiment comes after.
    fn after(&self, entry: usize, resolved: &[Resolved]) -> Vec<usize> {
        let siblings = self.graph.after[entry].iter();
        siblings
            .flat_map(|&sibling| {
                let first = resolved[sibling].first;
                let axes = &self.axes[sibling];
                first..first + axes.points.len() * axes.count_seeds()
            })
            .collect()
    }
}

/// The batch with which a sibling's checkpoint ends, where it is known before it is there.
fn last_batch(document: &Value, sibling: &ExperimentSpec) -> Option<u64> {
    let request = BaseRequest::of(document)?;
    (request.checkpoint == CheckpointKind::Last).then(|| sibling.training.as_ref().map(|t| t.batches))?
}
