"""Losses and gradients of GRPO by PyTorch's autograd, for `golden_loss.rs`: `python grpo.py > grpo.json` (torch 2.15.0).

Written from the papers, not from our code: the clipped surrogate of DeepSeekMath §4.1 (Shao et al. 2024), with the upper
clip and the mean over all tokens of DAPO §3.1 and §3.3 (Yu et al. 2025). The divergence, λ·KL(reference ‖ policy) over the
vocabulary, is not the papers' but that of sft-kl (docs/deviations.md).
"""

import json

import torch

B, T, V = 3, 7, 13


def log_p(logits, targets):
    return torch.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]


def case(seed, epsilon_low, epsilon_high, kl_weight, apart):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        """Values that f32 and the decimal file both hold exactly."""
        return (torch.randn(*shape, generator=generator) * 256).round() / 256

    logits = normal(B, T, V)
    old_logits, ref_logits = logits + apart * normal(B, T, V), logits + normal(B, T, V)
    labels = torch.randint(V, (B, T), generator=generator)
    for b in range(B):
        labels[b, : b + 2] = -100  # the prompt
    advantages = [1.25, -0.75, -1.5]

    z = logits.double().requires_grad_()
    targets = labels[:, 1:].clamp(min=0)
    valid = (labels[:, 1:] != -100).double()
    new, old = log_p(z[:, :-1], targets), log_p(old_logits[:, :-1], targets).float().double()
    ratio = torch.exp(new - old)
    a = torch.tensor(advantages, dtype=torch.float64)[:, None]
    surrogate = torch.minimum(ratio * a, ratio.clamp(1 - epsilon_low, 1 + epsilon_high) * a)
    ref = torch.log_softmax(ref_logits[:, :-1].double(), -1)
    kl = (ref.exp() * (ref - torch.log_softmax(z[:, :-1], -1))).sum(-1)
    loss = ((kl_weight * kl - surrogate) * valid).sum() / valid.sum()
    loss.backward()
    return {
        "case": f"seed {seed}",
        "labels": labels.tolist(),
        "advantages": advantages,
        "epsilon_low": epsilon_low,
        "epsilon_high": epsilon_high,
        "kl_weight": kl_weight,
        "logits": logits.tolist(),
        "ref_logits": ref_logits.tolist(),
        "old_logprobs": [row[v > 0].tolist() for row, v in zip(old, valid)],
        "clipped": ((surrogate != ratio * a) * valid).sum().item() / valid.sum().item(),
        "kl": kl.tolist(),
        "loss": loss.item(),
        "gradient": z.grad.tolist(),
    }


cases = [
    case(1, 0.2, 0.2, 0.0, 0.25),
    case(2, 0.2, 0.28, 0.0, 0.25),
    case(3, 0.2, 0.28, 0.04, 0.5),
    case(4, 0.2, 0.2, 0.0, 0.0),
]
print(json.dumps(cases))
