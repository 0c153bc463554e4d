//! The kernels, compiled for cards by CUDA's own compiler, which needs no card.
//!
//! `deploy/test` fetches the compiler and names its folder in `MOTIF_NVRTC`. Where nobody did, there is nothing to
//! compile with, and only the error for that is tried.

use motif_motor::device::Precision;
use motif_motor::engine::cuda::CardError;
use motif_motor::engine::cuda::compiler::{FOLDER_VARIABLE, compile};
use motif_motor::engine::cuda::{ROWS_PER_BLOCK, Shape};

/// Numbers in a compiler's log before each of some words.
fn numbers_before(log: &str, words: &str) -> Vec<usize> {
    log.match_indices(words)
        .filter_map(|(at, _)| log[..at].trim_end().rsplit([' ', ',']).next()?.parse().ok())
        .collect()
}

#[test]
fn the_kernels_compile_for_every_kind_of_card_and_spill_little() {
    let kinds = [
        ("sm_80", Precision::F32, 8),
        ("sm_90", Precision::F32, 4),
        ("sm_90", Precision::F32, 16),
        ("sm_90", Precision::F64, 4),
        ("sm_100", Precision::F32, 16),
    ];
    if std::env::var_os(FOLDER_VARIABLE).is_none() {
        // The system's own, if there is one, may do as well.
        let (architecture, precision, rows) = kinds[2];
        match compile(architecture, precision, rows) {
            Ok(compiled) => assert!(!compiled.cubin.is_empty()),
            Err(error) => assert!(matches!(error, CardError::Library { .. }), "{error}"),
        }
        return;
    }
    for (architecture, precision, rows) in kinds {
        let compiled = compile(architecture, precision, rows).expect("compiles");
        assert_eq!(&compiled.cubin[..4], b"\x7fELF", "{architecture}");
        let of_kernels = |words| {
            let numbers = numbers_before(&compiled.log, words);
            assert!(numbers.len() >= 8, "{words}: {}", compiled.log);
            numbers
        };
        let (spilt, registers) = (of_kernels("bytes spill stores"), of_kernels("registers"));
        println!("{architecture} {precision} {rows} rows: registers {registers:?}, spilt {spilt:?} bytes");
        assert!(spilt.iter().all(|&bytes| bytes <= 64), "{}", compiled.log);
        assert!(registers.iter().all(|&count| count <= 128), "{}", compiled.log);
    }
}

#[test]
fn a_kind_of_card_that_is_unknown_is_a_typed_error() {
    // There never was such a card.
    match compile("sm_1", Precision::F32, 8) {
        Err(CardError::Library { .. } | CardError::Compile(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn networks_of_every_size_fit_on_chip_with_some_number_of_rows() {
    /// Of an H100 or H200; a block of an A100 can have 163 KB.
    const ON_CHIP: [usize; 2] = [227 << 10, 163 << 10];
    for on_chip in ON_CHIP {
        for hidden in [1, 2, 64, 128, 256, 512, 1024, 4096] {
            for precision in [Precision::F32, Precision::F64] {
                let rows = Shape::new(hidden, 38).rows_that_fit(precision, 16, on_chip);
                assert!(
                    rows.is_some_and(|rows| ROWS_PER_BLOCK.contains(&rows)),
                    "{hidden} {precision}"
                );
            }
        }
        let usual = Shape::new(256, 28).rows_that_fit(Precision::F32, 16, on_chip);
        assert_eq!(
            usual,
            Some(16),
            "the networks of the family have as many rows as can be"
        );
    }
}
