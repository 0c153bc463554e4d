//! Transfer: new rule inputs take the place of the old ones, and everything else stays as it was learnt.

use tch::Tensor;

use super::gru::{CONDITION as GRU_CONDITION, INPUT as GRU_INPUT, NEW_RULES as GRU_NEW_RULES};
use super::regions::{MASK, SIGN};
use super::{CONDITION_INPUTS, InputLayout, NetworkConfig, Policy};
use crate::error::Error;
use crate::host_tensor::{HostTensor, TensorTable};
use crate::random::{Purpose, Stream};

/// Names of the tensors that take part.
struct Names {
    input: &'static str,
    new_rules: &'static str,
    condition: &'static str,
    /// Endings of the tensors that go with each of these, the weights' own first.
    suffixes: &'static [&'static str],
}

const LEAKY: Names = Names {
    input: "mrnn.input_region",
    new_rules: "mrnn.input_new_rules_region",
    condition: "mrnn.condition_region",
    suffixes: &["", MASK, SIGN],
};

const GRU: Names = Names {
    input: GRU_INPUT,
    new_rules: GRU_NEW_RULES,
    condition: GRU_CONDITION,
    suffixes: &[""],
};

impl Policy {
    /// The network with `new_rules` fresh rule inputs, drawn from `seed`, in place of its own; only they are trained.
    ///
    /// The columns behind the old rules are copied into a block of their own. The old block stays in the state dict,
    /// unused. A network that was transferred before gets fresh rules in place of those of that time.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for networks of several regions, whose rule inputs are no block of their own.
    pub fn into_transfer(self, new_rules: usize, seed: u64) -> Result<Self, Error> {
        let mut config = self.config();
        let (inputs, names) = match &mut config {
            NetworkConfig::Leaky(leaky) if leaky.regions.is_some() => {
                return Err(Error::InvalidConfig {
                    field: "network.regions",
                    problem: "cannot be transferred: only networks of one region can have their rule inputs replaced"
                        .to_owned(),
                });
            }
            NetworkConfig::Leaky(leaky) => (&mut leaky.inputs, LEAKY),
            NetworkConfig::Gru(gru) => (&mut gru.inputs, GRU),
        };
        let old = *inputs;
        inputs.new_rules = Some(new_rules);
        config.validate()?;
        let mut state = self.state();
        self.copy_conditions(old, &names, &mut state);
        self.draw_new_rules(&config, seed, &names, &mut state);
        Ok(Policy::from_state(&config, &state, self.numerics())?)
    }

    /// Puts the columns behind the rules of the old input block into a block of their own.
    fn copy_conditions(&self, old: InputLayout, names: &Names, state: &mut TensorTable) {
        if old.new_rules.is_some() {
            return;
        }
        let blocks = names.suffixes.iter().filter_map(|suffix| {
            let (_, input) = self
                .named_parameters()
                .find(|(name, _)| name.strip_prefix(names.input) == Some(suffix))?;
            let conditions = input.narrow(1, old.rules as i64, CONDITION_INPUTS as i64);
            Some((format!("{}{suffix}", names.condition), conditions))
        });
        for (name, conditions) in blocks {
            state.insert(name, HostTensor::from_tensor(&conditions));
        }
    }

    /// Draws the new block from the distribution that the kind of network has for it; its mask is full.
    fn draw_new_rules(&self, config: &NetworkConfig, seed: u64, names: &Names, state: &mut TensorTable) {
        for suffix in names.suffixes {
            state.remove(&format!("{}{suffix}", names.new_rules));
        }
        let stream = Stream {
            seed,
            purpose: Purpose::NewRules,
            batch: 0,
            step: 0,
        };
        let drawn: Option<Tensor> = Policy::slots(config)
            .iter()
            .find(|slot| slot.name == names.new_rules)
            .map(|slot| slot.draw(stream, self.numerics()));
        if let Some(drawn) = drawn {
            state.insert(names.new_rules.to_owned(), HostTensor::from_tensor(&drawn));
        }
    }
}
