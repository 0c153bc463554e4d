//! Which skipped runs may wait again when one on which they depend is tried again.

use std::collections::BTreeSet;

use motif_proto::id::RunId;
use motif_proto::run::RunState;

/// That a run depends on another.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// The run that waits.
    pub child: RunId,
    /// Its state.
    pub child_state: RunState,
    /// The run that it waits for.
    pub parent: RunId,
    /// That one's state.
    pub parent_state: RunState,
    /// Whether the child need wait no longer for this parent.
    pub fulfilled: bool,
}

/// The skipped runs all of whose parents succeeded, have not ended, or are revived themselves. The edges come in the
/// order of their children, and every run after its parents.
#[must_use]
pub fn revived(edges: &[Edge]) -> Vec<RunId> {
    let mut revived = BTreeSet::new();
    for edges in edges.chunk_by(|a, b| a.child == b.child) {
        let can_come =
            |edge: &Edge| edge.fulfilled || !edge.parent_state.is_final() || revived.contains(&edge.parent);
        if edges[0].child_state == RunState::Skipped && edges.iter().all(can_come) {
            revived.insert(edges[0].child);
        }
    }
    revived.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use RunState::{Failed, Queued, Skipped, Succeeded};

    use super::*;

    #[test]
    fn a_run_comes_back_with_all_its_parents_and_not_with_some() {
        let ids: Vec<RunId> = (0..6).map(|_| RunId::new()).collect();
        let edge = |child: usize, child_state, parent: usize, parent_state: RunState| Edge {
            child: ids[child],
            child_state,
            parent: ids[parent],
            parent_state,
            fulfilled: parent_state == Succeeded,
        };
        // 0 is tried again, 1 failed and stays so.
        let edges = [
            edge(2, Skipped, 0, Queued),
            edge(3, Skipped, 0, Queued),
            edge(3, Skipped, 1, Failed),
            edge(4, Skipped, 2, Skipped),
            edge(5, Skipped, 3, Skipped),
            edge(5, Skipped, 4, Succeeded),
        ];
        assert_eq!(revived(&edges), [ids[2], ids[4]]);
    }
}
