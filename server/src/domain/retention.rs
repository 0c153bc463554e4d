//! Which checkpoints stay when newer ones take their place.

/// Whether the checkpoint before `next_batch` is the first at or after a multiple of `every`, where the newest that was
/// kept, or the run's beginning, lies before `kept`.
#[must_use]
pub const fn is_kept(next_batch: u64, kept: u64, every: u64) -> bool {
    every > 0 && next_batch / every > kept / every
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(saves: impl IntoIterator<Item = u64>, first_batch: u64, every: u64) -> Vec<u64> {
        let mut newest = first_batch;
        let is_kept = |batch: &u64| {
            let keep = is_kept(*batch, newest, every);
            if keep {
                newest = *batch;
            }
            keep
        };
        saves.into_iter().filter(is_kept).collect()
    }

    #[test]
    fn the_first_at_or_after_each_multiple_stays() {
        assert_eq!(kept((0..=60).map(|i| i * 50), 0, 1000), [1000, 2000, 3000]);
        assert_eq!(
            kept([0, 300, 600, 900, 1200, 1500, 2900, 3100], 0, 1000),
            [1200, 2900, 3100]
        );
        assert_eq!(kept([600, 1200], 500, 1000), [1200]);
        assert!(kept([600, 1200], 0, 0).is_empty());
    }
}
