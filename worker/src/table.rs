//! The result of an evaluation as files and as a table for people.
//!
//! `evaluation.json` has a summary of every condition (task, speed, delay) and every trial; `evaluation.csv` one line
//! for each trial.

use std::fmt::Write as _;

use motif_motor::evaluation::{ConditionScore, Evaluation};
use motif_proto::artifact::{EVALUATION_CSV, EVALUATION_JSON};
use serde_json::json;

/// A file's name and its bytes.
pub type NamedFile = (&'static str, Vec<u8>);

/// Both files.
#[must_use]
pub fn files(evaluation: &Evaluation) -> [NamedFile; 2] {
    [
        (EVALUATION_JSON, to_json(evaluation).into_bytes()),
        (EVALUATION_CSV, to_csv(evaluation).into_bytes()),
    ]
}

/// Mean over a condition's directions of the last distance from the goal, metres.
fn endpoint(condition: &ConditionScore) -> f64 {
    let sum: f64 = condition.directions.iter().map(|trial| trial.endpoint).sum();
    sum / condition.directions.len() as f64
}

fn to_json(evaluation: &Evaluation) -> String {
    let conditions: Vec<_> = evaluation
        .conditions
        .iter()
        .map(|condition| {
            json!({ "task": condition.task.name(), "speed": condition.speed, "delay": condition.delay_steps,
                    "movement": condition.movement_steps, "directions": condition.directions.len(),
                    "position": condition.position, "endpoint": endpoint(condition),
                    "trials": condition.directions })
        })
        .collect();
    let tasks: serde_json::Map<_, _> = evaluation
        .per_task
        .iter()
        .map(|(task, score)| (task.name().to_owned(), json!(score)))
        .collect();
    let document =
        json!({ "unit": "m", "total": evaluation.total, "tasks": tasks, "conditions": conditions });
    format!("{document:#}\n")
}

fn to_csv(evaluation: &Evaluation) -> String {
    let mut text = "task,speed,movement_steps,delay_steps,direction,position_m,endpoint_m\n".to_owned();
    for condition in &evaluation.conditions {
        for trial in &condition.directions {
            // Rust writes the shortest digits that read back exactly; task names hold no comma.
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{}",
                condition.task,
                condition.speed,
                condition.movement_steps,
                condition.delay_steps,
                trial.direction,
                trial.position,
                trial.endpoint
            );
        }
    }
    text
}

/// Position errors in millimetres: a line for each task and delay, a column for each speed.
#[must_use]
pub fn for_people(evaluation: &Evaluation) -> String {
    let drawn = evaluation
        .conditions
        .chunk_by(|one, next| one.task == next.task)
        .any(has_one_delay_per_speed);
    let mut speeds: Vec<usize> = evaluation
        .conditions
        .iter()
        .map(|condition| condition.speed)
        .collect();
    speeds.sort_unstable();
    speeds.dedup();
    let names = evaluation.per_task.iter().map(|(task, _)| task.name().len());
    let width = names.max().unwrap_or(0).max(4);
    let mut text =
        "position error, mm: |dx| + |dy|, mean over time and directions; by speed, fastest first\n\n"
            .to_owned();
    let _ = write!(text, "{:width$}  {:>6}", "task", "delay");
    for speed in &speeds {
        let _ = write!(text, " {speed:>6}");
    }
    let _ = writeln!(text, " {:>7} {:>9}", "mean", "endpoint");
    for of_task in evaluation.conditions.chunk_by(|one, next| one.task == next.task) {
        let mut delays: Vec<usize> = of_task.iter().map(|condition| condition.delay_steps).collect();
        delays.sort_unstable();
        delays.dedup();
        let lines = if drawn {
            vec![None]
        } else {
            delays.into_iter().map(Some).collect()
        };
        for delay in lines {
            let line: Vec<&ConditionScore> = of_task
                .iter()
                .filter(|condition| delay.is_none_or(|steps| steps == condition.delay_steps))
                .collect();
            let delay = delay.map_or_else(|| "drawn".to_owned(), |steps| steps.to_string());
            let _ = write!(text, "{:width$}  {delay:>6}", of_task[0].task.name());
            for condition in &line {
                let _ = write!(text, " {:>6.1}", 1e3 * condition.position);
            }
            let mean = |of: &dyn Fn(&ConditionScore) -> f64| {
                1e3 * line.iter().map(|condition| of(condition)).sum::<f64>() / line.len() as f64
            };
            let _ = writeln!(
                text,
                " {:>7.1} {:>9.1}",
                mean(&|condition| condition.position),
                mean(&endpoint)
            );
        }
    }
    let _ = writeln!(text, "\nall tasks: {:.1} mm", 1e3 * evaluation.total);
    text
}

/// Whether the delays differ between the speeds, as they do where they are drawn.
fn has_one_delay_per_speed(of_task: &[ConditionScore]) -> bool {
    let distinct = |mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    };
    let speeds = distinct(of_task.iter().map(|condition| condition.speed).collect());
    let delays = distinct(of_task.iter().map(|condition| condition.delay_steps).collect());
    delays > 1 && speeds == of_task.len()
}

#[cfg(test)]
mod tests {
    use motif_motor::evaluation::DirectionScore;
    use motif_motor::tasks::Task;

    use super::*;

    fn condition(task: Task, speed: usize, delay_steps: usize, position: f64) -> ConditionScore {
        let trial = |direction| DirectionScore {
            direction,
            position,
            endpoint: 0.25,
        };
        ConditionScore {
            task,
            speed,
            movement_steps: 50 + 10 * speed,
            delay_steps,
            position,
            directions: vec![trial(0), trial(8)],
        }
    }

    fn evaluation(delays: [usize; 2]) -> Evaluation {
        Evaluation {
            batch: 0,
            total: 0.1,
            per_task: vec![(Task::DlyHalfReach, 0.1)],
            conditions: vec![
                condition(Task::DlyHalfReach, 0, delays[0], 0.1),
                condition(Task::DlyHalfReach, 1, delays[1], 0.3),
            ],
            is_best: false,
        }
    }

    #[test]
    fn the_files_hold_every_condition_and_trial() {
        let [(_, json), (_, csv)] = files(&evaluation([25, 25]));
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["conditions"][1]["position"], 0.3);
        assert_eq!(json["conditions"][1]["trials"][1]["direction"], 8);
        assert_eq!(json["tasks"]["DlyHalfReach"], 0.1);
        let csv = String::from_utf8(csv).expect("text");
        assert_eq!(csv.lines().count(), 1 + 4);
        assert_eq!(csv.lines().nth(3), Some("DlyHalfReach,1,60,25,0,0.3,0.25"));
    }

    #[test]
    fn people_read_a_line_for_each_task_and_delay() {
        let fixed = for_people(&evaluation([25, 25]));
        let line = fixed
            .lines()
            .find(|line| line.starts_with("DlyHalfReach"))
            .expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["DlyHalfReach", "25", "100.0", "300.0", "200.0", "250.0"]);
        assert!(for_people(&evaluation([25, 75])).contains(" drawn "));
    }
}
