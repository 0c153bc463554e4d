//! The table of the named experiments.

use super::super::network::Activation;
use super::super::task::TaskName;
use super::{Network, Preset, PresetGroup, Variant, Work};

use Activation::{Relu, Softplus, Tanh};
use TaskName::{
    DlyFigure8, DlyFigure8Inv, DlyFullCircleCClk, DlyFullCircleClk, DlyFullReach, DlyHalfCircleCClk,
    DlyHalfCircleClk, DlyHalfReach, DlySinusoid, DlySinusoidInv,
};

/// The tasks that the transfers learn.
const HELD_OUT: &[TaskName] = &[DlyHalfCircleCClk, DlyFullCircleCClk];

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        id: "demo",
        description: "All ten tasks with a small network for a few minutes: see a validation curve fall",
        group: PresetGroup::Demo,
        output_stem: None,
        base_preset: None,
        work: Work::Demo,
    },
    rnn(
        "train_rnn128_softplus",
        "rnn128_softplus",
        128,
        Softplus,
        "All ten tasks, 128 softplus units",
    ),
    rnn(
        "train_rnn256_softplus",
        "rnn256_softplus_sd1e-3_ma1e-2",
        256,
        Softplus,
        "The paper's base network: all ten tasks, 256 softplus units",
    ),
    unregularised(
        "train_rnn256_softplus_noreg",
        "rnn256_softplus_noreg",
        Softplus,
        "The base network without any regularisation",
    ),
    rnn(
        "train_rnn512_softplus",
        "rnn512_softplus",
        512,
        Softplus,
        "All ten tasks, 512 softplus units",
    ),
    rnn(
        "train_rnn128_relu",
        "rnn128_relu",
        128,
        Relu,
        "All ten tasks, 128 relu units",
    ),
    rnn(
        "train_rnn256_relu",
        "rnn256_relu",
        256,
        Relu,
        "All ten tasks, 256 relu units",
    ),
    rnn(
        "train_rnn512_relu",
        "rnn512_relu",
        512,
        Relu,
        "All ten tasks, 512 relu units",
    ),
    rnn(
        "train_rnn128_tanh",
        "rnn128_tanh",
        128,
        Tanh,
        "All ten tasks, 128 tanh units, no simple-dynamics loss",
    ),
    rnn(
        "train_rnn256_tanh",
        "rnn256_tanh",
        256,
        Tanh,
        "All ten tasks, 256 tanh units, no simple-dynamics loss",
    ),
    unregularised(
        "train_rnn256_tanh_noreg",
        "rnn256_tanh_noreg",
        Tanh,
        "256 tanh units without any regularisation",
    ),
    rnn(
        "train_rnn512_tanh",
        "rnn512_tanh",
        512,
        Tanh,
        "All ten tasks, 512 tanh units, no simple-dynamics loss",
    ),
    gru(
        "train_gru128",
        None,
        128,
        "All ten tasks, 128 gated recurrent units",
    ),
    gru(
        "train_gru256",
        Some("gru256"),
        256,
        "All ten tasks, 256 gated recurrent units",
    ),
    gru(
        "train_gru512",
        Some("gru512"),
        512,
        "All ten tasks, 512 gated recurrent units",
    ),
    gru(
        "train_gru1024",
        Some("gru1024"),
        1024,
        "All ten tasks, 1024 gated recurrent units",
    ),
    subset(
        "run_train_subsets_all_base_model",
        "rnn256_softplus_heldout",
        &[
            DlyHalfReach,
            DlyHalfCircleClk,
            DlySinusoid,
            DlySinusoidInv,
            DlyFullReach,
            DlyFullCircleClk,
            DlyFigure8,
            DlyFigure8Inv,
        ],
        "Base of a transfer: all tasks but the two counter-clockwise circles",
    ),
    subset(
        "run_train_subsets_nocr_base_model",
        "rnn256_softplus_heldout_nocr",
        &[
            DlyHalfReach,
            DlySinusoid,
            DlySinusoidInv,
            DlyFullReach,
            DlyFigure8,
            DlyFigure8Inv,
        ],
        "Base of a transfer: no circles at all",
    ),
    subset(
        "run_train_subsets_nosin_base_model",
        "rnn256_softplus_heldout_nosin",
        &[DlyHalfReach, DlyHalfCircleClk, DlyFullReach, DlyFullCircleClk],
        "Base of a transfer: reaches and clockwise circles, no sinusoids",
    ),
    subset(
        "run_train_subsets_reach_base_model",
        "rnn256_softplus_heldout_reach",
        &[DlyHalfReach, DlyFullReach],
        "Base of a transfer: reaches alone",
    ),
    subset(
        "run_train_subsets_cr_base_model",
        "rnn256_softplus_heldout_cr",
        &[DlyHalfCircleClk, DlyFullCircleClk],
        "Base of a transfer: clockwise circles alone",
    ),
    subset(
        "run_train_subsets_sin_base_model",
        "rnn256_softplus_heldout_sin",
        &[DlySinusoid, DlySinusoidInv, DlyFigure8, DlyFigure8Inv],
        "Base of a transfer: sinusoids and figure eights alone",
    ),
    held_out(
        "run_train_subsets_held_out_base_model",
        "rnn256_softplus_heldout_transfer",
        "run_train_subsets_all_base_model",
        "Counter-clockwise circles, learnt on top of all other tasks",
    ),
    held_out(
        "run_train_subsets_nocr_held_out_base_model",
        "rnn256_softplus_heldout_nocr_transfer",
        "run_train_subsets_nocr_base_model",
        "Counter-clockwise circles, learnt by a network that knows no circles",
    ),
    held_out(
        "run_train_subsets_nosin_held_out_base_model",
        "rnn256_softplus_heldout_nosin_transfer",
        "run_train_subsets_nosin_base_model",
        "Counter-clockwise circles, learnt on top of reaches and clockwise circles",
    ),
    held_out(
        "run_train_subsets_reach_held_out_base_model",
        "rnn256_softplus_heldout_reach_transfer",
        "run_train_subsets_reach_base_model",
        "Counter-clockwise circles, learnt on top of reaches alone",
    ),
    held_out(
        "run_train_subsets_cr_held_out_base_model",
        "rnn256_softplus_heldout_cr_transfer",
        "run_train_subsets_cr_base_model",
        "Counter-clockwise circles, learnt on top of clockwise circles alone",
    ),
    held_out(
        "run_train_subsets_sin_held_out_base_model",
        "rnn256_softplus_heldout_sin_transfer",
        "run_train_subsets_sin_base_model",
        "Counter-clockwise circles, learnt on top of sinusoids and figure eights",
    ),
    Preset {
        id: "run_train_compositional_env_base_model",
        description: "All twenty pairs of a forward and a backward motif, learnt on top of the ten tasks",
        group: PresetGroup::Transfers,
        output_stem: Some("base_rnn_composable_env_trainloss"),
        base_preset: Some("train_rnn256_softplus"),
        work: Work::Transfer {
            tasks: TaskName::PAIRS,
        },
    },
    Preset {
        id: "continue_training",
        description: "A run's training goes on with all of its settings; set training.batches to the new total",
        group: PresetGroup::Continued,
        output_stem: None,
        base_preset: None,
        work: Work::Continue,
    },
    variant(
        "reservoir_rnn256_softplus",
        None,
        Variant::Reservoir,
        "The base network as a reservoir: its recurrent weights stay as they were drawn",
    ),
    variant(
        "nofeedback_rnn256_softplus",
        None,
        Variant::NoFeedback,
        "The base network without vision and proprioception: it moves by rule, speed, cue and target alone",
    ),
    variant(
        "muscles_rnn256_softplus",
        Some("train_rnn256_softplus"),
        Variant::MuscleActivity,
        "A network that learns the muscle activity of a trained one (needs that one as its base)",
    ),
    single(
        "single_halfreach_rnn256_softplus",
        &[DlyHalfReach],
        "DlyHalfReach alone",
    ),
    single(
        "single_halfcircleclk_rnn256_softplus",
        &[DlyHalfCircleClk],
        "DlyHalfCircleClk alone",
    ),
    single(
        "single_halfcirclecclk_rnn256_softplus",
        &[DlyHalfCircleCClk],
        "DlyHalfCircleCClk alone",
    ),
    single(
        "single_sinusoid_rnn256_softplus",
        &[DlySinusoid],
        "DlySinusoid alone",
    ),
    single(
        "single_sinusoidinv_rnn256_softplus",
        &[DlySinusoidInv],
        "DlySinusoidInv alone",
    ),
    single(
        "single_fullreach_rnn256_softplus",
        &[DlyFullReach],
        "DlyFullReach alone",
    ),
    single(
        "single_fullcircleclk_rnn256_softplus",
        &[DlyFullCircleClk],
        "DlyFullCircleClk alone",
    ),
    single(
        "single_fullcirclecclk_rnn256_softplus",
        &[DlyFullCircleCClk],
        "DlyFullCircleCClk alone",
    ),
    single(
        "single_figure8_rnn256_softplus",
        &[DlyFigure8],
        "DlyFigure8 alone",
    ),
    single(
        "single_figure8inv_rnn256_softplus",
        &[DlyFigure8Inv],
        "DlyFigure8Inv alone",
    ),
];

