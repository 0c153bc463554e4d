//! Whether the parts of a spec fit each other and what it starts from.

use serde_json::json;

use super::base::Base;
use super::read::Table;
use super::task::TaskName;
use super::training::Objective;
use super::{ExperimentKind, ExperimentSpec};

impl ExperimentSpec {
    /// Whether a base is given where the kind of experiment needs one, and only there.
    pub(super) fn check_base(&self, table: &mut Table<'_>) {
        let kind = self.kind.as_str();
        let teacher = self.needs_teacher();
        match &self.base {
            None => {
                if table.is_wrong("base") {
                    return;
                }
                table.refuse("base_checkpoint", "there is no `base` to take it from");
                if self.kind.needs_base() {
                    let hint = self.preset_base().map_or(String::new(), |base| {
                        format!("; this preset is made for what `{base}` trains")
                    });
                    let detail = format!(
                        "`{kind}` starts from a trained network: `base` names its run or its checkpoint{hint}"
                    );
                    table.missing("base", detail);
                } else if teacher {
                    let detail = "to learn muscle activity, `base` names the run or checkpoint that shows it";
                    table.missing("base", detail.to_owned());
                }
            }
            Some(given) if self.kind == ExperimentKind::Train && !teacher => {
                let detail =
                    "training begins with initial values and has no base, unless it learns muscle activity";
                table.problem_with(
                    "base",
                    json!(given),
                    detail.to_owned(),
                    "leave it out, or another kind",
                );
            }
            Some(_) => {}
        }
    }

    /// Whether the network fits its base.
    pub(super) fn check_fit(&self, table: &mut Table<'_>, base: Option<&Base>) {
        match base {
            Some(base) if self.kind.needs_base() => table.add(self.network.misfits(&base.network)),
            Some(teacher) if self.needs_teacher() => self.check_teacher(table, teacher),
            Some(_) | None => {}
        }
        if self.kind == ExperimentKind::Transfer && self.network.regions().is_some() {
            let (pointer, given) = match base.and_then(|base| base.network.regions()) {
                Some(_) => ("base", json!(self.base)),
                None => ("network/regions", json!(self.network.regions())),
            };
            let detail = "new rule inputs are defined for networks of one region, not of several";
            table.problem_at(
                pointer,
                given,
                detail.to_owned(),
                "a network of one region, or a gru",
            );
        }
    }

    /// A teacher shows the muscle activity of tasks that it knows.
    fn check_teacher(&self, table: &mut Table<'_>, teacher: &Base) {
        let family = |tasks: &[TaskName]| tasks.first().map(|task| task.family());
        let learnt = self
            .training
            .as_ref()
            .and_then(|training| family(&training.tasks));
        let shown = teacher.tasks().and_then(family);
        if let (Some(learnt), Some(shown)) = (learnt, shown)
            && learnt != shown
        {
            let detail = format!("the base shows {}, not {}", shown.describe(), learnt.describe());
            table.problem_with(
                "base",
                json!(self.base),
                detail,
                "a run on the same family of tasks",
            );
        }
    }

    /// Input regions must take every number of an observation.
    pub(super) fn check_regions(&self, table: &mut Table<'_>) {
        let task = self.evaluated_tasks().first();
        let (Some(regions), Some(task)) = (self.network.regions(), task) else {
            return;
        };
        let (taken, observed) = (regions.observed(), task.family().observed());
        if taken != observed {
            let detail = format!(
                "the input regions take {taken} numbers, but an observation of {} has {observed}",
                task.family().describe()
            );
            let allowed = format!("units that sum to {observed}");
            table.problem_at("network/regions/inputs", json!(regions.inputs), detail, &allowed);
        }
    }

    /// Whether another network shows what is learnt.
    fn needs_teacher(&self) -> bool {
        self.kind == ExperimentKind::Train && self.objective() == Some(Objective::MuscleActivity)
    }
}
