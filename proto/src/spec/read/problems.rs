//! What is wrong with a table, recorded with its place.

use serde_json::Value;

use super::super::names::{nearest, one_of, unknown_name};
use super::Table;
use crate::problem::FieldProblem;

impl Table<'_> {
    /// Records a problem with a field that was read.
    pub fn problem_with(&mut self, name: &str, given: Value, detail: String, allowed: &str) {
        let pointer = self.pointer_to(name);
        self.problem(pointer, detail, given, allowed);
    }

    /// Records a problem whose pointer starts at this table.
    pub fn problem_at(&mut self, path: &str, given: Value, detail: String, allowed: &str) {
        let pointer = format!("{}/{path}", self.pointer);
        self.problem(pointer, detail, given, allowed);
    }

    /// Records that a field names something that is not there.
    pub fn unknown<'n>(
        &mut self,
        name: &str,
        what: &str,
        given: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let pointer = self.pointer_to(name);
        self.problems.push(unknown_name(&pointer, what, given, known));
    }

    /// Records a problem at a place.
    pub(super) fn problem(&mut self, pointer: String, detail: String, given: Value, allowed: &str) {
        let allowed = Some(allowed.to_owned());
        self.problems.push(FieldProblem {
            pointer,
            detail,
            given: Some(given),
            allowed,
            nearest: None,
        });
    }

    /// Records that a field must be given.
    pub fn missing(&mut self, name: &'static str, detail: String) {
        self.known.push(name);
        self.problems.push(FieldProblem {
            pointer: self.pointer_to(name),
            detail,
            given: None,
            allowed: None,
            nearest: None,
        });
    }

    /// Records problems that were found elsewhere.
    pub fn add(&mut self, problems: Vec<FieldProblem>) {
        self.problems.extend(problems);
    }

    /// Whether a problem with the field was recorded.
    #[must_use]
    pub fn is_wrong(&self, name: &str) -> bool {
        let pointer = self.pointer_to(name);
        self.problems.iter().any(|problem| problem.pointer == pointer)
    }

    /// Whether a problem with the field or something in it was recorded.
    #[must_use]
    pub fn is_wrong_below(&self, name: &str) -> bool {
        let pointer = self.pointer_to(name);
        let inside = format!("{pointer}/");
        let mut problems = self.problems.iter();
        problems.any(|problem| problem.pointer == pointer || problem.pointer.starts_with(&inside))
    }

    /// Refuses a field that has no place here, and says why.
    pub fn refuse(&mut self, name: &'static str, detail: impl Into<String>) {
        if let Some(given) = self.take(name) {
            self.problem_with(name, given, detail.into(), "leave it out");
        }
    }

    /// Reports what nobody asked for.
    pub(super) fn report_unknown_fields(&mut self) {
        let unknown = std::mem::take(&mut self.fields);
        for (name, value) in unknown {
            let nearest = nearest(&name, self.known.iter().copied());
            let detail = match &nearest {
                Some(nearest) => format!("`{name}` is not a known field; did you mean `{nearest}`?"),
                None => format!("`{name}` is not a known field"),
            };
            let allowed = Some(one_of(self.known.iter().copied()));
            let pointer = self.pointer_to(&name);
            self.problems.push(FieldProblem {
                pointer,
                detail,
                given: Some(value),
                allowed,
                nearest,
            });
        }
    }
}
