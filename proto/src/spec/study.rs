//! A study: experiments that are submitted as one, and how they hang together.
//!
//! ```toml
//! name = "transfer"
//! [defaults.training]            # under every experiment, over its preset
//! batch_size = 32
//! [[experiments]]
//! id = "base"
//! preset = "train_rnn256_softplus"
//! seeds = 5                      # one run for each of the seeds 0 to 4
//! [[experiments]]
//! id = "held-out"
//! preset = "run_train_subsets_held_out_base_model"
//! base = "base"                  # its checkpoint, seed by seed
//! after = ["…"]                  # only to come later
//! [experiments.sweep]            # see `sweep`
//! ```
//!
//! This module reads what concerns the study; what the specs say is judged by whoever knows their bases.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::read::Table;
use super::sweep::SweepSpec;
use super::{DEFAULT_PROJECT, ExperimentKind, MAX_SEED, layers};
use crate::problem::FieldProblem;

/// Most experiments of a study, counted as they are written.
pub const MAX_EXPERIMENTS: usize = 500;
/// Most seeds of an experiment.
pub const MAX_SEEDS: u64 = 1_000;
/// Most experiments that one may come after.
const MAX_AFTER: usize = 100;

/// Whether a document is a study and not one experiment.
#[must_use]
pub fn is_study(document: &Value) -> bool {
    document.get("experiments").is_some()
}

/// A study as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyDocument {
    /// A name for people.
    pub name: String,
    /// The project that all of it belongs to.
    pub project: String,
    /// Words to find it by; its experiments have them too.
    pub tags: Vec<String>,
    /// What it is for.
    pub notes: Option<String>,
    /// What lies under every experiment, over its preset; `training` only under those that train.
    pub defaults: Map<String, Value>,
    /// Its experiments, in their order.
    pub experiments: Vec<Entry>,
}

/// An experiment of a study as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name within the study; empty where it has none that can be used.
    pub id: String,
    /// The experiment of the study, or the run or checkpoint outside, that it starts from.
    pub base: Option<String>,
    /// The experiments of the study that it comes after.
    pub after: Vec<String>,
    /// Its seeds, where it has several.
    pub seeds: Option<Vec<u64>>,
    /// How its values are searched.
    pub sweep: Option<SweepSpec>,
    /// Its spec as it was written.
    own: Map<String, Value>,
    /// Its spec with the study's defaults under it.
    pub spec: Value,
}

impl StudyDocument {
    /// Reads a study, and what is wrong with it as far as no experiment's spec is concerned. What cannot be read
    /// is left out, so that the rest can be judged too.
    #[must_use]
    pub fn read(document: &Value) -> (Self, Vec<FieldProblem>) {
        let mut problems = Vec::new();
        let study = Table::read(document, &mut problems, |table| {
            if !table.is_given("name") {
                table.missing("name", "a study has a name".to_owned());
            }
            let name = table.text("name", 1..=200, "study");
            let project = table.word("project", 1..=64, DEFAULT_PROJECT);
            let tags = table.texts("tags", 0..=32, 1..=64);
            let notes = table.optional_text("notes", 1..=2_000);
            let defaults = read_defaults(table);
            if !table.is_given("experiments") {
                table.missing("experiments", "a study is a list of experiments".to_owned());
            }
            let experiments = table.tables("experiments", 1..=MAX_EXPERIMENTS, |table, _| {
                Entry::read(table, &defaults, &project, &tags)
            });
            Self {
                name,
                project,
                tags,
                notes,
                defaults,
                experiments,
            }
        });
        problems.extend(study.repeated_ids());
        (study, problems)
    }

    /// Where in the document a problem of an experiment's spec lies: with the experiment, or with the defaults.
    #[must_use]
    pub fn place_of(&self, entry: usize, pointer: &str) -> String {
        let own = Value::Object(self.experiments[entry].own.clone());
        let below = Value::Object(self.defaults.clone());
        if own.pointer(pointer).is_none() && below.pointer(pointer).is_some() {
            return format!("/defaults{pointer}");
        }
        format!("/experiments/{entry}{pointer}")
    }

