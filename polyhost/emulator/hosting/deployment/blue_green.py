"""Blue/green deployments: a whole new fleet beside the old one, which traffic goes to in steps."""

from polyhost.emulator.hosting.deployment.rollout import Rollout
from polyhost.emulator.hosting.deployment.stages import DeploymentStage


class BlueGreenRollout(Rollout):
    """All at once, a canary, or linear steps: the shares tell."""

    async def _advance(self) -> None:
        async with self._watch.working():
            new = await self._start(self.deployment.specs)
        for share in self._policy.shares(self.deployment.specs):
            self._become(DeploymentStage.SHIFTING, f"shifts {share:.0%} of the traffic")
            self._generations.shift(new, share)
            await self._bake()

    async def _return(self) -> None:
        if self.new is not None:
            await self._revive()
            self._generations.shift(self.new, 0.0)
            self._generations.drop(self.new, self._old[0])
