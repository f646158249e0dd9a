//! Several networks with layers of the same sizes, whose outputs are averaged.

use crate::error::{Error, Result};
use crate::linalg::numeric_embedding::EmbeddingArrays;
use crate::network::Network;
use crate::network::architecture::Architecture;
use crate::network::config::NetworkConfig;
use crate::network::forward::{LayerIndex, LayerPart, Layers};
use crate::network::plan::{Plan, Weights};
use crate::network::quantized::QuantizedNetwork;
use crate::scalar::Scalar;

/// At least two networks with layers of the same sizes, for predictions only: an output is the mean of theirs.
///
/// Some may have an embedding, of the same inputs, and others none. A block of rows is read, or encoded, once, and goes
/// through all networks while it is in the cache.
pub struct Ensemble<N> {
    members: Vec<N>,
    /// The index of a network with an embedding if there is one, else 0. No network needs more scratch memory.
    widest: usize,
}

impl<N: Layers> Ensemble<N> {
    /// # Errors
    /// [`Error::Invalid`] if there are fewer than two networks, or the sizes, activations, formats or embedded inputs of
    /// two differ.
    pub fn new(members: Vec<N>) -> Result<Self> {
        if members.len() < 2 {
            return Err(Error::invalid("members", "at least two networks", members.len()));
        }
        let embedded = |member: &N| member.architecture().embedded();
        let widest = members.iter().position(|member| embedded(member) > 0).unwrap_or(0);
        let is_like =
            |member: &N| members[0].is_like(member) && [0, embedded(&members[widest])].contains(&embedded(member));
        if let Some(index) = members.iter().position(|member| !is_like(member)) {
            let [first, other] = [0, index].map(|index| members[index].architecture().sizes());
            let (expected, got) = if first == other {
                let expected = "the activations, formats and embedded inputs of the other networks".to_string();
                (expected, "others".to_string())
            } else {
                (format!("the layers {first:?} of members[0]"), format!("{other:?}"))
            };
            return Err(Error::invalid(format!("members[{index}]"), expected, got));
        }
        Ok(Ensemble { members, widest })
    }

    /// The networks.
    pub fn members(&self) -> &[N] {
        &self.members
    }

    /// The sizes (inputs, hidden..., outputs) of each network.
    pub fn layer_sizes(&self) -> &[usize] {
        self.architecture().sizes()
    }

    /// What each network computes besides its parameters, except that some may have no embedding.
    pub fn config(&self) -> &NetworkConfig {
        self.architecture().config()
    }

    /// The number of weights and biases of all networks.
    pub fn n_parameters(&self) -> usize {
        Layers::n_parameters(self)
    }

    /// The size of the stored parameters of all networks in bytes.
    pub fn nbytes(&self) -> usize {
        self.members.iter().map(|member| member.weights().nbytes).sum()
    }
}

impl<T: Scalar> Ensemble<Network<T>> {
    /// A copy, as [`Network::try_clone`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Self> {
        let members = self.members.iter().map(Network::try_clone).collect::<Result<_>>()?;
        Ok(Ensemble { members, widest: self.widest })
    }
}

impl Clone for Ensemble<QuantizedNetwork> {
    fn clone(&self) -> Self {
        Ensemble { members: self.members.clone(), widest: self.widest }
    }
}

impl<N: Layers> Layers for Ensemble<N> {
    type Value = N::Value;

    fn architecture(&self) -> &Architecture<N::Value> {
        self.members[self.widest].architecture()
    }

    fn n_parameters(&self) -> usize {
        self.members.iter().map(Layers::n_parameters).sum()
    }

    fn n_members(&self) -> usize {
        self.members.len()
    }

    fn embedding(&self, member: usize) -> Option<EmbeddingArrays<&[N::Value]>> {
        self.members[member].embedding(0)
    }

    fn weights(&self) -> Weights {
        let row_work = self.members.iter().map(|member| member.weights().row_work).sum();
        Weights { nbytes: self.nbytes(), row_work, ..self.members[0].weights() }
    }

    fn pack(&self, plan: &Plan) -> Result<()> {
        self.members.iter().try_for_each(|member| member.pack(plan))
    }

    fn unit(&self, layer: usize) -> usize {
        self.members[0].unit(layer)
    }

    fn scratch_len(&self, rows: usize) -> usize {
        self.members[self.widest].scratch_len(rows)
    }

