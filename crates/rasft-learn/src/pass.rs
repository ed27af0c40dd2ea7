//! A differentiable pass over one micro-batch, by whichever way the decoder has.
//!
//! Full training on the CPU is recorded and differentiated by the decoder's own passes; everything else goes through
//! candle's graph. Both take `∂L/∂log p`, which is all an objective has to say, and add to the same sums.

use crate::LearnError;
use crate::forward::{Forward, Rows, forward};
use crate::grads::{accumulate, clear};
use crate::kl::Divergence;
use candle_core::Tensor;
use rasft_model::{Activations, Decoder, Dropout, LogitGradients, Pool, Recording, Sums};
use std::ops::Range;

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

    /// Adds the parameters' gradients to `into`, given `∂L/∂log p` (N) and, for a loss that looks at more than those, its
    /// divergence.
    pub fn backward(
        self,
        decoder: &Decoder,
        dlogprobs: &[f32],
        divergence: Option<&mut Divergence<'_>>,
        (into, sums): (&mut [Vec<f32>], Sums),
        pool: &mut Pool,
    ) -> Result<(), LearnError> {
        match self {
            Self::Recorded(recording) => {
                let mut of_logits =
                    divergence.map(|d| |rows: Range<usize>, logits: &mut [f32]| d.replace(rows, logits));
                let of_logits = of_logits.as_mut().map(|f| f as &mut LogitGradients<'_>);
                Ok(decoder.backward(*recording, dlogprobs, of_logits, (into, sums), pool)?)
            }
            Self::Graph(forward) => {
                if sums == Sums::Begin {
                    clear(into);
                }
                // Linear in what the pass gave, with the given gradients.
                let of_logprobs = Tensor::from_slice(dlogprobs, dlogprobs.len(), forward.logprobs.device())?;
                let mut loss = (&forward.logprobs * of_logprobs)?.sum_all()?;
                if let Some(divergence) = divergence {
                    let dh = divergence.backward(decoder, &forward.hidden, into)?;
                    loss = (loss + (&forward.hidden * dh)?.sum_all()?)?;
                }
                accumulate(into, decoder.parameters(), &mut loss.backward()?)
            }
        }
    }
}
