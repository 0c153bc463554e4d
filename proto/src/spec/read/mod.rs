//! Reads a JSON object field by field and collects everything that is wrong with it.
//!
//! serde stops at the first error and words it for programmers. A scientist who submits a spec gets all
//! mistakes at once, each with its place, what was given, what is allowed and the nearest known name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::names::{describe, escape, one_of, unknown_name};
use crate::problem::FieldProblem;

mod problems;

/// A closed set of names, such as the kinds of activation.
pub trait Choice: Copy + 'static {
    /// Every value, in the order of explanations.
    const ALL: &'static [Self];

    /// The name in specs.
    fn name(self) -> &'static str;

    /// The value of that name.
    #[must_use]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.name() == name)
    }
}

/// One JSON object being read. Each reading method asks for one field; what nobody asked for is unknown.
pub struct Table<'a> {
    pointer: String,
    fields: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'a mut Vec<FieldProblem>,
}

impl Table<'_> {
    /// Reads a whole document with `body`, and reports the fields that `body` did not ask for.
    pub fn read<T>(
        document: &Value,
        problems: &mut Vec<FieldProblem>,
        body: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        Self::read_at(String::new(), Some(document), problems, body)
    }

    fn read_at<T>(
        pointer: String,
        document: Option<&Value>,
        problems: &mut Vec<FieldProblem>,
        body: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        let fields = match document {
            None => Map::new(),
            Some(Value::Object(fields)) => fields.clone(),
            Some(other) => {
                problems.push(FieldProblem {
                    pointer: pointer.clone(),
                    detail: format!("{} is not a table of fields", describe(other)),
                    given: Some(other.clone()),
                    allowed: Some("a table of fields (a JSON object)".to_owned()),
                    nearest: None,
                });
                Map::new()
            }
        };
        let mut table = Table {
            pointer,
            fields,
            known: Vec::new(),
            problems,
        };
        let value = body(&mut table);
        table.report_unknown_fields();
        value
    }

    /// A nested object; absent means all defaults.
    pub fn table<T>(&mut self, name: &'static str, body: impl FnOnce(&mut Table<'_>) -> T) -> T {
        let given = self.take(name);
        Table::read_at(self.pointer_to(name), given.as_ref(), self.problems, body)
    }

    /// A whole number that is not negative.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.within(name, range, default, "an integer", Value::as_u64)
    }

    /// A whole number.
    pub fn signed(&mut self, name: &'static str, range: RangeInclusive<i32>, default: i32) -> i32 {
        self.within(name, range, default, "an integer", |value| {
            value.as_i64()?.try_into().ok()
        })
    }

    /// A finite number.
    pub fn number(&mut self, name: &'static str, range: RangeInclusive<f64>, default: f64) -> f64 {
        self.within(name, range, default, "a number", Value::as_f64)
    }

    /// A finite number that may be absent.
    pub fn optional_number(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        if self.is_given(name) {
            Some(self.number(name, range.clone(), *range.start()))
        } else {
            self.know(name)
        }
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.take(name) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                let detail = format!("{} is neither true nor false", describe(&other));
                self.problem_with(name, other, detail, "true or false");
                default
            }
        }
    }

    /// A value of a kind of its own; `convert` answers `None` for what is not `allowed`.
    pub fn json<T>(
        &mut self,
        name: &'static str,
        default: T,
        allowed: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> T {
        let Some(given) = self.take(name) else {
            return default;
        };
        convert(&given).unwrap_or_else(|| {
            let detail = format!("{} is not {allowed}", describe(&given));
            self.problem_with(name, given, detail, allowed);
            default
        })
    }

    /// A list of different whole numbers; absent means `None`.
    pub fn numbers(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        range: &RangeInclusive<u32>,
    ) -> Option<Vec<u32>> {
        if !self.is_given(name) {
            return self.know(name);
        }
        let mut numbers = Vec::new();
        for (pointer, item) in self.list(name, &count, "integers") {
            let number = item.as_u64().and_then(|number| u32::try_from(number).ok());
            match number.filter(|number| range.contains(number)) {
                Some(number) if numbers.contains(&number) => {
                    let detail = format!("{number} stands in the list twice");
                    self.problem(pointer, detail, item, "each number once");
                }
                Some(number) => numbers.push(number),
                None => {
                    let allowed = format!("an integer from {} to {}", range.start(), range.end());
                    self.problem(
                        pointer,
                        format!("{} is not {allowed}", describe(&item)),
                        item,
                        &allowed,
                    );
                }
            }
        }
        Some(numbers)
    }

    /// A list of tables, each read with `body`, which is told its place; absent means empty.
    pub fn tables<T>(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        mut body: impl FnMut(&mut Table<'_>, usize) -> T,
    ) -> Vec<T> {
        let items = self.list(name, &count, "tables");
        items
            .into_iter()
            .enumerate()
            .map(|(i, (pointer, item))| Table::read_at(pointer, Some(&item), self.problems, |t| body(t, i)))
            .collect()
    }

    /// A nested object that may be absent.
    pub fn optional_table<T>(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&mut Table<'_>) -> T,
    ) -> Option<T> {
        if self.is_given(name) {
            Some(self.table(name, body))
        } else {
            self.know(name)
        }
    }

    /// Takes fields without looking at them.
    pub fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.take(name);
        }
    }

    /// Takes all fields that were not read yet, whatever their names.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.fields)
    }

    /// What was given for the field, without reading it.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Whether the field was given, without reading it.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A text whose length in characters lies in `length`.
    pub fn text(&mut self, name: &'static str, length: RangeInclusive<usize>, default: &str) -> String {
        self.optional_text(name, length)
            .unwrap_or_else(|| default.to_owned())
    }

    /// A name of a thing: letters, digits, `-`, `_` and `.`.
    pub fn word(&mut self, name: &'static str, length: RangeInclusive<usize>, default: &str) -> String {
        let word = self.text(name, length.clone(), default);
        let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !word.chars().all(sound) {
            let allowed = format!(
                "{} to {} letters, digits, `-`, `_` and `.`",
                length.start(),
                length.end()
            );
            let pointer = self.pointer_to(name);
            self.problem(
                pointer,
                format!("`{word}` is not a name of {allowed}"),
                Value::String(word.clone()),
                &allowed,
            );
        }
        word
    }

    /// A text that may be absent.
    pub fn optional_text(&mut self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let given = self.take(name)?;
        let pointer = self.pointer_to(name);
        self.text_at(pointer, given, &length)
    }

    /// A whole number that may be absent.
    pub fn optional_integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        if self.is_given(name) {
            Some(self.integer(name, range.clone(), *range.start()))
        } else {
            self.know(name)
        }
    }

    /// A list of texts; absent means empty.
    pub fn texts(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        length: RangeInclusive<usize>,
    ) -> Vec<String> {
        let items = self.list(name, &count, "texts");
        items
            .into_iter()
            .filter_map(|(pointer, item)| self.text_at(pointer, item, &length))
            .collect()
    }

    /// One of a closed set of names.
    pub fn choice<T: Choice>(&mut self, name: &'static str, default: T) -> T {
        let Some(given) = self.take(name) else {
            return default;
        };
        let pointer = self.pointer_to(name);
        self.choice_at(pointer, name, given).unwrap_or(default)
    }

    /// A list of `least` or more different names from a closed set; absent means `default`.
    pub fn choices<T: Choice + PartialEq>(
        &mut self,
        name: &'static str,
        what: &str,
        least: usize,
        default: &[T],
    ) -> Vec<T> {
        if !self.is_given(name) {
            self.known.push(name);
            return default.to_vec();
        }
        let mut chosen: Vec<T> = Vec::new();
        for (pointer, item) in self.list(name, &(least..=T::ALL.len()), "names") {
            let Some(choice) = self.choice_at::<T>(pointer.clone(), what, item.clone()) else {
                continue;
            };
            if chosen.contains(&choice) {
                self.problem(
                    pointer,
                    format!("`{}` stands in the list twice", choice.name()),
                    item,
                    "each name once",
                );
            } else {
                chosen.push(choice);
            }
        }
        chosen
    }

    /// Free names with texts; absent means none.
    pub fn labels(&mut self, name: &'static str, most: usize) -> BTreeMap<String, String> {
        let Some(given) = self.take(name) else {
            return BTreeMap::new();
        };
        let pointer = self.pointer_to(name);
        let allowed = format!("a table of at most {most} texts");
        match given {
            Value::Object(fields) if fields.len() <= most => fields
                .into_iter()
                .filter_map(|(key, value)| {
                    let text = self.text_at(format!("{pointer}/{}", escape(&key)), value, &(0..=200))?;
                    Some((key, text))
                })
                .collect(),
            other => {
                self.problem(
                    pointer,
                    format!("{} is not {allowed}", describe(&other)),
                    other,
                    &allowed,
                );
                BTreeMap::new()
            }
        }
    }

    fn within<T: PartialOrd + Display + Copy>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
        noun: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> T {
        let Some(given) = self.take(name) else {
            return default;
        };
        let value = convert(&given);
        if let Some(value) = value.filter(|value| range.contains(value)) {
            return value;
        }
        let allowed = format!("{noun} from {} to {}", range.start(), range.end());
        let detail = match value {
            Some(value) => format!("{value} is out of range"),
            None => format!("{} is not {allowed}", describe(&given)),
        };
        let pointer = self.pointer_to(name);
        self.problem(pointer, detail, given, &allowed);
        default
    }

    fn list(
        &mut self,
        name: &'static str,
        count: &RangeInclusive<usize>,
        what: &str,
    ) -> Vec<(String, Value)> {
        let Some(given) = self.take(name) else {
            return Vec::new();
        };
        let pointer = self.pointer_to(name);
        match given {
            Value::Array(items) if count.contains(&items.len()) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| (format!("{pointer}/{i}"), item))
                .collect(),
            other => {
                let allowed = format!("a list of {} to {} {what}", count.start(), count.end());
                self.problem(
                    pointer,
                    format!("{} is not {allowed}", describe(&other)),
                    other,
                    &allowed,
                );
                Vec::new()
            }
        }
    }

    fn text_at(&mut self, pointer: String, given: Value, length: &RangeInclusive<usize>) -> Option<String> {
        match given {
            Value::String(text)
                if length.contains(&text.chars().count()) && !text.chars().any(char::is_control) =>
            {
                Some(text)
            }
            other => {
                let allowed = format!(
                    "a text of {} to {} characters without control characters",
                    length.start(),
                    length.end()
                );
                self.problem(
                    pointer,
                    format!("{} is not {allowed}", describe(&other)),
                    other,
                    &allowed,
                );
                None
            }
        }
    }

    fn choice_at<T: Choice>(&mut self, pointer: String, what: &str, given: Value) -> Option<T> {
        let names = || T::ALL.iter().map(|choice| choice.name());
        match given.as_str() {
            Some(text) => {
                let choice = T::from_name(text);
                if choice.is_none() {
                    self.problems.push(unknown_name(&pointer, what, text, names()));
                }
                choice
            }
            None => {
                let allowed = one_of(names());
                self.problem(
                    pointer,
                    format!("{} is not the name of a {what}", describe(&given)),
                    given,
                    &allowed,
                );
                None
            }
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.fields.remove(name)
    }

    fn know<T>(&mut self, name: &'static str) -> Option<T> {
        self.known.push(name);
        None
    }

    fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escape(name))
    }
}
