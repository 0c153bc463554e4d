//! Reference tensors of the original program, cut down to a few trials and steps (`golden/README.md`).
//!
//! `MOTIF_GOLDEN_DIR` names another folder to compare with, `MOTIF_GOLDEN_ONLY` files of it.

use std::path::{Path, PathBuf};

use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::Engine;
use motif_motor::golden;

/// Files that the fused engine has a part in.
fn is_of_fused_engine(name: &str) -> bool {
    let families = ["arm_", "rnn_", "transfer_rules", "train_steps", "eval_table"];
    families.iter().any(|family| name.starts_with(family)) && !name.starts_with("rnn_noise")
}

fn compare_all(precision: Precision, engine: Engine) {
    set_intra_op_threads(1);
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let dir = std::env::var_os("MOTIF_GOLDEN_DIR").map_or_else(own, PathBuf::from);
    let only: Option<Vec<String>> = std::env::var("MOTIF_GOLDEN_ONLY")
        .ok()
        .map(|names| names.split(',').map(str::to_owned).collect());
    let only = match engine {
        Engine::Reference => only,
        Engine::Fused => Some(
            only.unwrap_or_else(|| names(&dir))
                .into_iter()
                .filter(|name| is_of_fused_engine(name))
                .collect(),
        ),
    };
    let print = |line: &golden::Line| {
        let verdict = if line.passed { "ok" } else { "FAILED" };
        let number =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1e}"));
        println!(
            "{:16} {precision} {:18} {:9} {:7} {verdict:6} {}",
            line.file,
            line.kind,
            number(line.worst),
            number(line.limit),
            line.detail
        );
    };
    let mut on_line = print;
    let report = golden::run(
        &dir,
        only.as_deref(),
        Numerics::cpu(precision),
        engine,
        &mut on_line,
    )
    .expect("the folder can be listed");
    assert!(report.passed());
}

#[test]
fn double_precision_agrees_with_the_reference() {
    compare_all(Precision::F64, Engine::Reference);
}

#[test]
fn single_precision_agrees_within_what_it_carries() {
    compare_all(Precision::F32, Engine::Reference);
}

#[test]
fn the_fused_engine_agrees_in_both_precisions() {
    compare_all(Precision::F64, Engine::Fused);
    compare_all(Precision::F32, Engine::Fused);
}

/// Names of the files of a folder.
fn names(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).expect("the folder can be listed");
    let paths = files.map(|entry| entry.expect("an entry").path());
    let of_tensors = paths.filter(|path| path.extension().is_some_and(|end| end == "safetensors"));
    of_tensors
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect()
}