    fn repeated_ids(&self) -> Vec<FieldProblem> {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let mut problems = Vec::new();
        for (i, entry) in self.experiments.iter().enumerate() {
            if entry.id.is_empty() {
                continue;
            }
            if let Some(earlier) = first.get(entry.id.as_str()) {
                problems.push(FieldProblem {
                    pointer: format!("/experiments/{i}/id"),
                    detail: format!(
                        "`{}` is the id of experiment {earlier} already, counted from 0",
                        entry.id
                    ),
                    given: Some(json!(entry.id)),
                    allowed: Some("an id for each experiment".to_owned()),
                    nearest: None,
                });
            } else {
                first.insert(&entry.id, i);
            }
        }
        problems
    }
}

impl Entry {
    fn read(
        table: &mut Table<'_>,
        defaults: &Map<String, Value>,
        project: &str,
        study_tags: &[String],
    ) -> Self {
        if !table.is_given("id") {
            table.missing("id", "an experiment of a study has an id".to_owned());
        }
        let id = table.word("id", 1..=64, "");
        let base = table.optional_text("base", 1..=500);
        let after = table.texts("after", 0..=MAX_AFTER, 1..=64);
        table.refuse(
            "project",
            "the whole study belongs to one project, which is given above",
        );
        let first_seed = table.peek("seed").and_then(Value::as_u64);
        let seeds = read_seeds(table, first_seed);
        let sweep = table.optional_table("sweep", SweepSpec::read);
        let own = table.rest();

        let mut spec = layers::lay_over(Value::Object(defaults.clone()), &Value::Object(own.clone()));
        if own.get("training").is_none() && trains_nothing(&spec) {
            // Defaults are for those whom they concern.
            spec.as_object_mut().map(|spec| spec.remove("training"));
        }
        spec["project"] = json!(project);
        if let Some(base) = &base {
            spec["base"] = json!(base);
        }
        if spec.get("name").is_none() && !id.is_empty() {
            spec["name"] = json!(id);
        }
        if let Some(seeds) = &seeds {
            spec["seed"] = json!(seeds[0]);
        }
        add_tags(&mut spec, study_tags);
        Self {
            id,
            base,
            after,
            seeds,
            sweep,
            own,
            spec,
        }
    }

    /// Whether its spec says which seed it has.
    #[must_use]
    pub fn has_own_seed(&self) -> bool {
        self.seeds.is_some() || self.spec.get("seed").is_some()
    }

    /// Its spec with the values of a point of its sweep.
    #[must_use]
    pub fn at(&self, point: &[(&str, Value)]) -> Value {
        let mut spec = self.spec.clone();
        for (field, value) in point {
            set(&mut spec, field, value.clone());
        }
        spec
    }
}

fn trains_nothing(spec: &Value) -> bool {
    let (over_preset, _) = layers::over_preset(spec);
    over_preset.get("kind").and_then(Value::as_str) == Some(ExperimentKind::Evaluate.as_str())
}

fn read_defaults(table: &mut Table<'_>) -> Map<String, Value> {
    let mut defaults = Map::new();
    table.table("defaults", |table| {
        for field in ["id", "base", "after", "seeds", "sweep"] {
            table.refuse(field, "each experiment says this for itself");
        }
        table.refuse("project", "the study's project is given above");
        defaults = table.rest();
    });
    defaults
}