const BASE_NETWORK: Network = Network::Rnn {
    hidden: 256,
    activation: Softplus,
};

const fn rnn(
    id: &'static str,
    stem: &'static str,
    hidden: u32,
    activation: Activation,
    description: &'static str,
) -> Preset {
    let network = Network::Rnn { hidden, activation };
    all_tasks(id, Some(stem), network, true, description)
}

const fn unregularised(
    id: &'static str,
    stem: &'static str,
    activation: Activation,
    description: &'static str,
) -> Preset {
    let hidden = 256;
    all_tasks(
        id,
        Some(stem),
        Network::Rnn { hidden, activation },
        false,
        description,
    )
}

const fn gru(id: &'static str, stem: Option<&'static str>, hidden: u32, description: &'static str) -> Preset {
    all_tasks(id, stem, Network::Gru { hidden }, true, description)
}

const fn all_tasks(
    id: &'static str,
    output_stem: Option<&'static str>,
    network: Network,
    regularised: bool,
    description: &'static str,
) -> Preset {
    Preset {
        id,
        description,
        group: PresetGroup::AllTasks,
        output_stem,
        base_preset: None,
        work: Work::Train {
            network,
            regularised,
            tasks: TaskName::BASE,
            variant: Variant::Original,
        },
    }
}

const fn subset(
    id: &'static str,
    stem: &'static str,
    tasks: &'static [TaskName],
    description: &'static str,
) -> Preset {
    Preset {
        id,
        description,
        group: PresetGroup::Subsets,
        output_stem: Some(stem),
        base_preset: None,
        work: Work::Train {
            network: BASE_NETWORK,
            regularised: true,
            tasks,
            variant: Variant::Original,
        },
    }
}

const fn held_out(
    id: &'static str,
    stem: &'static str,
    base: &'static str,
    description: &'static str,
) -> Preset {
    Preset {
        id,
        description,
        group: PresetGroup::Transfers,
        output_stem: Some(stem),
        base_preset: Some(base),
        work: Work::Transfer { tasks: HELD_OUT },
    }
}

const fn variant(
    id: &'static str,
    base_preset: Option<&'static str>,
    variant: Variant,
    description: &'static str,
) -> Preset {
    Preset {
        id,
        description,
        group: PresetGroup::Beyond,
        output_stem: None,
        base_preset,
        work: Work::Train {
            network: BASE_NETWORK,
            regularised: true,
            tasks: TaskName::BASE,
            variant,
        },
    }
}

const fn single(id: &'static str, task: &'static [TaskName], description: &'static str) -> Preset {
    Preset {
        id,
        description,
        group: PresetGroup::Beyond,
        output_stem: None,
        base_preset: None,
        work: Work::Train {
            network: BASE_NETWORK,
            regularised: true,
            tasks: task,
            variant: Variant::Original,
        },
    }
}
