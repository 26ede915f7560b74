"""Optimisers: AdamW for vectors and the embedding, Muon (or AdamW) for the matrices.

Muon steps along the orthogonalised momentum of a matrix: every direction of
the matrix moves alike.
"""
import torch


def orthogonal(g, steps=5):
    """About U V' of g = U S V', by a Newton-Schulz iteration in bfloat16."""
    x = g.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Steps are scaled to the usual size of AdamW's, so that one learning rate serves both."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                d = orthogonal(p.grad.lerp(m, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(d.to(p.dtype), alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)


class Optimiser:
    """Both, as one; `decayed` are the matrices that weight decay and Muon apply to."""

    def __init__(self, decayed, others, kind, fused):
        adam = [{"params": others, "decay": False}]
        self.parts = []
        if kind == "muon":
            self.parts.append(Muon(decayed, 1e-3))
            self.parts[0].param_groups[0]["decay"] = True
        else:
            adam.append({"params": decayed, "decay": True})
        self.parts.append(torch.optim.AdamW(adam, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0, fused=fused))

    def step(self, lr, weight_decay):
        for part in self.parts:
            for group in part.param_groups:
                group["lr"], group["weight_decay"] = lr, weight_decay if group["decay"] else 0.0
            part.step()

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)