    unsafe fn forward_layer(&self, index: LayerIndex, plan: &Plan, part: LayerPart<N::Value>) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.members[index.member].forward_layer(index, plan, part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::numeric_embedding::{EMBEDDED, FREQUENCIES};
    use crate::matrix::{Matrix, MatrixMut};
    use crate::network::forward::Forward;
    use crate::network::init::Init;
    use crate::network::layer::Layer;
    use crate::{NumericEmbedding, OutputActivation, WeightFormat};

    fn member(sizes: &[usize], output_activation: OutputActivation, is_embedded: bool, seed: u64) -> Network<f32> {
        let numeric_embedding = is_embedded.then_some(NumericEmbedding::Pbld);
        let config = NetworkConfig { output_activation, numeric_embedding, ..NetworkConfig::default() };
        Network::new(sizes, config, Init::HeNormal, seed).expect("a network")
    }

    fn outputs<N: Forward<Value = f32>>(network: &N, x: &[f32], rows: usize, n_threads: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows * network.outputs()];
        let mut view = MatrixMut::new("out", &mut out, rows, network.outputs()).expect("shape");
        network
            .forward(Matrix::new("X", x, rows, x.len() / rows).expect("shape"), &mut view, n_threads)
            .expect("a pass");
        out
    }

    /// The mean of the outputs of each network alone.
    fn mean<N: Forward<Value = f32>>(members: &[N], x: &[f32], rows: usize) -> Vec<f32> {
        let each: Vec<_> = members.iter().map(|member| outputs(member, x, rows, 1)).collect();
        (0..each[0].len()).map(|i| each.iter().map(|out| out[i]).sum::<f32>() / each.len() as f32).collect()
    }

    #[test]
    fn outputs_are_the_mean_of_the_members() {
        let activations = [OutputActivation::Softmax, OutputActivation::Sigmoid, OutputActivation::Identity];
        let embedded = [[false; 3], [false, true, false], [true, false, true]];
        for (activation, embedded) in activations.into_iter().zip(embedded) {
            let member = |(seed, embedded)| member(&[6, 40, 33, 5], activation, embedded, seed);
            let members = || (0..).zip(embedded).map(member).collect::<Vec<_>>();
            let formats = [Some(WeightFormat::Int8), None, Some(WeightFormat::Bf16)];
            let quantized =
                || members().iter().map(|m| QuantizedNetwork::quantize(m, &formats).expect("quantized")).collect();
            let (ensemble, low) =
                (Ensemble::new(members()).expect("alike"), Ensemble::new(quantized()).expect("alike"));
            for rows in if cfg!(miri) { vec![1, 9] } else { vec![1, 2, 7, 300, 1000] } {
                let x: Vec<f32> = (0..rows * 6).map(|i| (i * i % 17) as f32 / 8.0 - 1.0).collect();
                let check = |got: Vec<f32>, want: Vec<f32>| {
                    assert!(
                        got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5),
                        "{activation:?} {embedded:?} {rows}"
                    );
                };
                let (one, low_one) = (outputs(&ensemble, &x, rows, 1), outputs(&low, &x, rows, 1));
                // The same bits for any number of threads, and for a row alone.
                assert_eq!(one, outputs(&ensemble, &x, rows, 3));
                assert_eq!(low_one, outputs(&low, &x, rows, 3));
                assert_eq!(one[..5], outputs(&ensemble, &x[..6], 1, 1));
                check(one, mean(ensemble.members(), &x, rows));
                check(low_one, mean(low.members(), &x, rows));
            }
        }
    }

    #[test]
    fn members_must_be_alike() {
        let refused = |members| Ensemble::new(members).err().expect("refused").to_string();
        let softmax = |sizes: &[usize]| member(sizes, OutputActivation::Softmax, false, 1);
        assert_eq!(refused(vec![]), "members: expected at least two networks, got 0");
        assert_eq!(refused(vec![softmax(&[2, 3])]), "members: expected at least two networks, got 1");
        let message = refused(vec![softmax(&[2, 3]), softmax(&[2, 4])]);
        assert_eq!(message, "members[1]: expected the layers [2, 3] of members[0], got [2, 4]");
        let message = refused(vec![softmax(&[2, 3]), member(&[2, 3], OutputActivation::Identity, false, 1)]);
        assert_eq!(
            message,
            "members[1]: expected the activations, formats and embedded inputs of the other networks, got others"
        );
        let first_is_embedded = Network::from_layers(
            vec![
                Layer::filled(1, FREQUENCIES, |_| Ok(())).expect("w1"),
                Layer::filled(FREQUENCIES, EMBEDDED, |_| Ok(())).expect("w2"),
                Layer::filled(2 + EMBEDDED, 3, |_| Ok(())).expect("W"),
            ],
            NetworkConfig { numeric_embedding: Some(NumericEmbedding::Pbld), ..NetworkConfig::default() },
        );
        let both_are = member(&[2, 3], OutputActivation::Softmax, true, 1);
        refused(vec![softmax(&[2, 3]), first_is_embedded.expect("an embedding of one input"), both_are]);
    }
}
