//! The paths that the hand is to follow.
//!
//! A path is drawn along +x, 0.25 m long, then turned into its direction and moved to where the hand starts.

use std::f64::consts::{PI, TAU};

use super::{Backward, Forward, Pair, Task};
use crate::arm::start_fingertip_m;

/// x and y in metres.
pub type Point = [f64; 2];

/// Distance from the start to the far point, metres.
pub const EXTENT_M: f64 = 0.25;

/// The path of a task along +x from the origin, in `steps` points (M).
///
/// Half reaches are lines, sinusoids one period around the line, half circles end at the far point; full tasks
/// come back. There-and-back paths, the composed ones among them, are two pieces of M/2 points that both contain
/// the far point; full circles are one piece.
pub(super) fn along_x(task: Task, steps: usize) -> Vec<Point> {
    let half = steps / 2;
    let there_and_back = |there, back| [forward(there, half), backward(back, half)].concat();
    match task {
        Task::DlyHalfReach => forward(Forward::HalfReach, steps),
        Task::DlyHalfCircleClk => forward(Forward::HalfCircleClk, steps),
        Task::DlyHalfCircleCClk => forward(Forward::HalfCircleCClk, steps),
        Task::DlySinusoid => forward(Forward::Sinusoid, steps),
        Task::DlySinusoidInv => forward(Forward::SinusoidInv, steps),
        Task::DlyFullReach => there_and_back(Forward::HalfReach, Backward::FullReach),
        Task::DlyFullCircleClk => linspace(PI, -PI, steps).map(circle).collect(),
        Task::DlyFullCircleCClk => linspace(PI, 3.0 * PI, steps).map(circle).collect(),
        Task::DlyFigure8 => there_and_back(Forward::Sinusoid, Backward::Figure8),
        Task::DlyFigure8Inv => there_and_back(Forward::SinusoidInv, Backward::Figure8Inv),
        Task::Composed(pair) => there_and_back(pair.forward(), pair.backward()),
    }
}

/// The way there, in `steps` points.
fn forward(motif: Forward, steps: usize) -> Vec<Point> {
    match motif {
        Forward::HalfReach => linspace(0.0, 1.0, steps).map(|s| sinusoid(s, 0.0)).collect(),
        Forward::HalfCircleClk => linspace(PI, 0.0, steps).map(circle).collect(),
        Forward::HalfCircleCClk => linspace(PI, TAU, steps).map(circle).collect(),
        Forward::Sinusoid => linspace(0.0, 1.0, steps).map(|s| sinusoid(s, 1.0)).collect(),
        Forward::SinusoidInv => linspace(0.0, 1.0, steps).map(|s| sinusoid(s, -1.0)).collect(),
    }
}

/// The way back, in `steps` points.
fn backward(motif: Backward, steps: usize) -> Vec<Point> {
    match motif {
        Backward::FullReach => linspace(1.0, 0.0, steps).map(|s| sinusoid(s, 0.0)).collect(),
        Backward::FullCircleClk => linspace(0.0, -PI, steps).map(circle).collect(),
        Backward::FullCircleCClk => linspace(TAU, 3.0 * PI, steps).map(circle).collect(),
        Backward::Figure8 => linspace(1.0, 0.0, steps).map(|s| sinusoid(s, -1.0)).collect(),
        Backward::Figure8Inv => linspace(1.0, 0.0, steps).map(|s| sinusoid(s, 1.0)).collect(),
    }
}

/// The path of a pair whose way back goes another way than the one there, which then do not meet: each half turned
/// by its own angle (radians) about the hand's start.
pub(super) fn placed_apart(pair: Pair, steps: usize, there_rad: f64, back_rad: f64) -> Vec<Point> {
    let half = steps / 2;
    let there = place(&forward(pair.forward(), half), there_rad);
    let back = place(&backward(pair.backward(), half), back_rad);
    [there, back].concat()
}

/// Turns a path by `angle_rad` about its start and moves it to the hand's start.
pub(super) fn place(path: &[Point], angle_rad: f64) -> Vec<Point> {
    let (sin, cos) = angle_rad.sin_cos();
    let [x0, y0] = start_fingertip_m();
    path.iter()
        .map(|[x, y]| [x0 + cos * x - sin * y, y0 + sin * x + cos * y])
        .collect()
}

/// A point of the circle over the extent, at angle φ from its centre.
fn circle(phi: f64) -> Point {
    [EXTENT_M / 2.0 * (phi.cos() + 1.0), EXTENT_M / 2.0 * phi.sin()]
}

