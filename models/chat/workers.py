"""Workers: processes that share the weights and the work of one model.

The weights, what optimisers keep of them and each worker's gradients lie in
memory that all workers map.  A worker finds gradients on rows of its own, then
takes the step of the weights that it owns.  One worker alone, or a GPU, needs
none of this and owns all.
"""
import os

import torch
import torch.distributed as dist


def apart(state):
    """A copy of a state without what else lies in the memory that workers share: torch.save would keep all of it."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: apart(x) for name, x in state.items()}
    return [apart(x) for x in state] if isinstance(state, list) else state


class Workers:
    def __init__(self, count, rank, meet):
        self.count, self.rank = count, rank
        if count > 1:
            dist.init_process_group("gloo", init_method="file://" + meet, rank=rank, world_size=count)

    def sum(self, numbers):
        """Add up a small tensor over the workers; all have got here then."""
        if self.count > 1:
            dist.all_reduce(numbers)
        return numbers

    def share(self, params, matrices):
        """Move the weights of `params` into shared memory; the work of `matrices` is split by what Muon takes."""
        self.params, self.owned = params, list(params)
        sizes = [p.numel() for p in params]
        self.gradients = None
        if self.count == 1:
            return
        path = "/dev/shm/tern-chat-%d" % (os.getppid() if self.rank else os.getpid())
        total = sum(sizes)
        flat = torch.from_file(path, shared=True, size=(self.count + 3) * total)
        self.sum(torch.zeros(1))
        if self.rank == 0:
            os.remove(path)
        rows = [[x.view_as(p) for x, p in zip(row.split(sizes), params)] for row in flat.split(total)]
        for p, place in zip(params, rows[0]):
            if self.rank == 0:
                place.copy_(p.data)
            p.data = place
        self.states, self.gradients = {p: (a, b) for p, a, b in zip(params, *rows[1:3])}, rows[3:]
        self.flat = flat[(3 + self.rank) * total:][:total]
        load, owned, divided = [0.0] * self.count, [], set(matrices)
        for p in sorted(params, key=lambda p: -p.numel()):
            if p in divided:
                short, long = min(p.shape), max(p.shape)
                owner, cost = load.index(min(load)), short * short * (2.0 * long + short) + 20.0 * p.numel()
            else:
                owner, cost = 0, 100.0 * p.numel()  # AdamW; all of it one worker's
            load[owner] += cost
            if owner == self.rank:
                owned.append(p)
        self.owned = owned
        self.sum(torch.zeros(1))

    def share_states(self, optimisers):
        """What the optimisers keep moves into shared memory too, where rank 0 can save all of it."""
        if self.count == 1:
            return
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                for p in group["params"]:
                    names = ("momentum",) if "momentum" in group else ("exp_avg", "exp_avg_sq")
                    state = optimiser.state[p]
                    for name, place in zip(names, self.states[p]):
                        if name in state and self.rank == 0:
                            place.copy_(state[name])
                        state[name] = place
                    if "momentum" not in group and "step" not in state:
                        state["step"] = torch.tensor(0.0)
        self.sum(torch.zeros(1))

    def begin(self):
        """Gradients begin at zero."""
        if self.count == 1:
            for p in self.params:
                p.grad = None
            return
        self.flat.zero_()
        for p, g in zip(self.params, self.gradients[self.rank]):
            p.grad = g

    def gather(self, numbers, most):
        """Add up the workers' `numbers` and gradients; only weights that this worker owns keep theirs, cut to the
        norm `most` of all gradients together."""
        self.sum(numbers)
        if self.count > 1:
            owned = set(self.owned)
            for i, p in enumerate(self.params):
                if p not in owned:
                    p.grad = None
                    continue
                for rank in range(self.count):
                    if rank != self.rank:
                        p.grad += self.gradients[rank][i]
        square = sum((p.grad.square().sum() for p in self.owned), self.params[0].new_zeros(()))
        scale = (most / (self.sum(square).sqrt() + 1e-6)).clamp(max=1.0)
        for p in self.owned:
            p.grad *= scale
        return numbers

    def stepped(self):
        """All weights have moved."""
        self.sum(torch.zeros(1))

    def end(self):
        if self.count > 1:
            dist.barrier()
