//! A differentiable pass over one micro-batch, by whichever way the decoder has.
//!
//! Full training in f32 on the CPU is recorded and differentiated by the decoder's own passes; everything else goes through
//! candle's graph. Both take `∂L/∂log p`, which is all an objective has to say, and add to the same sums.

use crate::LearnError;
use crate::forward::{Forward, Rows, forward};
use crate::grads::{accumulate, clear};
use candle_core::Tensor;
use rasft_model::{Activations, Decoder, Dropout, Pool, Recording, Sums};

/// A forward pass and what its backward pass needs.
pub(crate) enum Pass {
    Recorded(Box<Recording>),
    Graph(Forward),
}

impl Pass {
    /// Runs the forward pass; `dropout` is an adapter's.
    pub fn of(
        decoder: &Decoder,
        rows: &Rows,
        dropout: Dropout,
        activations: Activations,
        pool: &mut Pool,
    ) -> Result<Self, LearnError> {
        if !decoder.can_record() {
            return Ok(Self::Graph(forward(decoder, rows, Some(dropout))?));
        }
        let recording = decoder.record(&rows.packed, rows.predictions.clone(), activations, pool)?;
        Ok(Self::Recorded(Box::new(recording)))
    }

    /// Log-probabilities of the response tokens, (N), nats.
    pub fn logprobs(&self) -> &[f32] {
        match self {
            Self::Recorded(recording) => recording.logprobs(),
            Self::Graph(forward) => &forward.values,
        }
    }

    /// Hidden states that predict them, (N, D), without gradient.
    pub fn hidden(&self) -> Result<Tensor, LearnError> {
        Ok(match self {
            Self::Recorded(recording) => {
                let (hidden, n) = (recording.hidden(), recording.logprobs().len());
                Tensor::from_slice(hidden, (n, hidden.len() / n.max(1)), &candle_core::Device::Cpu)?
            }
            Self::Graph(forward) => forward.hidden.detach(),
        })
    }

    /// Adds the parameters' gradients to `into`, given `∂L/∂log p` (N) and, for a loss that looks at more than those, the
    /// rest of `∂L/∂hidden` (N, D).
    pub fn backward(
        self,
        decoder: &Decoder,
        dlogprobs: &[f32],
        dhidden: Option<&Tensor>,
        (into, sums): (&mut [Vec<f32>], Sums),
        pool: &mut Pool,
    ) -> Result<(), LearnError> {
        match self {
            Self::Recorded(recording) => {
                let dhidden = dhidden.map(|dh| dh.flatten_all()?.to_vec1::<f32>()).transpose()?;
                Ok(decoder.backward(*recording, dlogprobs, dhidden.as_deref(), (into, sums), pool)?)
            }
            Self::Graph(forward) => {
                if sums == Sums::Begin {
                    clear(into);
                }
                // Linear in what the pass gave, with the given gradients.
                let of_logprobs = Tensor::from_slice(dlogprobs, dlogprobs.len(), forward.logprobs.device())?;
                let mut loss = (&forward.logprobs * of_logprobs)?.sum_all()?;
                if let Some(dh) = dhidden {
                    loss = (loss + (&forward.hidden * dh)?.sum_all()?)?;
                }
                accumulate(into, decoder.parameters(), &mut loss.backward()?)
            }
        }
    }
}