/// A point of the way there, s from 0 to 1; `side` is the sign of the first deflection, 0 for a line.
fn sinusoid(s: f64, side: f64) -> Point {
    [EXTENT_M * s, side * EXTENT_M / 2.0 * (TAU * s).sin()]
}

/// `count` numbers from `start` to `end`, both included.
fn linspace(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let intervals = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |i| start + (end - start) * (i as f64 / intervals))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tasks::Family;

    fn distance([ax, ay]: Point, [bx, by]: Point) -> f64 {
        (ax - bx).hypot(ay - by)
    }

    fn any_task() -> impl Strategy<Value = Task> {
        prop::sample::select([Family::Base, Family::Composed].map(Family::tasks).concat())
    }

    proptest! {
        #[test]
        fn a_path_starts_at_the_hand_and_ends_where_its_task_says(
            task in any_task(), half in 2_usize..150, turn in 0.0..TAU,
        ) {
            let path = place(&along_x(task, 2 * half), turn);
            prop_assert_eq!(path.len(), 2 * half);
            let start = start_fingertip_m();
            let far = [start[0] + EXTENT_M * turn.cos(), start[1] + EXTENT_M * turn.sin()];
            let end = if task.returns() { start } else { far };
            prop_assert!(distance(path[0], start) < 1e-12);
            prop_assert!(distance(path[2 * half - 1], end) < 1e-12);
        }

        #[test]
        fn turning_keeps_all_distances(task in any_task(), half in 2_usize..100, turn in 0.0..TAU) {
            let plain = along_x(task, 2 * half);
            let placed = place(&plain, turn);
            for i in 1..plain.len() {
                prop_assert!((distance(plain[0], plain[i]) - distance(placed[0], placed[i])).abs() < 1e-12);
            }
        }

        #[test]
        fn inverse_and_opposite_tasks_are_mirror_images(half in 2_usize..100) {
            let pairs = [
                (Task::DlyHalfCircleClk, Task::DlyHalfCircleCClk),
                (Task::DlySinusoid, Task::DlySinusoidInv),
                (Task::DlyFullCircleClk, Task::DlyFullCircleCClk),
                (Task::DlyFigure8, Task::DlyFigure8Inv),
            ];
            for (task, mirrored) in pairs {
                let paths = along_x(task, 2 * half).into_iter().zip(along_x(mirrored, 2 * half));
                for ([ax, ay], [bx, by]) in paths {
                    prop_assert!((ax - bx).abs() < 1e-12 && (ay + by).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn circles_keep_their_radius_and_clockwise_ones_start_upwards() {
        for task in [
            Task::DlyHalfCircleClk,
            Task::DlyFullCircleClk,
            Task::DlyHalfCircleCClk,
            Task::DlyFullCircleCClk,
        ] {
            let path = along_x(task, 100);
            for point in &path {
                assert!((distance(*point, [EXTENT_M / 2.0, 0.0]) - EXTENT_M / 2.0).abs() < 1e-12);
            }
            let clockwise = matches!(task, Task::DlyHalfCircleClk | Task::DlyFullCircleClk);
            assert_eq!(path[1][1] > 0.0, clockwise, "{task}");
        }
    }

    #[test]
    fn paths_there_and_back_hold_the_far_point_twice() {
        let two_pieces = [Task::DlyFullReach, Task::DlyFigure8, Task::DlyFigure8Inv];
        for task in two_pieces.into_iter().chain(Family::Composed.tasks()) {
            let path = along_x(task, 100);
            assert!(distance(path[49], [EXTENT_M, 0.0]) < 1e-12, "{task}");
            assert!(distance(path[50], [EXTENT_M, 0.0]) < 1e-12, "{task}");
        }
    }

    #[test]
    fn a_pair_is_the_two_halves_of_base_tasks() {
        // Samples of the base tasks' own halves; a full circle in one piece shares only its end with the way back.
        for task in Family::Composed.tasks() {
            let Task::Composed(pair) = task else {
                unreachable!("of the composed family")
            };
            let path = along_x(task, 100);
            let there = along_x(Task::BASE[pair.forward() as usize], 50);
            assert_eq!(path[..50], there, "{task}");
            let back = along_x(Task::BASE[5 + pair.backward() as usize], 100);
            match pair.backward() {
                Backward::FullCircleClk | Backward::FullCircleCClk => {
                    assert!(distance(path[99], back[99]) < 1e-12, "{task}");
                    assert!(path[60][1] * back[60][1] > 0.0, "{task}");
                }
                _ => assert_eq!(path[50..], back[50..], "{task}"),
            }
        }
    }
}