fn read_seeds(table: &mut Table<'_>, first: Option<u64>) -> Option<Vec<u64>> {
    if !table.is_given("seeds") {
        table.ignore(&["seeds"]);
        return None;
    }
    let allowed = format!("how many, from 1 to {MAX_SEEDS}, or a list of so many different seeds");
    if table.is_given("seed") && table.peek("seeds").is_some_and(Value::is_array) {
        let given = table.peek("seeds").cloned().unwrap_or_default();
        let detail = "the seeds are listed, so `seed` has no say".to_owned();
        table.problem_with("seeds", given, detail, "`seed` or a list of `seeds`");
    }
    let seeds = table.json("seeds", Vec::new(), &allowed, |given| match given {
        Value::Array(seeds) => {
            let seeds: Vec<u64> = seeds.iter().map(Value::as_u64).collect::<Option<_>>()?;
            let different: BTreeSet<u64> = seeds.iter().copied().collect();
            let sound = different.len() == seeds.len() && seeds.iter().all(|&seed| seed <= MAX_SEED);
            (sound && (1..=MAX_SEEDS).contains(&(seeds.len() as u64))).then_some(seeds)
        }
        other => {
            let count = other.as_u64().filter(|count| (1..=MAX_SEEDS).contains(count))?;
            let first = first.unwrap_or(0);
            let last = first.checked_add(count - 1).filter(|&last| last <= MAX_SEED)?;
            Some((first..=last).collect())
        }
    });
    (!seeds.is_empty()).then_some(seeds)
}

/// Adds the study's tags to those of an experiment; what is no list stays for the spec's reader to refuse.
fn add_tags(spec: &mut Value, tags: &[String]) {
    if tags.is_empty() {
        return;
    }
    match spec.get_mut("tags") {
        None => spec["tags"] = json!(tags),
        Some(Value::Array(own)) => {
            let missing: Vec<Value> = tags
                .iter()
                .map(|tag| json!(tag))
                .filter(|tag| !own.contains(tag))
                .collect();
            own.extend(missing);
        }
        Some(_) => {}
    }
}

/// Sets a field such as `training.learning_rate`; what stands in the way of its tables is replaced.
fn set(document: &mut Value, field: &str, value: Value) {
    let mut place = document;
    for name in field.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_under_the_experiments_and_the_study_s_tags_beside_theirs() {
        let (study, problems) = StudyDocument::read(&json!({
            "name": "s", "tags": ["paper"], "project": "lab",
            "defaults": { "tags": ["a"], "training": { "batches": 10, "clip": 2.0 } },
            "experiments": [
                { "id": "one", "training": { "batches": 20 } },
                { "id": "two", "tags": ["b"], "seeds": 3, "seed": 7 },
                { "id": "look", "kind": "evaluate", "base": "one" },
            ],
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let specs: Vec<_> = study.experiments.iter().map(|entry| entry.spec.clone()).collect();
        assert_eq!(
            specs[0],
            json!({ "name": "one", "project": "lab", "tags": ["a", "paper"],
                    "training": { "batches": 20, "clip": 2.0 } })
        );
        assert_eq!(
            (&specs[1]["tags"], &specs[1]["seed"]),
            (&json!(["b", "paper"]), &json!(7))
        );
        assert_eq!(specs[2].get("training"), None, "an evaluation trains nothing");
        assert_eq!(study.experiments[1].seeds, Some(vec![7, 8, 9]));
        assert_eq!(study.place_of(0, "/training/clip"), "/defaults/training/clip");
        assert_eq!(
            study.place_of(0, "/training/batches"),
            "/experiments/0/training/batches"
        );
        assert_eq!(
            study.place_of(1, "/network/hidden"),
            "/experiments/1/network/hidden"
        );
    }

    #[test]
    fn every_mistake_of_a_study_is_named_with_its_place() {
        let (_, problems) = StudyDocument::read(&json!({
            "naem": "s",
            "defaults": { "seeds": 3 },
            "experiments": [
                { "id": "a", "seeds": [1, 1] },
                { "id": "a", "after": "a", "seeds": [1], "seed": 2 },
                { "id": "x y", "project": "lab", "seeds": 0 },
                7,
                { "sweep": { "method": "gird" } },
            ],
        }));
        let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/name",
                "/defaults/seeds",
                "/experiments/0/seeds",
                "/experiments/1/after",
                "/experiments/1/seeds",
                "/experiments/2/id",
                "/experiments/2/project",
                "/experiments/2/seeds",
                "/experiments/3",
                "/experiments/3/id",
                "/experiments/4/id",
                "/experiments/4/sweep/method",
                "/experiments/4/sweep/parameters",
                "/naem",
                "/experiments/1/id",
            ]
        );
        assert_eq!(problems[13].nearest.as_deref(), Some("name"));
    }
}
